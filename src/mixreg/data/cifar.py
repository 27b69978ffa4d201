"""CIFAR-10 and CIFAR-100: the official Python release, or one .npz file.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The files and their MD5 are those of torchvision.
"""

import pickle
from collections.abc import Iterable, Iterator
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


def _unpickle(folder: Path, files: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The pickles in files, each with its MD5; bytes that are not the published ones stay bytes."""
    for file, md5 in files:
        content = (folder / file).read_bytes()
        check_digest(folder / file, content, md5)
        yield pickle.loads(content, encoding="latin1")  # noqa: S301 (known by their MD5)


def _samples(folder: Path, batches: Iterable[dict[str, Any]], num_classes: int) -> Samples:
    """Consecutive batches of planar images as one tensor in channels_last memory."""
    images, labels = [], []
    for batch in batches:
        planes = torch.from_numpy(batch["data"]).view(-1, 3, 32, 32)
        images.append(planes.contiguous(memory_format=torch.channels_last))
        labels += batch["labels" if "labels" in batch else "fine_labels"]
    return Samples(torch.cat(images), class_indices(folder, np.array(labels), num_classes))
