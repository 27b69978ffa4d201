"""Held-out samples and label noise, both made on the official training set."""

import torch
from torch import Tensor


def stratified_holdout(
    labels: Tensor, fraction: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Split indices in two, with the same fraction of every class held out.

    Args:
        labels: class indices, shape (n,).
        fraction: part to hold out, 0 <= fraction < 1; rounded to whole samples in each class, of
            which at least one is kept.
        generator: source of randomness.

    Returns:
        Indices kept and indices held out, each in ascending order.

    Raises:
        ValueError: the fraction is out of range.

    Example:
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> kept, held = stratified_holdout(labels, 0.5, generator=torch.Generator())
        >>> labels[kept].tolist(), labels[held].tolist()
        ([0, 1], [0, 1])
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"need 0 <= validation_fraction < 1, got {fraction}")
    is_held = torch.zeros(len(labels), dtype=torch.bool)
    ends = labels.bincount().cumsum(0)[:-1]
    for members in labels.argsort(stable=True).tensor_split(ends):
        count = max(0, min(round(fraction * len(members)), len(members) - 1))
        shuffled = members[torch.randperm(len(members), generator=generator)]
        is_held[shuffled[:count]] = True
    return (~is_held).nonzero().squeeze(1), is_held.nonzero().squeeze(1)


def flip_labels(
    labels: Tensor, num_classes: int, fraction: float, *, generator: torch.Generator
) -> Tensor:
    """Replace a fraction of the labels by another class, drawn uniformly from the others.

    Args:
        labels: class indices, shape (n,).
        num_classes: number of classes, at least 2.
        fraction: part of the labels to replace, in [0, 1]; rounded to whole labels.
        generator: source of randomness.

    Returns:
        New labels.

    Raises:
        ValueError: the fraction is out of range.

    Example:
        >>> noisy = flip_labels(torch.zeros(10).long(), 2, 0.2, generator=torch.Generator())
        >>> int(noisy.sum())
        2
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"need 0 <= label_noise <= 1, got {fraction}")
    count = round(fraction * len(labels))
    chosen = torch.randperm(len(labels), generator=generator)[:count]
    shift = torch.randint(1, num_classes, (count,), generator=generator)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift) % num_classes
    return noisy
