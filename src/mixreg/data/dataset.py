"""What every data set offers, whatever holds it; and one that is held in memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mixreg._errors import check_name
from mixreg._random import generator
from mixreg.data.augmentation import CropAndFlip, Normalisation
from mixreg.data.published import Samples, digest_of

Split = Literal["train", "validation", "test"]
Batch = tuple[Tensor, Tensor]

_BLOCK = 512  # images augmented at once: enough to share the overhead, and they fit the cache


@dataclass(frozen=True, eq=False)
class Batches:
    """Inputs, float32 (n, *input_shape), and labels, int64 (n,): the same in every pass.

    Args:
        size: number of samples in all batches.
        batch_size: number of samples in each but the last.
        begin: begins a pass.
    """

    size: int
    batch_size: int
    begin: Callable[[], Iterator[Batch]]

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.begin()


class Share(NamedTuple):
    """Which of the processes asks, and in which epoch of which run."""

    seed: int
    epoch: int
    rank: int
    world_size: int


class Dataset(ABC):
    """A classification data set in three splits, in the model's own input space.

    Attributes:
        name: the name it was loaded by.
        class_names: one name for each class, in the order of the labels.
        num_classes: number of classes.
        input_shape: shape of one input of the model.
        normalisation: of images, None for features.
        notes: what was assumed where the data leave a choice.
    """

    normalisation: Normalisation | None = None

    def __init__(
        self,
        name: str,
        class_names: tuple[str, ...],
        input_shape: tuple[int, ...],
        sizes: Mapping[Split, int],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.name, self.class_names, self.input_shape = name, class_names, input_shape
        self.notes = notes
        self.num_classes = len(class_names)
        self._sizes = dict(sizes)

    def size(self, split: Split) -> int:
        """Number of samples of a split, 0 for an empty one; a ValueError if it is unknown."""
        check_name("split", split, get_args(Split))
        return self._sizes[split]

    def train_batches(
        self, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world_size: int = 1
    ) -> Batches:
        """The training split, shuffled and augmented.

        One permutation and one set of augmentation draws belong to (seed, epoch). The processes
        take disjoint strided parts of both, of equal lengths: up to world_size − 1 samples at the
        end of the permutation are left out of an epoch. The last batch may be smaller.

        Args:
            batch_size: samples in a batch of one process.
            seed: seed of the run.
            epoch: number of the epoch, from 0.
            rank: which of the processes asks.
            world_size: number of processes.

        Returns:
            The batches of this epoch and process.

        Raises:
            ValueError: an argument is out of range, or there are more processes than samples.
        """
        size = self.size("train")
        _check_share(size, batch_size, rank, world_size)
        order = equal_share(
            epoch_order(size, seed=seed, epoch=epoch), rank=rank, world_size=world_size
        )
        share = Share(seed, epoch, rank, world_size)
        return Batches(len(order), batch_size, lambda: self._shuffled(order, batch_size, share))

    def batches(
        self, split: Split, batch_size: int, *, rank: int = 0, world_size: int = 1
    ) -> Batches:
        """A split in order, without augmentation; every sample exactly once over the processes.

        Args:
            split: "train", "validation" or "test".
            batch_size: samples in a batch of one process.
            rank: which of the processes asks; it takes every world_size-th sample.
            world_size: number of processes.

        Returns:
            The batches of this process; none for an empty split.

        Raises:
            ValueError: unknown split, or an argument is out of range.
        """
        size = self.size(split)
        _check_share(max(size, world_size), batch_size, rank, world_size)
        count, rows = len(range(rank, size, world_size)), slice(rank, size, world_size)
        return Batches(count, batch_size, lambda: self._ordered(split, rows, batch_size))

    @abstractmethod
    def digest(self, split: Split) -> str:
        """Digest of the samples of a split: of their bytes, or of their files' names and times."""

    @abstractmethod
    def _shuffled(self, order: Tensor, batch_size: int, share: Share) -> Iterator[Batch]:
        """The training samples of a share in this order, each augmented."""

    @abstractmethod
    def _ordered(self, split: Split, rows: slice, batch_size: int) -> Iterator[Batch]:
        """These rows of a split as they are."""


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
        notes: what was assumed where the data leave a choice.

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
        notes: tuple[str, ...] = (),
    ) -> None:
        _check_samples(splits, len(class_names), normalisation is not None)
        sizes = {split: len(samples.labels) for split, samples in splits.items()}
        super().__init__(name, class_names, tuple(splits["train"].inputs.shape[1:]), sizes, notes)
        self.normalisation = normalisation
        self._augmentation = augmentation
        is_image = len(self.input_shape) == 3
        layout = torch.channels_last if is_image else torch.contiguous_format
        self._splits = {
            split: Samples(inputs.contiguous(memory_format=layout), labels)
            for split, (inputs, labels) in splits.items()
        }

    def samples(self, split: Split) -> Samples:
        """The samples of a split as they were read: uint8 images, or features.

        Args:
            split: "train", "validation" or "test".

        Returns:
            Inputs and labels.

        Raises:
            ValueError: unknown split.
        """
        check_name("split", split, self._splits)
        return self._splits[split]

    def digest(self, split: Split) -> str:
        """Digest of the bytes of a split."""
        return digest_of(self._splits[split])

    def _shuffled(self, order: Tensor, batch_size: int, share: Share) -> Iterator[Batch]:
        if self._augmentation is not None:
            source = generator(share.seed, "augmentation", share.epoch)
            draws = self._augmentation.draw(self.size("train"), generator=source)
            draws = equal_share(draws, rank=share.rank, world_size=share.world_size)
        block = batch_size * max(1, _BLOCK // batch_size)
        for start in range(0, len(order), block):
            inputs, labels = self._splits["train"].take(order[start : start + block])
            if self._augmentation is not None:
                inputs = self._augmentation.apply(inputs, draws[start : start + block])
            yield from self._normalised(inputs, labels, batch_size)

    def _ordered(self, split: Split, rows: slice, batch_size: int) -> Iterator[Batch]:
        inputs, labels = self._splits[split]
        return self._normalised(inputs[rows], labels[rows], batch_size)

    def _normalised(self, inputs: Tensor, labels: Tensor, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(labels), batch_size):
            rows = slice(start, start + batch_size)
            batch = inputs[rows] if self.normalisation is None else self.normalisation(inputs[rows])
            yield batch, labels[rows]


def _check_share(size: int, batch_size: int, rank: int, world_size: int) -> None:
    """Refuse batch sizes and shares of processes that make no sense."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"need 0 <= rank < world_size, got rank={rank}, world_size={world_size}")
    if size < world_size:
        raise ValueError(f"{size} samples cannot be shared by {world_size} processes")


def epoch_order(size: int, *, seed: int, epoch: int) -> Tensor:
    """The permutation of the training samples in one epoch, int64 of shape (size,)."""
    return torch.randperm(size, generator=generator(seed, "order", epoch))


def equal_share(rows: Tensor, *, rank: int, world_size: int) -> Tensor:
    """Every world_size-th row from `rank`, as many for each process; left-over rows are dropped."""
    return rows[rank::world_size][: len(rows) // world_size]


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
