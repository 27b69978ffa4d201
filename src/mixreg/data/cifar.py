"""CIFAR-10 and CIFAR-100: the official Python release, or one .npz file.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The MD5 of every file is the one torchvision checks.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixreg._errors import DataError
from mixreg.data.image_archive import read_archive
from mixreg.data.in_memory import Samples
from mixreg.data.location import data_root, read_file, refuse_incomplete, refuse_missing
from mixreg.data.official import Official, check_digest, class_indices
from mixreg.data.safe_pickle import load_pickle

CHANNELS, SIDE = 3, 32


@dataclass(frozen=True)
class Release:
    """What a release of CIFAR consists of.

    Args:
        name: the data set.
        folder: the folder that the official archive unpacks to.
        train: its training files, each with its MD5, in order.
        test: its test file and the MD5.
        meta: its file of class names and the MD5.
        label_key: the key of the labels.
        names_key: the key of the class names.
        num_classes: number of classes.
        train_size: number of training images.
        test_size: number of test images.
    """

    name: str
    folder: str
    train: tuple[tuple[str, str], ...]
    test: tuple[str, str]
    meta: tuple[str, str]
    label_key: bytes
    names_key: bytes
    num_classes: int
    train_size: int = 50_000
    test_size: int = 10_000

    @property
    def remedy(self) -> str:
        """How to get it."""
        return (
            f"Get it by mixreg.data.load({self.name!r}, download=True), by "
            f"torchvision.datasets.{self.name.upper()}(ROOT, download=True), or by "
            "unpacking the Python version from https://www.cs.toronto.edu/~kriz/cifar.html."
        )


CIFAR10 = Release(
    name="cifar10",
    folder="cifar-10-batches-py",
    train=(
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ),
    test=("test_batch", "40351d587109b95175f43aff81a1287e"),
    meta=("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    label_key=b"labels",
    names_key=b"label_names",
    num_classes=10,
)

CIFAR100 = Release(
    name="cifar100",
    folder="cifar-100-python",
    train=(("train", "16019d7e3df5f24257cddd939b257f8d"),),
    test=("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    meta=("meta", "7973b15100ade9c7d40fb424638fde48"),
    label_key=b"fine_labels",
    names_key=b"fine_label_names",
    num_classes=100,
)


def read_cifar(release: Release, root: str | os.PathLike[str] | None) -> Official:
    """Read CIFAR from its official files or, where there is no such folder, from one .npz file.

    Args:
        release: `CIFAR10` or `CIFAR100`.
        root: the folder of the data sets; see `data_root`.

    Returns:
        The training and test images, uint8 in channels_last memory.

    Raises:
        DataError: the data set is missing, damaged, or not what was published.
    """
    place = data_root(root)
    folder, archive = place / release.folder, place / f"{release.name}.npz"
    if folder.is_dir():
        return _read_folder(release, folder)
    if not archive.is_file():
        refuse_missing(
            release.name,
            wanted=f"the folder {release.folder} or the file {archive.name}",
            folders=[place],
            remedy=release.remedy,
            root=place,
        )
    return read_archive(
        archive,
        train_size=release.train_size,
        test_size=release.test_size,
        shape=(SIDE, SIDE, CHANNELS),
        num_classes=release.num_classes,
    )


def _read_folder(release: Release, folder: Path) -> Official:
    """The official files, each checked by its MD5 before it is unpickled."""
    files = [name for name, _ in (release.meta, *release.train, release.test)]
    if absent := [name for name in files if not (folder / name).exists()]:
        refuse_incomplete(release.name, folder=folder, absent=absent, remedy=release.remedy)
    meta_name, meta_md5 = release.meta
    meta = _load(folder / meta_name, meta_md5)
    names = meta.get(release.names_key)
    if (
        not isinstance(names, list)
        or len(names) != release.num_classes
        or not all(isinstance(name, bytes) for name in names)
    ):
        raise DataError(f"{folder / meta_name} does not list {release.num_classes} class names")
    return Official(
        _read_batches(release, folder, release.train, release.train_size),
        _read_batches(release, folder, (release.test,), release.test_size),
        tuple(name.decode() for name in names),
    )


def _read_batches(
    release: Release, folder: Path, files: tuple[tuple[str, str], ...], size: int
) -> Samples:
    """Consecutive batch files as one tensor, filled one file at a time."""
    images = np.empty((size, SIDE, SIDE, CHANNELS), np.uint8)
    labels = np.empty(size, np.int64)
    filled = 0
    for name, md5 in files:
        path = folder / name
        values = _load(path, md5)
        data, classes = values.get(b"data"), values.get(release.label_key)
        if not isinstance(data, np.ndarray) or data.shape[1:] != (CHANNELS * SIDE * SIDE,):
            raise DataError(f"{path} holds no array of images, shape (n, {CHANNELS * SIDE * SIDE})")
        if not isinstance(classes, list) or len(classes) != len(data):
            raise DataError(f"{path} does not hold one label for each of its {len(data)} images")
        if filled + len(data) > size:
            raise DataError(f"{path} holds more than the {size - filled} images expected of it")
        rows = slice(filled, filled + len(data))
        for channel, plane in enumerate(data.reshape(-1, CHANNELS, SIDE, SIDE).swapaxes(0, 1)):
            images[rows, ..., channel] = plane
        labels[rows] = _integers(path, classes)
        filled += len(data)
    if filled < size:
        raise DataError(f"{folder} holds {filled} images in {files[0][0]}…, expected {size}")
    indices = class_indices(folder, labels, release.num_classes)
    return Samples(torch.from_numpy(images).permute(0, 3, 1, 2), indices)


def _load(path: Path, md5: str) -> dict[bytes, Any]:
    """A pickled dictionary whose bytes are the published ones."""
    content = read_file(path)
    check_digest(path, content, md5)
    return load_pickle(path, content)


def _integers(path: Path, labels: list[Any]) -> NDArray[np.int64]:
    """Labels of a pickle, which could hold anything."""
    if not all(type(label) is int for label in labels):
        raise DataError(f"{path} holds labels that are not integers")
    return np.array(labels, np.int64)
