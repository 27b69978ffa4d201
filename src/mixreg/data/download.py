"""Fetch data sets with torchvision's own downloader."""

import os
from typing import Any

from mixreg._errors import DataError, require
from mixreg.data.location import data_root

CIFAR_CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
FASHION_FOLDER = "FashionMNIST/raw"


def download(name: str, root: str | os.PathLike[str] | None) -> None:
    """Download a data set to where `load` looks for it.

    The archives are checked by torchvision against their official MD5.

    Args:
        name: "cifar10", "cifar100" or "fashion-mnist".
        root: the folder of the data sets; see `data_root`.

    Raises:
        DataError: torchvision is not installed, the download failed, or the data set cannot be
            downloaded without an account.
    """
    if name not in (*CIFAR_CLASSES, "fashion-mnist"):
        raise DataError(f"data set {name!r} cannot be downloaded automatically")
    datasets = require(
        "torchvision.datasets", extra="vision", purpose=f"downloading {name}", error=DataError
    )
    place = data_root(root)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for url, filename, md5, folder in _archives(name, datasets):
            datasets.utils.download_and_extract_archive(
                url, str(place / folder), filename=filename, md5=md5
            )
    except (OSError, RuntimeError) as error:
        raise DataError(f"downloading {name} to {place.absolute()} failed: {error}") from error


def _archives(name: str, datasets: Any) -> list[tuple[str, str, str, str]]:
    """URL, file name, MD5 and folder of each archive, as torchvision lists them."""
    if name in CIFAR_CLASSES:
        release = getattr(datasets, CIFAR_CLASSES[name])
        return [(release.url, release.filename, release.tgz_md5, ".")]
    release = datasets.FashionMNIST
    mirror = release.mirrors[0]
    return [(f"{mirror}{file}", file, md5, FASHION_FOLDER) for file, md5 in release.resources]
