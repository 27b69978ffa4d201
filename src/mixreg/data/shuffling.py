"""The order of an epoch and the part of it that each process takes."""

import torch
from torch import Tensor

from mixreg._random import generator


def epoch_order(size: int, *, seed: int, epoch: int) -> Tensor:
    """The permutation of the training samples in one epoch, int64 of shape (size,)."""
    return torch.randperm(size, generator=generator(seed, "order", epoch))


def equal_share(rows: Tensor, *, rank: int, world_size: int) -> Tensor:
    """Every world_size-th row from `rank`, as many for each process; left-over rows are dropped."""
    return rows[rank::world_size][: len(rows) // world_size]
