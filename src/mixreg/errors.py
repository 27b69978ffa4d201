"""The errors of the package that are not about one argument of one call."""

import difflib
from collections.abc import Iterable


class MixregError(Exception):
    """Something outside a single argument is wrong; the message says what and how to mend it."""


class DataError(MixregError):
    """A data set is missing, damaged or not what its name promises."""


class CheckpointError(MixregError):
    """A checkpoint or run directory cannot be read as what it should hold."""


class ConfigurationError(MixregError):
    """Settings that are valid one by one do not fit together."""


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that nothing has.

    Args:
        what: the kind of thing, such as "model".
        name: the unknown name.
        known: the names there are.

    Returns:
        A sentence with the closest known name, if one is close, and all of them.

    Example:
        >>> unknown_name("model", "lenett", ["mlp", "lenet"])
        "unknown model 'lenett'; did you mean 'lenet'? (known: mlp, lenet)"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(names)})"
