"""Errors of the package, and what to say of unknown names and of packages that are missing."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

LISTED = 20


class MixregError(Exception):
    """Something outside a single argument is wrong; the message says what and how to mend it."""


class DataError(MixregError):
    """A data set is missing, damaged or not what its name promises."""


class CheckpointError(MixregError):
    """A checkpoint or run directory cannot be read as what it should hold."""


class ConfigurationError(MixregError):
    """Settings that are valid one by one do not fit together."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a list, with the nearest one suggested."""
    names = list(known)
    nearest = get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {nearest[0]!r}? Known" if nearest else "known"
    listed = ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
    return ValueError(f"unknown {kind} {name!r}; {hint}: {listed}")


def check_name(kind: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not in a list."""
    if name not in known:
        raise unknown_name(kind, name, known)


def require(
    module: str, *, extra: str, purpose: str, error: type[MixregError] = MixregError
) -> ModuleType:
    """Import an optional package or say which extra installs it."""
    try:
        return import_module(module)
    except ImportError as missing:
        package = module.partition(".")[0]
        raise error(
            f"{purpose} needs the package {package}, which cannot be imported ({missing}); "
            f"install it with: pip install 'mixreg[{extra}]'"
        ) from missing
