"""What a data set publishes: samples in memory or files of images, and what is asked of them."""

import hashlib
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixreg._errors import DataError


class Samples(NamedTuple):
    """Inputs (n, ...), uint8 images or float32 features, and labels (n,) of dtype int64."""

    inputs: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> "Samples":
        """The samples with these indices, shape (k,), as a copy in channels_last memory."""
        inputs, labels = self.inputs, self.labels.index_select(0, rows)
        if inputs.ndim != 4:
            return Samples(inputs.index_select(0, rows), labels)
        # Runs of bytes are copied many times faster than strided images are gathered.
        n, channels, height, width = inputs.shape
        pixels = inputs.permute(0, 2, 3, 1).reshape(n, -1).index_select(0, rows)
        return Samples(pixels.view(-1, height, width, channels).permute(0, 3, 1, 2), labels)


class ImageFiles(NamedTuple):
    """Images on disk: a folder, their paths in it as bytes (n,), and labels (n,) of dtype int64.

    One array of bytes, not a list of strings: worker processes share it without copying it.
    """

    folder: Path
    paths: NDArray[np.bytes_]
    labels: Tensor

    def take(self, rows: Tensor | slice) -> "ImageFiles":
        """The images with these indices."""
        index = rows if isinstance(rows, slice) else rows.numpy()
        return ImageFiles(self.folder, self.paths[index], self.labels[rows])


S = TypeVar("S", Samples, ImageFiles)


class Published(NamedTuple, Generic[S]):
    """The published training and test samples, before any splitting or noise."""

    train: S
    test: S
    class_names: tuple[str, ...]


def class_indices(path: Path, labels: NDArray[Any], num_classes: int) -> Tensor:
    """Labels read from a file as int64 indices; refused if one is not in 0..num_classes−1."""
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path} holds labels of {labels.dtype}, expected integers")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{path} holds labels from {low} to {high}, expected 0 to {num_classes - 1}"
        )
    return torch.from_numpy(labels.astype(np.int64))


def check_digest(path: Path, content: bytes, md5: str) -> None:
    """Refuse content that is not the published one."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != md5:
        raise DataError(
            f"{path} is damaged or not the published file: {len(content)} bytes with MD5 {digest}, "
            f"expected MD5 {md5}; delete it and get it again"
        )
