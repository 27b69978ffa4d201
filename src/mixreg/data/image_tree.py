"""Find the images of a data set laid out as one folder a class, under train and val."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixreg._errors import DataError
from mixreg.data.location import data_root, refuse_missing

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFiles(NamedTuple):
    """Images on disk: a folder, their paths in it as bytes (n,), and labels (n,) of dtype int64.

    One array of bytes, not a list of strings: worker processes share it without copying it.
    """

    folder: Path
    paths: NDArray[np.bytes_]
    labels: Tensor

    def take(self, rows: Tensor) -> "ImageFiles":
        """The images with these indices, shape (k,)."""
        return ImageFiles(self.folder, self.paths[rows.numpy()], self.labels[rows])


class ImageTree(NamedTuple):
    """The published training and test images (the folders train and val)."""

    train: ImageFiles
    test: ImageFiles
    class_names: tuple[str, ...]


def find_images(name: str, root: str | os.PathLike[str] | None) -> ImageTree:
    """Look for the folders train and val in ROOT/name or in ROOT, and list their images.

    Args:
        name: the data set.
        root: the folder of the data sets; see `data_root`.

    Returns:
        The images of both folders, ordered by class and by file name.

    Raises:
        DataError: there are no such folders, their classes differ, or a class has no images.
    """
    place = data_root(root)
    folders = [place / name, place]
    found = [f for f in folders if (f / "train").is_dir() and (f / "val").is_dir()]
    if not found:
        refuse_missing(
            name,
            wanted="the folders train and val with one folder of images for each class",
            folders=folders,
            remedy=(
                "ImageNet needs an account at https://image-net.org/download.php; "
                "torchvision.datasets.ImageNet(ROOT) unpacks its archives into this layout."
            ),
            root=place,
        )
    folder = found[0]
    classes = _class_folders(folder / "train")
    different = set(classes).symmetric_difference(_class_folders(folder / "val"))
    if different:
        raise DataError(
            f"{folder / 'train'} and {folder / 'val'} do not have the same classes; in only one "
            f"of them: {', '.join(sorted(different)[:5])}"
        )
    if len(classes) < 2:
        raise DataError(f"{folder / 'train'} has {len(classes)} class folders, expected at least 2")
    train, test = (_list_images(folder / part, classes) for part in ("train", "val"))
    return ImageTree(train, test, tuple(classes))


def _class_folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _list_images(folder: Path, classes: list[str]) -> ImageFiles:
    """The images of all classes, in order."""
    paths: list[bytes] = []
    counts = []
    for name in classes:
        with os.scandir(folder / name) as entries:
            files = sorted(e.name for e in entries if e.name.lower().endswith(SUFFIXES))
        if not files:
            raise DataError(f"{folder / name} has no images ({', '.join(SUFFIXES)})")
        paths += [os.fsencode(f"{name}/{file}") for file in files]
        counts.append(len(files))
    labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts))
    return ImageFiles(folder, np.array(paths, np.bytes_), labels)
