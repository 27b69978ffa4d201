"""Where data sets are looked for, and what to say when one is not there."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mixreg._errors import DataError

ENVIRONMENT_VARIABLE = "MIXREG_DATA"
DEFAULT_ROOT = "data"


class MissingDataError(DataError):
    """No part of a data set is in any of the places it was looked for in."""


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """The folder that holds the data sets.

    Args:
        root: the folder, or None for the environment variable `MIXREG_DATA`, else ./data.

    Returns:
        The folder, whether it exists or not.

    Example:
        >>> data_root("/srv/data").name
        'data'
    """
    if root is not None:
        return Path(root).expanduser()
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_ROOT).expanduser()


def refuse_missing(
    name: str, *, wanted: str, folders: Sequence[Path], remedy: str, root: Path
) -> NoReturn:
    """Say that a data set is nowhere, and how to get it.

    Args:
        name: the data set.
        wanted: what was looked for.
        folders: where.
        remedy: how to get it.
        root: the folder of the data sets.

    Raises:
        MissingDataError: always.
    """
    places = ", ".join(str(folder.absolute()) for folder in folders)
    raise MissingDataError(
        f"data set {name!r} is missing: looked for {wanted} in {places}. {remedy} The folder of "
        f"the data sets is {root.absolute()}; choose it by the argument root (--data-root) or the "
        f"environment variable {ENVIRONMENT_VARIABLE}."
    )


def refuse_incomplete(name: str, *, folder: Path, absent: Sequence[str], remedy: str) -> NoReturn:
    """Say that files of a data set are missing beside others, and how to get them.

    Args:
        name: the data set.
        folder: where its other files are.
        absent: names of the files that are missing.
        remedy: how to get the data set.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"data set {name!r} in {folder.absolute()} is incomplete: {', '.join(absent)} missing. "
        f"Delete its other files there and get it again. {remedy}"
    )


def read_file(path: Path) -> bytes:
    """The whole of a file.

    Args:
        path: the file.

    Returns:
        Its bytes.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
