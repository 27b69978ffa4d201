"""A user's own loaders, as a function of theirs returns them."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from mixreg._errors import DataError
from mixreg._lazy import call
from mixreg.data.dataset import Batch, Dataset, Share, Split


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
        sizes: dict[Split, int] = {}
        classes, shapes = 0, set()
        for split in self._loaders:
            sizes[split] = 0
            for x, y in self._pairs(split):
                sizes[split] += len(y)
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
        held: list[Batch] = []
        seen = 0
        for x, y in self._pairs(split):
            kept = (torch.arange(seen, seen + len(y)) - rows.start) % rows.step == 0
            seen += len(y)
            held.append((x[kept], y[kept]))
            while sum(len(labels) for _, labels in held) >= batch_size:
                batch = (torch.cat([x for x, _ in held]), torch.cat([y for _, y in held]))
                yield batch[0][:batch_size], batch[1][:batch_size]
                held = [(batch[0][batch_size:], batch[1][batch_size:])]
        if sum(len(labels) for _, labels in held):
            yield torch.cat([x for x, _ in held]), torch.cat([y for _, y in held])


def read_function(name: str) -> LoaderDataset:
    """The loaders that a function "package.module:function" returns."""
    return LoaderDataset(name, call(name, error=DataError))
