"""Where data sets are looked for, what to say when one is not there, and how to fetch it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mixreg._errors import DataError, require

ENVIRONMENT_VARIABLE = "MIXREG_DATA"
DEFAULT_ROOT = "data"
FASHION_FOLDER = "FashionMNIST/raw"

Root = str | os.PathLike[str] | None


class MissingDataError(DataError):
    """No part of a data set is in any of the places it was looked for in."""


def data_root(root: Root) -> Path:
    """The folder of the data sets: the argument, else `MIXREG_DATA`, else ./data; `~` expanded."""
    given = os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_ROOT if root is None else root
    if "\0" in os.fspath(given):
        raise DataError(f"the folder of the data sets cannot hold a NUL byte, got {str(given)!r}")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise DataError(
            f"the folder of the data sets is given as {str(given)!r}, but no such home directory "
            "is known; give its full path"
        ) from error


def refuse_missing(
    name: str, *, wanted: str, folders: Sequence[Path], remedy: str, root: Path
) -> NoReturn:
    """Say that a data set is nowhere, and how to get it."""
    places = ", ".join(str(folder.absolute()) for folder in folders)
    raise MissingDataError(
        f"data set {name!r} is missing: looked for {wanted} in {places}. {remedy} The folder of "
        f"the data sets is {root.absolute()}; choose it by the argument root (--data-root) or the "
        f"environment variable {ENVIRONMENT_VARIABLE}."
    )


def refuse_incomplete(name: str, *, folder: Path, absent: Sequence[str], remedy: str) -> None:
    """Say which files of a data set are missing beside others, if any, and how to get them."""
    if absent:
        raise DataError(
            f"data set {name!r} in {folder.absolute()} is incomplete: {', '.join(absent)} missing. "
            f"Delete its other files there and get it again. {remedy}"
        )


def download(name: str, root: Path) -> None:
    """Fetch a data set to where `load` looks for it; torchvision checks the MD5 of the archives."""
    if name not in ("cifar10", "cifar100", "fashion-mnist"):
        raise DataError(f"data set {name!r} cannot be downloaded automatically")
    purpose = f"downloading {name}"
    datasets = require("torchvision.datasets", extra="cli", purpose=purpose, error=DataError)
    if name == "fashion-mnist":
        release, folder = datasets.FashionMNIST, root / FASHION_FOLDER
        archives = [(release.mirrors[0] + file, file, md5) for file, md5 in release.resources]
    else:
        release, folder = getattr(datasets, name.upper()), root
        archives = [(release.url, release.filename, release.tgz_md5)]
    fetch = datasets.utils.download_and_extract_archive
    try:
        root.mkdir(parents=True, exist_ok=True)
        for url, filename, md5 in archives:
            fetch(url, str(folder), filename=filename, md5=md5)
    except (OSError, RuntimeError) as error:
        raise DataError(f"downloading {name} to {root.absolute()} failed: {error}") from error
