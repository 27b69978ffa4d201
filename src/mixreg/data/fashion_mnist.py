"""Fashion-MNIST: the four published idx files, compressed or not.

Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", 2017; https://github.com/zalandoresearch/fashion-mnist.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mixreg._errors import DataError
from mixreg.data.location import FASHION_FOLDER, refuse_incomplete, refuse_missing
from mixreg.data.published import Published, Samples, check_digest, class_indices

SUBFOLDERS = (".", "fashion-mnist", FASHION_FOLDER)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
# Shape, and MD5 of the uncompressed content, which every packaging has in common.
FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": ((60_000,), "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": ((10_000,), "15d484375f8d13e6eb1aabb0c3f46965"),
}
_REMEDY = (
    "Get it by mixreg.data.load('fashion-mnist', download=True), by torchvision."
    "datasets.FashionMNIST(ROOT, download=True), by installing Debian's package "
    "dataset-fashion-mnist, or from https://github.com/zalandoresearch/fashion-mnist."
)


def read_fashion_mnist(root: Path, further: Sequence[Path] = ()) -> Published[Samples]:
    """Read the four files from the root, a folder of it, or a further folder."""
    folders = [*(root / sub for sub in SUBFOLDERS), *further]
    folder = next((folder for folder in folders if _held(folder)), None)
    if folder is None:
        wanted = ", ".join(f"{name}[.gz]" for name in FILES)
        refuse_missing("fashion-mnist", wanted=wanted, folders=folders, remedy=_REMEDY, root=root)
    paths = _held(folder)
    absent = [name for name in FILES if name not in paths]
    refuse_incomplete("fashion-mnist", folder=folder, absent=absent, remedy=_REMEDY)
    arrays = [_read(paths[name], *FILES[name]) for name in FILES]
    train, test = (
        Samples(images.unsqueeze(1), class_indices(folder, labels.numpy(), len(CLASS_NAMES)))
        for images, labels in (arrays[:2], arrays[2:])
    )
    return Published(train, test, CLASS_NAMES)


def _held(folder: Path) -> dict[str, Path]:
    """The files of the data set in a folder; plain ones are preferred to compressed ones."""
    paths = [folder / f"{name}{suffix}" for suffix in (".gz", "") for name in FILES]
    return {path.name.removesuffix(".gz"): path for path in paths if path.is_file()}


def _read(path: Path, shape: tuple[int, ...], md5: str) -> Tensor:
    """An idx file of bytes: 0, 0, 8, dimensions, sizes as big-endian 32-bit integers, values."""
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(len(header) + math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged, or no gzip file: {error}") from error
    if content[: len(header)] != header:
        raise DataError(f"{path} is no idx file of unsigned bytes of shape {shape}")
    check_digest(path, content, md5)
    values = np.frombuffer(content, np.uint8, offset=len(header))
    return torch.from_numpy(values.reshape(shape).copy())
