"""Find the images of a data set laid out as one folder a class, under train and val."""

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from mixreg._errors import DataError
from mixreg.data.published import ImageFiles, Published, by_split, publish, refuse_missing

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_WANTED = "the folders train and val with one folder of images for each class"
_REMEDY = (
    "ImageNet needs an account at https://image-net.org/download.php; "
    "torchvision.datasets.ImageNet(ROOT) unpacks its archives into this layout."
)


ORDERS = ("torchvision", "timm")
"""Libraries whose numbering of class folders can be asked for by name."""


def find_images(name: str, root: Path, class_order: Sequence[str] | None) -> Published[ImageFiles]:
    """List the images of the folders train and val in ROOT/name or in ROOT, by class and path."""
    folders = [root / name, root]
    present = [f for f in folders if (f / "train").is_dir() and (f / "val").is_dir()]
    if not present:
        refuse_missing(name, wanted=_WANTED, folders=folders, remedy=_REMEDY, root=root)
    folder = present[0]
    return _published(folder, {"train": folder / "train", "test": folder / "val"}, class_order)


def find_own_images(folder: Path, class_order: Sequence[str] | None) -> Published[ImageFiles]:
    """List the images of a folder of class folders, or of those in split folders in or below it."""
    places = _split_folders(folder)
    if len(places) > 1:
        raise DataError(
            f"{folder} has folders for training and testing in several places: "
            f"{', '.join(str(place['train'].parent) for place in places[:5])}; name one of them"
        )
    names = _class_folders(folder)
    train = by_split(folder, names).get("train")
    if not places and train is not None and len(_class_folders(folder / train)) > 1:
        raise DataError(
            f"{folder} has class folders in {train} and none for testing (test, val, ...); there "
            f"are {', '.join(names[:5])}"
        )
    return _published(folder, places[0] if places else {"": folder}, class_order)


def _split_folders(folder: Path, depth: int = 3) -> list[dict[str, Path]]:
    """The folders of splits, at the uppermost places where some are for training and testing."""
    names = _class_folders(folder)
    found = by_split(folder, names)
    if "train" in found and len(found) > 1:
        return [{split: folder / name for split, name in found.items()}]
    return [
        place for name in names * (depth > 0) for place in _split_folders(folder / name, depth - 1)
    ]


def _published(
    place: Path, folders: Mapping[str, Path], class_order: Sequence[str] | None
) -> Published[ImageFiles]:
    first = folders.get("train", place)
    names = _class_folders(first)
    for other in folders.values():
        if unknown := set(_class_folders(other)) - {*names}:
            raise DataError(
                f"{first} and {other} do not have the same classes; without training images: "
                f"{', '.join(sorted(unknown)[:5])}"
            )
    if len(names) < 2:
        held = f" ({names[0]})" if names else ""
        raise DataError(f"{first} has {len(names)} class folders{held}, expected at least 2")
    classes = _ordered(first, names, class_order)
    parts = {split: _list_images(folder, classes) for split, folder in folders.items()}
    return publish(place, parts, classes)


def _class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, but for those that begin with a dot."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _ordered(folder: Path, names: list[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The classes as wanted, else sorted as torchvision does, with a warning where timm differs."""
    natural = sorted(names, key=_natural)
    if wanted in ORDERS:
        return tuple(natural if wanted == "timm" else names)
    if wanted is not None:
        if sorted(wanted) != names:
            different = sorted(set(wanted).symmetric_difference(names)) or ["one named twice"]
            raise DataError(
                f"class_order must name each of the {len(names)} class folders of {folder} once; "
                f"these are in only one of both: {', '.join(different[:5])}"
            )
        return tuple(wanted)
    if natural != names:
        place = next(
            i for i, pair in enumerate(zip(names, natural, strict=True)) if len({*pair}) > 1
        )
        warnings.warn(
            f"the classes of {folder} are numbered as torchvision does; timm numbers them "
            f"otherwise (class {place} is {names[place]!r} here and {natural[place]!r} there): "
            "for a network that was trained with timm's loader give class_order='timm' "
            "(--class-order timm)",
            stacklevel=2,
        )
    return tuple(names)


def _natural(name: str) -> list[int | str]:
    """The sorting key of timm: case does not count, and digits count as numbers."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _list_images(folder: Path, classes: Sequence[str]) -> ImageFiles:
    """The images of all classes, in order; what is left out is counted in a warning."""
    paths: list[bytes] = []
    counts = []
    with os.scandir(folder) as entries:
        left_out = [entry.name for entry in entries if entry.name not in classes]
    for name in classes:
        if not (folder / name).is_dir():
            counts.append(0)
            continue
        images: list[tuple[str, str]] = []
        for place, file in _below(folder, name):
            if file.startswith(".") or not file.lower().endswith(SUFFIXES):
                left_out.append(file)
            else:
                images.append((place, file))
        if not images:
            raise DataError(f"{folder / name} has no images ({', '.join(SUFFIXES)})")
        paths += [os.fsencode(f"{place}/{file}") for place, file in sorted(images)]
        counts.append(len(images))
    if left_out:
        hidden = sum(file.startswith(".") for file in left_out)
        warnings.warn(
            f"left out of {folder}: {hidden} names that begin with a dot and "
            f"{len(left_out) - hidden} that do not end as those of images do "
            f"({', '.join(SUFFIXES)})",
            stacklevel=2,
        )
    labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts))
    return ImageFiles(folder, np.array(paths, np.bytes_), labels)


def _below(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Place in the folder and name of all files of a class, and of hidden folders; links count."""
    for place, folders, files in os.walk(folder / name, followlinks=True, onerror=_refuse):
        hidden = [below for below in folders if below.startswith(".")]
        folders[:] = [below for below in folders if below not in hidden]
        for path in (Path(place, below) for below in folders):
            if path.is_symlink() and Path(place).resolve().is_relative_to(path.resolve()):
                raise DataError(f"{path} links to a folder that holds it; remove the link")
        inside = os.path.relpath(place, folder)
        yield from ((inside, file) for file in (*files, *hidden))


def _refuse(error: OSError) -> NoReturn:
    """os.walk would pass over a folder that it cannot read."""
    raise error
