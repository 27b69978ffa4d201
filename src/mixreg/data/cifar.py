"""CIFAR-10 and CIFAR-100: the official Python release, or one .npz file.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The files and their MD5 are those of torchvision.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixreg._errors import DataError, require
from mixreg.data.archive import read_archive
from mixreg.data.in_memory import Samples
from mixreg.data.location import check_digest, refuse_incomplete, refuse_missing
from mixreg.data.published import Published, class_indices

CLASSES = {"cifar10": 10, "cifar100": 100}


def read_cifar(name: str, root: Path) -> Published:
    """Read "cifar10" or "cifar100": its official folder or, where there is none, one .npz file."""
    datasets = require(
        "torchvision.datasets", extra="cli", purpose=f"data set {name}", error=DataError
    )
    release = getattr(datasets, name.upper())
    folder, archive = root / release.base_folder, root / f"{name}.npz"
    remedy = (
        f"Get it by mixreg.data.load({name!r}, download=True), by "
        f"torchvision.datasets.{name.upper()}(ROOT, download=True), or by unpacking the Python "
        "version from https://www.cs.toronto.edu/~kriz/cifar.html."
    )
    if not folder.is_dir():
        if archive.is_file():
            return read_archive(
                archive,
                train_size=50_000,
                test_size=10_000,
                image_shape=(32, 32, 3),
                num_classes=CLASSES[name],
            )
        wanted = f"the folder {release.base_folder} or the file {archive.name}"
        refuse_missing(name, wanted=wanted, folders=[root], remedy=remedy, root=root)
    meta = [(release.meta["filename"], release.meta["md5"])]
    absent = [
        file
        for file, _ in (*meta, *release.train_list, *release.test_list)
        if not (folder / file).exists()
    ]
    refuse_incomplete(name, folder=folder, absent=absent, remedy=remedy)
    (names,) = _unpickle(folder, meta)
    train, test = (
        _samples(folder, _unpickle(folder, files), CLASSES[name])
        for files in (release.train_list, release.test_list)
    )
    return Published(train, test, tuple(names[release.meta["key"]]))


def _unpickle(folder: Path, files: list[Any]) -> list[dict[str, Any]]:
    """The pickles in files, each with its MD5; bytes that are not the published ones stay bytes."""
    values = []
    for file, md5 in files:
        content = (folder / file).read_bytes()
        check_digest(folder / file, content, md5)
        values.append(pickle.loads(content, encoding="latin1"))  # noqa: S301 (known by their MD5)
    return values


def _samples(folder: Path, batches: list[dict[str, Any]], num_classes: int) -> Samples:
    """Consecutive batches of planar images as one tensor in channels_last memory."""
    planes = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    key = "labels" if "labels" in batches[0] else "fine_labels"
    labels = np.concatenate([batch[key] for batch in batches])
    images = torch.from_numpy(planes).contiguous(memory_format=torch.channels_last)
    return Samples(images, class_indices(folder, labels, num_classes))
