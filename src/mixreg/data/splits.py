"""Which samples are trained on: held out, a share, an order, a part for each process; noise."""

import torch
from torch import Tensor

from mixreg import _random


def stratified_holdout(
    labels: Tensor, fraction: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices kept and held out, ascending; of each class this fraction is held out, never all."""
    if not 0 <= fraction < 1:
        raise ValueError(f"need 0 <= validation_fraction < 1, got {fraction}")
    is_held = torch.zeros(len(labels), dtype=torch.bool)
    ends = labels.bincount().cumsum(0)[:-1]
    for members in labels.argsort(stable=True).tensor_split(ends):
        count = max(0, min(round(fraction * len(members)), len(members) - 1))
        shuffled = members[torch.randperm(len(members), generator=generator)]
        is_held[shuffled[:count]] = True
    return (~is_held).nonzero().squeeze(1), is_held.nonzero().squeeze(1)


def stratified_share(labels: Tensor, fraction: float, *, generator: torch.Generator) -> Tensor:
    """Indices of a share of the samples, in ascending order, the same fraction of every class."""
    if not 0 < fraction <= 1:
        raise ValueError(f"need 0 < training_fraction <= 1, got {fraction}")
    return stratified_holdout(labels, 1 - fraction, generator=generator)[0]


def flip_labels(
    labels: Tensor, num_classes: int, fraction: float, *, generator: torch.Generator
) -> Tensor:
    """The labels, a fraction of them replaced by another class, drawn uniformly from the others."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"need 0 <= label_noise <= 1, got {fraction}")
    count = round(fraction * len(labels))
    chosen = torch.randperm(len(labels), generator=generator)[:count]
    shift = torch.randint(1, num_classes, (count,), generator=generator)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift) % num_classes
    return noisy


def epoch_order(size: int, *, seed: int, epoch: int) -> Tensor:
    """The permutation of the training samples in one epoch, int64 of shape (size,)."""
    return torch.randperm(size, generator=_random.generator(seed, "order", epoch))


def equal_share(rows: Tensor, *, rank: int, world_size: int) -> Tensor:
    """Every world_size-th row from `rank`, as many for each process; left-over rows are dropped."""
    return rows[rank::world_size][: len(rows) // world_size]
