"""A user's own data: a folder, a file, or a function that returns loaders."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixreg._errors import DataError
from mixreg._lazy import call, is_function
from mixreg.data.dataset import Batch, Dataset, Share, Split
from mixreg.data.datasets import DATASETS
from mixreg.data.image_folder import find_own_images
from mixreg.data.published import ImageFiles, ImageTable, Published, Samples, digest_of
from mixreg.data.tables import (
    ARRAYS,
    TABLES,
    is_saved,
    read_arrays,
    read_saved,
    read_tables,
    split_files,
)


class LoaderDataset(Dataset):
    """Two loaders, for training and testing, that yield pairs of inputs and class indices.

    Each is passed once to count samples and classes. The training loader decides what order and
    augmentation its samples have; a third loader in the middle is that of held-out samples.
    """

    def __init__(self, name: str, loaders: Any) -> None:
        is_pair = isinstance(loaders, tuple | list) and len(loaders) in (2, 3)
        if not is_pair or any(not isinstance(part, Iterable) for part in loaders):
            what = type(loaders).__name__
            raise DataError(f"{name} returned {what}, expected the loaders (train, test)")
        if any(isinstance(part, Iterator) for part in loaders):
            raise DataError(
                f"{name} returned an iterator, which ends after one pass; a DataLoader?"
            )
        self._loaders: dict[Split, Iterable[Any]] = {
            "train": loaders[0],
            "validation": loaders[1] if len(loaders) == 3 else (),
            "test": loaders[-1],
        }
        self.name = name
        sizes: dict[Split, int] = dict.fromkeys(self._loaders, 0)
        self._digests = {split: hashlib.sha256() for split in self._loaders}
        classes, shapes = 0, set()
        for split in self._loaders:
            for x, y in self._pairs(split):
                sizes[split] += len(y)
                self._digests[split].update(digest_of((x, y)).encode())
                shapes.add(tuple(x.shape[1:]))
                if split == "train":
                    classes = max(classes, int(y.max()) + 1)
                elif int(y.max()) >= classes:
                    raise DataError(f"{name}: no training example has the {split} label {y.max()}")
        if not sizes["train"] or not sizes["test"] or classes < 2 or len(shapes) > 1:
            raise DataError(
                f"{name} gave {sizes['train']} training and {sizes['test']} test examples of "
                f"{classes} classes and {len(shapes)} input shapes; expected examples of at least "
                "2 classes and one shape"
            )
        super().__init__(name, tuple(map(str, range(classes))), next(iter(shapes)), sizes)

    def digest(self, split: Split) -> str:
        """Digest of the bytes of a split, as they were when they were counted."""
        return self._digests[split].hexdigest()

    def _pairs(self, split: Split) -> Iterator[Batch]:
        for batch in self._loaders[split]:
            match batch:
                case [Tensor() as x, Tensor() as y] if x.is_floating_point() and x.ndim and y.ndim:
                    pass
                case _:
                    raise DataError(
                        f"{self.name}: a batch must be a pair of inputs, floating point (n, ...), "
                        f"and class indices (n,), got {type(batch).__name__}"
                    )
            if len(x) != len(y) or not len(y):
                raise DataError(
                    f"{self.name}: a batch must have one row an example and at least one, got "
                    f"inputs {tuple(x.shape)} and labels {tuple(y.shape)}"
                )
            if y.ndim != 1 or y.is_floating_point() or y.is_complex() or int(y.min()) < 0:
                raise DataError(
                    f"{self.name}: labels must be class indices of shape (n,), got {y.dtype} of "
                    f"shape {tuple(y.shape)}; mix and smooth labels elsewhere"
                )
            yield x.float(), y.long()

    def _shuffled(self, order: Tensor, batch_size: int, share: Share) -> Iterator[Batch]:
        rows = slice(share.rank, len(order) * share.world_size, share.world_size)
        return self._ordered("train", rows, batch_size)

    def _ordered(self, split: Split, rows: slice, batch_size: int) -> Iterator[Batch]:
        """Every so-many-th sample of the loader's order, in batches of another size."""
        samples = chain.from_iterable(zip(x, y, strict=True) for x, y in self._pairs(split))
        chosen = islice(samples, rows.start, rows.stop, rows.step)
        while batch := list(islice(chosen, batch_size)):
            inputs, labels = zip(*batch, strict=True)
            yield torch.stack(inputs), torch.stack(labels)


Own = Published[Samples] | Published[ImageFiles] | Published[ImageTable] | LoaderDataset


def is_own(name: str) -> bool:
    """Whether a name is no data set's and looks like a user's own data."""
    looks_so = "/" in name or is_function(name) or Path(name).suffix.lower() in (*TABLES, *ARRAYS)
    return name not in DATASETS and (looks_so or os.path.lexists(name))


def is_image_folder(name: str) -> bool:
    """Whether a name is that of a folder of class folders."""
    path = Path(name)
    is_folder = os.path.lexists(name) and path.is_dir()
    return is_folder and is_own(name) and not (is_saved(path) or split_files(path))


def read_own(name: str, label: str | None, class_order: Sequence[str] | None) -> Own:
    """The samples, by the reader for what a name says."""
    path, suffix = Path(name), Path(name).suffix.lower()
    if class_order is not None and not is_image_folder(name):
        raise DataError(f"class_order is for folders of class folders, not for {name}")
    is_folder = os.path.lexists(name) and path.is_dir()
    if is_folder and is_saved(path):
        return read_saved(path, label)
    if suffix in TABLES or (is_folder and split_files(path)):
        return read_tables(path, label)
    if label is not None:
        raise DataError(f"label (--label) names a column of a table, and {name} is none")
    if is_folder:
        return find_own_images(path, class_order)
    if suffix in ARRAYS:
        return read_arrays(path)
    if is_function(name):
        return LoaderDataset(name, call(name, error=DataError))
    raise DataError(
        f"there is no folder {name}, and it is neither a file ({', '.join(TABLES + ARRAYS)}) nor "
        "package.module:function"
    )
