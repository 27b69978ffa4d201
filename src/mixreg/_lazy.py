"""Public names of a package, imported when they are used: `mixreg --help` then needs no PyTorch."""

import ast
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def attach(package: str, file: str) -> tuple[Callable[[str], object], list[str]]:
    """`__getattr__` and `__all__` of a package whose stub `__init__.pyi` imports its names."""
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = {
        alias.asname or alias.name: str(node.module)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def get(name: str) -> object:
        if name in homes:
            return getattr(_imported(homes[name], f"{package}.{name}"), name)
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}"):
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, list(homes)


def _imported(module: str, wanted: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "mixreg").partition(".")[0] == "mixreg":
            raise
        raise ModuleNotFoundError(
            f"{wanted} needs the package {error.name}, which is not installed; install it with: "
            "pip install 'mixreg[cli]'",
            name=error.name,
        ) from error
