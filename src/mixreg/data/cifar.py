"""CIFAR-10 and CIFAR-100: the official Python release, or one .npz file.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The files and their MD5 are those of torchvision.
"""

import pickle
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from mixreg._errors import DataError, require
from mixreg.data.location import refuse_incomplete, refuse_missing
from mixreg.data.published import Published, Samples, check_digest, class_indices

CLASSES = {"cifar10": 10, "cifar100": 100}

# What an array of an archive may hold: kinds of dtype, bytes of a value at most, that in words.
_KINDS = {
    "images": ("u", 1, "uint8"),
    "labels": ("iu", 8, "integers"),
    "names": ("U", 1024, "text"),
}
# RuntimeError: an encrypted archive; NotImplementedError, one of them, an unknown compression.
_UNREADABLE = (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile)


def read_cifar(name: str, root: Path) -> Published[Samples]:
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
    if not folder.is_dir() and archive.is_file():
        return read_archive(archive, (50_000, 10_000), (32, 32, 3), CLASSES[name])
    if not folder.is_dir():
        wanted = f"the folder {release.base_folder} or the file {archive.name}"
        refuse_missing(name, wanted=wanted, folders=[root], remedy=remedy, root=root)
    meta = [(release.meta["filename"], release.meta["md5"])]
    files = (*meta, *release.train_list, *release.test_list)
    absent = [file for file, _ in files if not (folder / file).exists()]
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


def read_archive(
    path: Path, sizes: tuple[int, int], image_shape: tuple[int, ...], num_classes: int
) -> Published[Samples]:
    """Read images (n, height, width, channels), labels and class names of these sizes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part, size in zip(("train", "test"), sizes, strict=True):
        shapes |= {f"{part}_images": (size, *image_shape), f"{part}_labels": (size,)}
    shapes["class_names"] = (num_classes,)
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {key: _read(path, archive, key, shape) for key, shape in shapes.items()}
    except (*_UNREADABLE, zlib.error) as error:
        raise DataError(f"{path} is damaged or no NumPy archive: {error}; get it again") from error
    train, test = (
        Samples(
            torch.from_numpy(arrays[f"{part}_images"]).permute(0, 3, 1, 2),
            class_indices(path, arrays[f"{part}_labels"], num_classes),
        )
        for part in ("train", "test")
    )
    return Published(train, test, tuple(arrays["class_names"].tolist()))


def _read(path: Path, archive: zipfile.ZipFile, key: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """One array; what its header says is checked before it is unpacked, its sum on the way."""
    member = f"{key}.npy"
    if member not in archive.namelist():
        raise DataError(f"{path} has no array {key!r}, only {sorted(archive.namelist())[:9]}")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        held, _, dtype = read_header(file)
        size = file.tell() + dtype.itemsize * int(np.prod(shape))
    if held != shape:
        raise DataError(f"{path} holds {key} of shape {held}, expected {shape}")
    kinds, limit, wanted = _KINDS[key.partition("_")[2]]
    if dtype.kind not in kinds or dtype.itemsize > limit:
        raise DataError(f"{path} holds {key} of dtype {dtype}, expected {wanted}")
    if archive.getinfo(member).file_size != size:
        raise DataError(f"{path} holds {key} of another size than its header says; get it again")
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)
