"""Data sets that fit in memory: one tensor a split, whole batches at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._random import generator
from mixreg.data.augmentation import CropAndFlip, Normalisation
from mixreg.data.dataset import Batches, Dataset, Share, Split
from mixreg.data.splits import equal_share

_BLOCK = 512  # images augmented at once: enough to share the overhead, and they fit the cache


class Samples(NamedTuple):
    """Inputs (n, ...), uint8 images or float32 features, and labels (n,) of dtype int64."""

    inputs: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> "Samples":
        """The samples with these indices, shape (k,), as a copy in channels_last memory."""
        return Samples(_take(self.inputs, rows), self.labels.index_select(0, rows))


class InMemoryDataset(Dataset):
    """A data set held as tensors, augmented and normalised a batch at a time.

    Images stay uint8 until they are normalised. Their batches come in channels_last memory, which
    convolutions on a CPU prefer; use `flatten` or `reshape` on them, not `view`.

    Args:
        name: what to call it.
        splits: the samples of "train", "validation" and "test".
        class_names: one name for each class.
        normalisation: of uint8 images; None for features that are used as they are.
        augmentation: of training images; None for none.

    Raises:
        ValueError: a split is missing, or inputs and labels do not fit each other, the class
            names or the normalisation.

    Example:
        >>> moons = Samples(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
        >>> splits = {"train": moons, "validation": moons, "test": moons}
        >>> data = InMemoryDataset("three", splits, ("upper", "lower"))
        >>> [len(labels) for _, labels in data.batches("test", 2)]
        [2, 1]
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[Split, Samples],
        class_names: tuple[str, ...],
        *,
        normalisation: Normalisation | None = None,
        augmentation: CropAndFlip | None = None,
    ) -> None:
        _check_samples(splits, len(class_names), normalisation is not None)
        sizes = {split: len(samples.labels) for split, samples in splits.items()}
        super().__init__(name, class_names, tuple(splits["train"].inputs.shape[1:]), sizes)
        self._splits = {split: _channels_last(samples) for split, samples in splits.items()}
        self.normalisation = normalisation
        self._augmentation = augmentation

    def _shuffled(self, order: Tensor, batch_size: int, share: Share) -> Batches:
        augmentation, draws = self._augmentation, None
        if augmentation is not None:
            source = generator(share.seed, "augmentation", share.epoch)
            draws = augmentation.draw(self.size("train"), generator=source)
            draws = equal_share(draws, rank=share.rank, world_size=share.world_size)
        samples = self._splits["train"]
        return _Shuffled(samples, batch_size, order, draws, augmentation, self.normalisation)

    def _ordered(self, split: Split, rows: slice, batch_size: int) -> Batches:
        inputs, labels = self._splits[split]
        return _Ordered(Samples(inputs[rows], labels[rows]), batch_size, self.normalisation)


@dataclass(frozen=True, eq=False)
class _Ordered:
    """Consecutive slices of the samples."""

    samples: Samples
    batch_size: int
    normalisation: Normalisation | None

    def __len__(self) -> int:
        return -(-len(self.samples.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.samples.labels), self.batch_size):
            stop = start + self.batch_size
            inputs = self.samples.inputs[start:stop]
            normalised = inputs if self.normalisation is None else self.normalisation(inputs)
            yield normalised, self.samples.labels[start:stop]


@dataclass(frozen=True, eq=False)
class _Shuffled:
    """Samples in a given order, each augmented as drawn beforehand, several batches at once."""

    samples: Samples
    batch_size: int
    order: Tensor
    draws: Tensor | None
    augmentation: CropAndFlip | None
    normalisation: Normalisation | None

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        block = self.batch_size * max(1, _BLOCK // self.batch_size)
        for start in range(0, len(self.order), block):
            stop = start + block
            inputs, labels = self.samples.take(self.order[start:stop])
            if self.augmentation is not None and self.draws is not None:
                inputs = self.augmentation.apply(inputs, self.draws[start:stop])
            yield from _Ordered(Samples(inputs, labels), self.batch_size, self.normalisation)


def _take(inputs: Tensor, rows: Tensor) -> Tensor:
    """Copy rows; images as runs of bytes, many times faster than a gather of strided images."""
    if inputs.ndim != 4:
        return inputs.index_select(0, rows)
    n, channels, height, width = inputs.shape
    pixels = inputs.permute(0, 2, 3, 1).reshape(n, -1).index_select(0, rows)
    return pixels.view(-1, height, width, channels).permute(0, 3, 1, 2)


def _channels_last(samples: Samples) -> Samples:
    """The samples with images in channels_last memory; no copy if they are so already."""
    if samples.inputs.ndim != 4:
        return samples
    return samples._replace(inputs=samples.inputs.contiguous(memory_format=torch.channels_last))


def _check_samples(splits: Mapping[Split, Samples], num_classes: int, images: bool) -> None:
    """Refuse splits that are incomplete or inconsistent."""
    if set(splits) != {"train", "validation", "test"}:
        raise ValueError(f"need the splits train, validation and test, got {sorted(splits)}")
    dtype, ndim = (torch.uint8, "4") if images else (torch.float32, "at least 2")
    for split, (inputs, labels) in splits.items():
        if inputs.dtype != dtype or (images and inputs.ndim != 4) or inputs.ndim < 2:
            raise ValueError(
                f"{split} inputs {'with' if images else 'without'} normalisation must be {dtype} "
                f"with {ndim} dimensions, got {inputs.dtype} of shape {tuple(inputs.shape)}"
            )
        if inputs.shape[1:] != splits["train"].inputs.shape[1:]:
            raise ValueError(f"{split} inputs have another shape than the training inputs")
        if labels.dtype != torch.int64 or labels.shape != inputs.shape[:1]:
            raise ValueError(
                f"{split} labels must be int64 of shape ({len(inputs)},), "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )
        if len(labels) > 0 and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
            raise ValueError(f"{split} labels must lie in 0..{num_classes - 1}")
