"""Who may import whom: the layers of the house, with no arrow up and no circle."""

import ast
import graphlib
import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import mixreg

ROOT = Path(mixreg.__file__).parent

DOCS = Path(__file__).parents[1] / "docs"
DRAWING = runpy.run_path(str(DOCS / "architecture.py"))
LAYERS, APART = DRAWING["LAYERS"], DRAWING["APART"]

OPTIONAL = {"dask", "distributed", "ray", "submitit", "tensorboard", "timm"}
"""Packages of extras of their own, imported only where they are used."""


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path):
    """Every imported module, and whether it is imported as soon as this one is."""
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    late = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in KNOWN else node.module), id(node) not in late


KNOWN = dict(modules())
GRAPH = {name: dict(imports(path)) for name, path in KNOWN.items()}


def layer(module):
    top = [*module.split("."), ""][1]
    return next(name for name, (members, _) in LAYERS.items() if top in members)


@pytest.mark.parametrize("module", KNOWN)
def test_a_module_imports_what_its_layer_may(module):
    order, own = [*LAYERS], layer(module)
    allowed = set().union(*(LAYERS[name][1] for name in order[: order.index(own) + 1]))
    for name, at_once in GRAPH[module].items():
        package = name.partition(".")[0]
        if package == "mixreg":
            assert order.index(layer(name)) <= order.index(own), f"{module} imports {name}"
            assert layer(name) not in APART.get(own, ()), f"{module} imports {name}"
        elif package not in sys.stdlib_module_names:
            assert package in allowed, f"{module} imports {name}"
            assert not (at_once and package in OPTIONAL), f"{module} imports {name} at its top"


def test_imports_go_in_no_circle():
    within = {m: {n for n in names if n in KNOWN and n != m} for m, names in GRAPH.items()}
    assert len([*graphlib.TopologicalSorter(within).static_order()]) == len(KNOWN)


def test_lightning_trains_and_times_and_nothing_else():
    users = {m for m, names in GRAPH.items() if any(n.startswith("lightning") for n in names)}
    trains = {"mixreg.training.module", "mixreg.training.fit", "mixreg.integrations.lightning"}
    assert users - {"mixreg.experiments._plan"} == trains


def test_the_drawing_is_that_of_these_layers(tmp_path):
    DRAWING["save"](tmp_path / "architecture.svg")
    drawn = (DOCS / "architecture.svg").read_text()
    assert (tmp_path / "architecture.svg").read_text() == drawn


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(package, known=frozenset()):
    """The distributions that an installation of one brings along."""
    found = {*known, canonical(package)}
    for line in metadata.requires(package) or ():
        name = re.match(r"[\w.-]+", line)[0]
        if "extra ==" not in line and canonical(name) not in found:
            try:
                found |= needs(name, frozenset(found))
            except metadata.PackageNotFoundError:
                continue
    return found


BARE = """
import sys

class Bare:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)

sys.meta_path.insert(0, Bare())
"""


def bare(script):
    """What a script prints where only the library and what it brings are installed."""
    distributions = set().union(*map(needs, ("torch", "numpy", "safetensors")))
    tops = metadata.packages_distributions()
    allowed = {t for t, owners in tops.items() if distributions & {*map(canonical, owners)}}
    program = f"ALLOWED = {sorted(allowed | {'mixreg'})}\n{BARE}\n{script}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_three_lines_of_the_readme_need_pytorch_alone():
    done = bare(
        "import torch, mixreg\n"
        "x, y = torch.randn(8, 3), torch.arange(8) % 2\n"
        "law, net = mixreg.Beta(1.0), torch.nn.Linear(3, 2)\n"
        "stats = mixreg.TrainingStatistics.from_loader([(x, y)], num_classes=2)\n"
        "batch = mixreg.Mixup(law, num_classes=2)(x, y)\n"
        "mixreg.cross_entropy(batch.targets, net(batch.inputs)).mean().backward()\n"
        "print(*mixreg.RescaledModel(net, stats, law)(x).shape)\n"
    )
    assert (done.stdout, done.stderr) == ("8 2\n", "")


def test_what_needs_the_extra_names_it():
    done = bare(
        "def compare():\n    from mixreg.cli import main; main(['compare'])\n"
        "def load():\n    import mixreg; mixreg.load('run')\n"
        "def callback():\n    from mixreg.integrations import MixupCallback\n"
        "def classifier():\n    from mixreg.integrations import MixupClassifier\n"
        "for step in (compare, load, callback, classifier):\n"
        "    try:\n        step()\n        print('nothing', file=sys.stderr)\n"
        "    except SystemExit as end:\n        assert end.code\n"
        "    except Exception as error:\n        print(error, file=sys.stderr)\n"
    )
    told = done.stderr.splitlines()
    assert len(told) == 4, told
    assert all("pip install 'mixreg[cli]'" in line for line in told), told


def test_a_run_is_loaded_without_what_trains_it():
    unwanted = "{'lightning', 'torchmetrics'} & {*sys.modules}"
    program = f"import sys, mixreg; mixreg.load; print(*{unwanted})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"], ["evaluate", "--help"]])
def test_help_loads_neither_pytorch_nor_the_lab(words):
    program = (
        f"import sys; from mixreg.cli import main\n"
        f"try:\n    main({words})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sorted({'torch', 'numpy', 'lightning', 'matplotlib', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == ""
