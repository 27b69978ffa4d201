"""Image data sets in one .npz file, read without pickle."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from mixreg._errors import DataError
from mixreg.data.in_memory import Samples
from mixreg.data.published import Published, class_indices

# What an array may hold: its kinds of dtype, bytes of one value at most, and that in words.
_KINDS = {
    "images": ("u", 1, "uint8"),
    "labels": ("iu", 8, "integers"),
    "names": ("U", 1024, "text"),
}
# RuntimeError: an encrypted archive; NotImplementedError, one of them, an unknown compression.
_UNREADABLE = (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile)


def read_archive(
    path: Path, *, train_size: int, test_size: int, image_shape: tuple[int, ...], num_classes: int
) -> Published:
    """Read images (n, height, width, channels), labels and class names of these sizes."""
    shapes = {
        "train_images": (train_size, *image_shape),
        "train_labels": (train_size,),
        "test_images": (test_size, *image_shape),
        "test_labels": (test_size,),
        "class_names": (num_classes,),
    }
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {key: _read(path, archive, key, shapes[key]) for key in shapes}
    except (*_UNREADABLE, zlib.error) as error:
        raise DataError(f"{path} is damaged or no NumPy archive: {error}; get it again") from error
    train, test = (
        Samples(
            torch.from_numpy(arrays[f"{split}_images"]).permute(0, 3, 1, 2),
            class_indices(path, arrays[f"{split}_labels"], num_classes),
        )
        for split in ("train", "test")
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
