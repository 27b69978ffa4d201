"""The order of an epoch and the part of it that each process takes."""

import torch
from torch import Tensor

from mixreg._random import generator


def epoch_order(size: int, *, seed: int, epoch: int) -> Tensor:
    """The permutation of the training samples in one epoch.

    Args:
        size: number of samples.
        seed: seed of the run.
        epoch: number of the epoch, from 0.

    Returns:
        Indices, int64, shape (size,).

    Example:
        >>> sorted(epoch_order(4, seed=0, epoch=0).tolist())
        [0, 1, 2, 3]
    """
    return torch.randperm(size, generator=generator(seed, "order", epoch))


def equal_share(rows: Tensor, *, rank: int, world_size: int) -> Tensor:
    """Every world_size-th row from `rank`, as many for each process; left-over rows are dropped.

    Args:
        rows: what the processes share, shape (n, ...).
        rank: which process.
        world_size: number of processes.

    Returns:
        A view of shape (n // world_size, ...).

    Example:
        >>> equal_share(torch.arange(7), rank=1, world_size=3)
        tensor([1, 4])
    """
    return rows[rank::world_size][: len(rows) // world_size]
