"""What a data set publishes: samples in memory or files of images, and what is asked of them."""

import hashlib
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixreg._errors import DataError
from mixreg._random import generator
from mixreg.data.splits import stratified_holdout


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

    def at(self, index: int) -> tuple[str, Path]:
        """What to call an image, and its file."""
        path = self.folder / os.fsdecode(self.paths[index])
        return str(path), path


class ImageTable(NamedTuple):
    """Images in a column of a table on disk: the rows used, and labels (n,) of dtype int64.

    The table gives a row as a mapping; its image is undecoded, as `bytes` or the `path` of a file.
    """

    name: str
    table: Any
    column: str
    rows: Tensor
    labels: Tensor

    def take(self, rows: Tensor | slice) -> "ImageTable":
        """The images with these indices."""
        return self._replace(rows=self.rows[rows], labels=self.labels[rows])

    def at(self, index: int) -> tuple[str, Path | BytesIO]:
        """What to call an image, and its file."""
        row = int(self.rows[index])
        image = self.table[row][self.column] or {"bytes": b""}  # a missing one is no image
        name = f"{self.name}, row {row}"
        return name, Path(image["path"]) if image["bytes"] is None else BytesIO(image["bytes"])


Images = ImageFiles | ImageTable
S = TypeVar("S", Samples, ImageFiles, ImageTable)


class Published(NamedTuple, Generic[S]):
    """The published training and test samples, before any splitting or noise.

    validation: held-out samples where they are published apart.
    notes: what was assumed where the data leave a choice.
    """

    train: S
    test: S
    class_names: tuple[str, ...]
    validation: S | None = None
    notes: tuple[str, ...] = ()


_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}
TEST_FRACTION, TEST_SEED = 0.25, 0
"""Where data are not split, a quarter of each class is the test set, whatever seed a run has."""


def split_of(name: str) -> str | None:
    """The split that a folder, table or array promises by its name."""
    return next((split for split, names in _SPLITS.items() if name.lower() in names), None)


def by_split(place: object, names: Iterable[str]) -> dict[str, str]:
    """Which name is which split; two of one split are refused."""
    found: dict[str, str] = {}
    for name in names:
        if (split := split_of(name)) is not None:
            if split in found:
                raise DataError(f"{place} has both {found[split]} and {name}; keep one of them")
            found[split] = name
    return found


def publish(place: object, parts: dict[str, S], class_names: tuple[str, ...]) -> Published[S]:
    """Samples by split, or all of them under "", as those for training, testing and validation."""
    notes, validation = [], None
    if "train" in parts:
        test = parts.get("test", parts.get("validation"))
        if test is None:
            raise DataError(
                f"{place} has training samples and none for testing; expected a part named test "
                f"or {', '.join(_SPLITS['validation'])}"
            )
        train, validation = parts["train"], parts.get("validation") if "test" in parts else None
        if "test" not in parts:
            notes.append(
                f"The validation part of {place} is the test set; a training may have chosen its "
                "best epoch on it."
            )
    elif "" in parts:
        source = generator(TEST_SEED, "test set")
        rows = stratified_holdout(parts[""].labels, TEST_FRACTION, generator=source)
        train, test = (parts[""].take(part) for part in rows)
        notes.append(f"{place} is not split: a quarter of each class, by chance, is the test set.")
    else:
        raise DataError(f"{place} has the parts {', '.join(parts)}, and none for training (train)")
    if not len(test.labels) or not len(train.labels):
        raise DataError(f"{place} has too few samples: none is left for training or for testing")
    absent = [n for k, n in enumerate(class_names) if not bool((test.labels == k).any())]
    if absent:
        notes.append(f"No test example of {place} is of the classes {', '.join(absent[:5])}.")
    return Published(train, test, class_names, validation, tuple(notes))


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
