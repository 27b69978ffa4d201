"""Image data sets in one .npz file, read without pickle."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mixreg._errors import DataError
from mixreg.data.in_memory import Samples
from mixreg.data.official import Official, class_indices

# RuntimeError: an encrypted archive, or an unknown compression.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_archive(
    path: Path, *, train_size: int, test_size: int, shape: tuple[int, int, int], num_classes: int
) -> Official:
    """Read a data set of images from a NumPy archive.

    Args:
        path: the file; its arrays are `train_images` and `test_images`, uint8 of shape
            (n, height, width, channels), `train_labels` and `test_labels`, integers, and
            `class_names`, strings.
        train_size: number of training images expected.
        test_size: number of test images expected.
        shape: height, width and channels expected.
        num_classes: number of classes expected.

    Returns:
        The data set.

    Raises:
        DataError: the file is damaged or holds something else.
    """
    arrays = _read_arrays(path, _shapes(train_size, test_size, shape, num_classes))
    names = arrays["class_names"]
    if names.dtype.kind != "U":
        raise DataError(f"{path} holds class names of dtype {names.dtype}, expected strings")
    return Official(
        _samples(path, arrays, "train", num_classes),
        _samples(path, arrays, "test", num_classes),
        tuple(names.tolist()),
    )


def _shapes(
    train_size: int, test_size: int, shape: tuple[int, int, int], num_classes: int
) -> dict[str, tuple[int, ...]]:
    """The arrays that must be there."""
    return {
        "train_images": (train_size, *shape),
        "train_labels": (train_size,),
        "test_images": (test_size, *shape),
        "test_labels": (test_size,),
        "class_names": (num_classes,),
    }


def _read_arrays(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.generic]]:
    """Every array, all of them or none; the archive's checksums are verified on the way."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is no NumPy archive, or is cut short; get it again")
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key, shape in shapes.items():
                if key not in archive:
                    raise DataError(f"{path} has no array {key!r}, only {sorted(archive)}")
                values = archive[key]
                if not isinstance(values, np.ndarray):
                    raise DataError(f"{path} holds {key} as something else than a NumPy array")
                if values.shape != shape:
                    raise DataError(f"{path} holds {key} of shape {values.shape}, expected {shape}")
                arrays[key] = values
    except _UNREADABLE as error:
        raise DataError(f"{path} is damaged or no NumPy archive: {error}") from error
    return arrays


def _samples(
    path: Path, arrays: dict[str, NDArray[np.generic]], split: str, num_classes: int
) -> Samples:
    """One split, with the channels first in shape and last in memory."""
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if images.dtype != np.uint8 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path} holds {split} images of dtype {images.dtype} and labels of {labels.dtype}, "
            "expected uint8 and integers"
        )
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    return Samples(pixels, class_indices(path, labels.astype(np.int64), num_classes))
