"""Fashion-MNIST: the four published idx files, compressed or not.

Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", 2017; https://github.com/zalandoresearch/fashion-mnist.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mixreg.data.idx import parse_idx, read_idx_bytes
from mixreg.data.in_memory import Samples
from mixreg.data.location import data_root, refuse_incomplete, refuse_missing
from mixreg.data.official import Official, check_digest, class_indices

SUBFOLDERS = (".", "fashion-mnist", "FashionMNIST/raw")
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_REMEDY = (
    "Get it by mixreg.data.load('fashion-mnist', download=True), by torchvision."
    "datasets.FashionMNIST(ROOT, download=True), by installing Debian's package "
    "dataset-fashion-mnist, or from https://github.com/zalandoresearch/fashion-mnist."
)


@dataclass(frozen=True)
class IdxFile:
    """One of the files.

    Args:
        name: its name without .gz.
        md5: MD5 of its uncompressed content, which every packaging has in common.
        shape: shape of its array.
    """

    name: str
    md5: str
    shape: tuple[int, ...]

    def path(self, folder: Path) -> Path | None:
        """The file in a folder, uncompressed if there is the choice, or None."""
        plain = folder / self.name
        choices = [plain, plain.with_name(f"{self.name}.gz")]
        return next((path for path in choices if path.is_file()), None)


@dataclass(frozen=True)
class Release:
    """The four files that make up the data set."""

    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All four."""
        return (self.train_images, self.train_labels, self.test_images, self.test_labels)


FASHION_MNIST = Release(
    IdxFile("train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a", (60_000, 28, 28)),
    IdxFile("train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9", (60_000,)),
    IdxFile("t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a", (10_000, 28, 28)),
    IdxFile("t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965", (10_000,)),
)


def read_fashion_mnist(
    root: str | os.PathLike[str] | None, release: Release = FASHION_MNIST
) -> Official:
    """Read Fashion-MNIST from its four files.

    Args:
        root: the folder of the data sets; see `data_root`. Without one, the folder of Debian's
            package is looked at last.
        release: the files and their digests.

    Returns:
        The training and test images, uint8.

    Raises:
        DataError: the data set is missing, incomplete, damaged, or not what was published.
    """
    place = data_root(root)
    folders = [place / sub for sub in SUBFOLDERS] + ([DEBIAN_FOLDER] if root is None else [])
    paths = [{f.name: path for f in release.files if (path := f.path(d))} for d in folders]
    found = next((paths_here for paths_here in paths if paths_here), None)
    if found is None:
        refuse_missing(
            "fashion-mnist",
            wanted=", ".join(f"{f.name}[.gz]" for f in release.files),
            folders=folders,
            remedy=_REMEDY,
            root=place,
        )
    absent = [f.name for f in release.files if f.name not in found]
    if absent:
        folder = next(iter(found.values())).parent
        refuse_incomplete("fashion-mnist", folder=folder, absent=absent, remedy=_REMEDY)
    return Official(
        _samples(found, release.train_images, release.train_labels),
        _samples(found, release.test_images, release.test_labels),
        CLASS_NAMES,
    )


def _samples(paths: dict[str, Path], images: IdxFile, labels: IdxFile) -> Samples:
    """One split from its two files."""
    pixels = torch.from_numpy(_read(paths[images.name], images).copy())
    classes = _read(paths[labels.name], labels)
    indices = class_indices(paths[labels.name], classes, len(CLASS_NAMES))
    return Samples(pixels.unsqueeze(1), indices)


def _read(path: Path, file: IdxFile) -> NDArray[np.uint8]:
    """The array of one file whose content is the published one."""
    header = 4 + 4 * len(file.shape)
    content = read_idx_bytes(path, limit=header + int(np.prod(file.shape)) + 1)
    values = parse_idx(path, content, file.shape)
    check_digest(path, content, file.md5)
    return values
