"""CIFAR and Fashion-MNIST: the published files, known by their MD5, or one .npz file of CIFAR.

Sources: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html; Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image
Dataset for Benchmarking Machine Learning Algorithms", 2017;
https://github.com/zalandoresearch/fashion-mnist. The files of CIFAR are those of torchvision.
"""

import gzip
import hashlib
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from mixreg._errors import DataError, require
from mixreg.data.published import Published, Samples, refuse_missing

CLASSES = {"cifar10": 10, "cifar100": 100}

# What an array of an archive may hold: kinds of dtype, bytes of a value at most, that in words.
_KINDS = {
    "images": ("u", 1, "uint8"),
    "labels": ("iu", 8, "integers"),
    "names": ("U", 1024, "text"),
}
# RuntimeError: an encrypted archive; NotImplementedError, one of them, an unknown compression.
_UNREADABLE = (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile)

_FASHION_FOLDER = "FashionMNIST/raw"
_FASHION_SUBFOLDERS = (".", "fashion-mnist", _FASHION_FOLDER)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
# Shape, and MD5 of the uncompressed content, which every packaging has in common.
FASHION_FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": ((60_000,), "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": ((10_000,), "15d484375f8d13e6eb1aabb0c3f46965"),
}
_FASHION_REMEDY = (
    "Get it by mixreg.data.load('fashion-mnist', download=True), by torchvision."
    "datasets.FashionMNIST(ROOT, download=True), by installing Debian's package "
    "dataset-fashion-mnist, or from https://github.com/zalandoresearch/fashion-mnist."
)


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
    _refuse_incomplete(name, folder=folder, absent=absent, remedy=remedy)
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
        _check_digest(folder / file, content, md5)
        yield pickle.loads(content, encoding="latin1")  # noqa: S301 (known by their MD5)


def _samples(folder: Path, batches: Iterable[dict[str, Any]], num_classes: int) -> Samples:
    """Consecutive batches of planar images as one tensor in channels_last memory."""
    images, labels = [], []
    for batch in batches:
        planes = torch.from_numpy(batch["data"]).view(-1, 3, 32, 32)
        images.append(planes.contiguous(memory_format=torch.channels_last))
        labels += batch["labels" if "labels" in batch else "fine_labels"]
    return Samples(torch.cat(images), _class_indices(folder, np.array(labels), num_classes))


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
            _class_indices(path, arrays[f"{part}_labels"], num_classes),
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


def read_fashion_mnist(root: Path, further: Sequence[Path] = ()) -> Published[Samples]:
    """Read the four files from the root, a folder of it, or a further folder."""
    folders = [*(root / sub for sub in _FASHION_SUBFOLDERS), *further]
    folder = next((folder for folder in folders if _held(folder)), None)
    if folder is None:
        wanted = ", ".join(f"{name}[.gz]" for name in FASHION_FILES)
        refuse_missing(
            "fashion-mnist", wanted=wanted, folders=folders, remedy=_FASHION_REMEDY, root=root
        )
    paths = _held(folder)
    absent = [name for name in FASHION_FILES if name not in paths]
    _refuse_incomplete("fashion-mnist", folder=folder, absent=absent, remedy=_FASHION_REMEDY)
    arrays = [_read_idx(paths[name], *FASHION_FILES[name]) for name in FASHION_FILES]
    train, test = (
        Samples(images.unsqueeze(1), _class_indices(folder, labels.numpy(), len(GARMENTS)))
        for images, labels in (arrays[:2], arrays[2:])
    )
    return Published(train, test, GARMENTS)


def _held(folder: Path) -> dict[str, Path]:
    """The files of the data set in a folder; plain ones are preferred to compressed ones."""
    paths = [folder / f"{name}{suffix}" for suffix in (".gz", "") for name in FASHION_FILES]
    return {path.name.removesuffix(".gz"): path for path in paths if path.is_file()}


def _read_idx(path: Path, shape: tuple[int, ...], md5: str) -> Tensor:
    """An idx file of bytes: 0, 0, 8, dimensions, sizes as big-endian 32-bit integers, values."""
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(len(header) + math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged, or no gzip file: {error}") from error
    if content[: len(header)] != header:
        raise DataError(f"{path} is no idx file of unsigned bytes of shape {shape}")
    _check_digest(path, content, md5)
    values = np.frombuffer(content, np.uint8, offset=len(header))
    return torch.from_numpy(values.reshape(shape).copy())


def download(name: str, root: Path) -> None:
    """Fetch a data set to where `load` looks for it; torchvision checks the MD5 of the archives."""
    if name not in ("cifar10", "cifar100", "fashion-mnist"):
        raise DataError(f"data set {name!r} cannot be downloaded automatically")
    purpose = f"downloading {name}"
    datasets = require("torchvision.datasets", extra="cli", purpose=purpose, error=DataError)
    if name == "fashion-mnist":
        release, folder = datasets.FashionMNIST, root / _FASHION_FOLDER
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


def _refuse_incomplete(name: str, *, folder: Path, absent: Sequence[str], remedy: str) -> None:
    """Say which files of a data set are missing beside others, if any, and how to get them."""
    if absent:
        raise DataError(
            f"data set {name!r} in {folder.absolute()} is incomplete: {', '.join(absent)} missing. "
            f"Delete its other files there and get it again. {remedy}"
        )


def _class_indices(path: Path, labels: NDArray[Any], num_classes: int) -> Tensor:
    """Labels read from a file as int64 indices; refused if one is not in 0..num_classes−1."""
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path} holds labels of {labels.dtype}, expected integers")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{path} holds labels from {low} to {high}, expected 0 to {num_classes - 1}"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _check_digest(path: Path, content: bytes, md5: str) -> None:
    """Refuse content that is not the published one."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != md5:
        raise DataError(
            f"{path} is damaged or not the published file: {len(content)} bytes with MD5 {digest}, "
            f"expected MD5 {md5}; delete it and get it again"
        )
