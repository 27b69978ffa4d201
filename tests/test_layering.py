"""Who may import whom: the theory stands alone, and every arrow points towards it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mixreg

ROOT = Path(mixreg.__file__).parent
ENTRY_POINTS = {"cli", "__main__"}
THEORY = {"_forward_mode", "risk", "recipes"}
"""Packages that count as theory, with every module directly in the package but the entry points."""

FREE = {"numpy", "safetensors", "torch"}
"""What the theory may import beside the standard library."""

OPTIONAL = {"dask", "distributed", "ray", "submitit", "timm", "torchvision", "transformers"}

LAYERS = [
    {"core"},
    {"data", "diagnostics", "evaluation", "integrations", "models"},
    {"training"},
    {"report", "experiments"},
    {"cli"},
]
"""Packages of a layer may import each other and the layers above theirs in this list."""


def sources():
    return sorted(ROOT.rglob("*.py"))


def layer_name(module: str) -> str:
    """The package of a module `mixreg.package.module`, "core" for the theory."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] in THEORY:
        return "core"
    if parts[1] in ENTRY_POINTS:
        return "cli"
    return parts[1] if (ROOT / parts[1]).is_dir() else "core"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path):
    """Every imported module, and whether it is imported as soon as this one is."""
    tree = ast.parse(path.read_text())
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in inner
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            package = ROOT.joinpath(*(node.module or "").split(".")[1:])
            if node.module and node.module.split(".")[0] == "mixreg" and package.is_dir():
                for alias in node.names:
                    inside = (package / f"{alias.name}.py").is_file() or (
                        package / alias.name
                    ).is_dir()
                    yield (
                        f"{node.module}.{alias.name}" if inside else node.module,
                        (id(node) not in inner),
                    )
            else:
                yield node.module, id(node) not in inner


def rank(layer: str) -> int:
    return next(k for k, names in enumerate(LAYERS) if layer in names)


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_point_towards_the_theory(path):
    own = module_name(path)
    own_layer = layer_name(own)
    for name, _ in imported(path):
        root = name.split(".")[0]
        if root == "mixreg":
            assert rank(layer_name(name)) <= rank(own_layer), f"{own} imports {name}"
        elif own_layer == "core" and root not in sys.stdlib_module_names:
            allowed = FREE | ({"tqdm"} if own == "mixreg.statistics" else set())
            assert root in allowed, f"{own} belongs to the theory but imports {name}"


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_optional_packages_are_imported_late(path):
    for name, at_once in imported(path):
        optional = name.split(".")[0] in OPTIONAL
        assert not (optional and at_once), f"{module_name(path)} imports {name} at its top"


def test_every_package_has_a_place():
    packages = {p.parent.relative_to(ROOT).parts[0] for p in ROOT.glob("*/__init__.py")}
    assert packages <= set().union(*LAYERS) | THEORY


def test_importing_the_library_loads_no_heavy_package():
    script = (
        "import sys, mixreg\n"
        "heavy = {'lightning', 'matplotlib', 'scipy', 'sklearn', 'torchmetrics', 'torchvision',"
        " 'timm', 'jsonargparse', 'joblib', 'jinja2'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
