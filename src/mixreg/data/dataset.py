"""What every data set offers, whatever holds it."""

from collections.abc import Iterator
from typing import Literal, Protocol, get_args

from torch import Tensor

from mixreg._errors import check_name
from mixreg.data.augmentation import Normalisation

Split = Literal["train", "validation", "test"]


class Batches(Protocol):
    """A sized iterable of (inputs, labels); every pass over it gives the same batches."""

    def __len__(self) -> int:
        """Number of batches."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs, float32 of shape (n, *input_shape), and labels, int64 of shape (n,)."""


class Dataset(Protocol):
    """A classification data set in three splits, in the model's own input space.

    Attributes:
        name: the name it was loaded by.
        class_names: one name for each class, in the order of the labels.
        input_shape: shape of one input of the model.
        normalisation: of images, None for features.
    """

    normalisation: Normalisation | None = None

    @property
    def name(self) -> str:
        """The name it was loaded by."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name for each class, in the order of the labels."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of the model."""

    def size(self, split: Split) -> int:
        """Number of samples of a split.

        Args:
            split: "train", "validation" or "test".
        """

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
        """

    def batches(
        self, split: Split, batch_size: int, *, rank: int = 0, world_size: int = 1
    ) -> Batches:
        """A split in order, without augmentation; every sample exactly once over the processes.

        Args:
            split: "train", "validation" or "test".
            batch_size: samples in a batch of one process.
            rank: which of the processes asks; it takes every world_size-th sample.
            world_size: number of processes.
        """


def check_split(split: str) -> None:
    """Refuse an unknown split.

    Args:
        split: its name.

    Raises:
        ValueError: there is no such split.
    """
    check_name("split", split, get_args(Split))


def check_share(size: int, batch_size: int, rank: int, world_size: int) -> None:
    """Refuse batch sizes and shares of processes that make no sense.

    Args:
        size: number of samples that must be there for every process to have one.
        batch_size: samples in a batch.
        rank: which process.
        world_size: number of processes.

    Raises:
        ValueError: one of them is out of range.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"need 0 <= rank < world_size, got rank={rank}, world_size={world_size}")
    if size < world_size:
        raise ValueError(f"{size} samples cannot be shared by {world_size} processes")
