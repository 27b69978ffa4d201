"""What is imported when it is used: public names of a package, and a user's own functions.

So `mixreg --help` needs no PyTorch.
"""

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mixreg._errors import MixregError


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


def is_function(name: str) -> bool:
    """Whether a name has the form "package.module:function"."""
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", name) is not None


def call(name: str, *, error: type[MixregError], **arguments: object) -> Any:
    """What a user's function returns, called with those of the arguments that it has."""
    module, _, function = name.partition(":")
    with _current_folder():
        try:
            found = getattr(importlib.import_module(module), function)
            known = inspect.signature(found).parameters
            return found(**{key: value for key, value in arguments.items() if key in known})
        except MixregError:
            raise
        except Exception as reason:
            text = " ".join(f"{type(reason).__name__}: {reason}".split())
            raise error(f"calling {name} failed: {text}") from reason


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules in the current folder are found, as with `python -m`."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
