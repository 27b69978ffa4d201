"""A data set as published: training and test samples, before any splitting or noise."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixreg._errors import DataError
from mixreg.data.in_memory import Samples


class Official(NamedTuple):
    """The published training and test set."""

    train: Samples
    test: Samples
    class_names: tuple[str, ...]


def check_digest(path: Path, content: bytes, md5: str) -> None:
    """Refuse a file that is not the published one.

    Args:
        path: the file, for the message.
        content: what was read from it, decompressed.
        md5: the MD5 of the published content.

    Raises:
        DataError: the digests differ.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path} is damaged or not the published file: {len(content)} bytes with MD5 {found}, "
            f"expected MD5 {md5}; delete it and get it again"
        )


def class_indices(path: Path, labels: NDArray[np.integer], num_classes: int) -> Tensor:
    """Labels read from a file as int64 indices.

    Args:
        path: the file, for the message.
        labels: integers, shape (n,).
        num_classes: number of classes.

    Returns:
        int64, shape (n,).

    Raises:
        DataError: a label is not in 0..num_classes−1.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{path} holds labels from {low} to {high}, expected 0 to {num_classes - 1}"
        )
    return torch.from_numpy(labels.astype(np.int64))
