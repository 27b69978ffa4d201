"""Names that users type, and what to say when one is unknown."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

LISTED = 20


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a list, with the nearest one suggested.

    Args:
        kind: what is named, for example "data set".
        name: what came.
        known: what would have been understood; the first 20 are listed.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown_name("data set", "cifar", ["digits", "cifar10"]))
        unknown data set 'cifar'; did you mean 'cifar10'? Known: digits, cifar10
    """
    names = list(known)
    nearest = get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {nearest[0]!r}? Known" if nearest else "known"
    listed = ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
    return ValueError(f"unknown {kind} {name!r}; {hint}: {listed}")


def check_name(kind: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not in a list.

    Args:
        kind: what is named.
        name: what came.
        known: what is understood.

    Raises:
        ValueError: the name is not in the list.

    Example:
        >>> check_name("split", "test", ["train", "test"])
    """
    if name not in known:
        raise ValueError(str(unknown_name(kind, name, known)))
