"""All repetitions of the two-moon problem as one batch of tensors, and their random draws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._random import generator
from mixreg.data.embedded import make_two_moons
from mixreg.data.shuffling import epoch_order
from mixreg.data.splits import flip_labels
from mixreg.laws import MixingLaw
from mixreg.prediction import shrink


class Points(NamedTuple):
    """Inputs (S, n, 2) and targets (S, n), zeros and ones or mixtures, of S repetitions."""

    inputs: Tensor
    targets: Tensor


class Draws(NamedTuple):
    """What is random in one epoch; each of shape (S, n).

    order: the training points in the order of the epoch.
    partner: j for each training point, uniform on all of them, j = i included.
    weight: λ for each training point, float64.
    """

    order: Tensor
    partner: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Problem:
    """S repetitions of the two-moon problem.

    Args:
        seeds: seed of each repetition.
        train: training points with the labels to learn from, some of them flipped.
        true_labels: training labels before flipping, shape (S, n).
        test: test points.
        x_mean: x̄ of the training points, shape (S, 2).
        y_mean: ȳ of the labels to learn from, shape (S,).
    """

    seeds: tuple[int, ...]
    train: Points
    true_labels: Tensor
    test: Points
    x_mean: Tensor
    y_mean: Tensor

    @property
    def size(self) -> int:
        """Number of training points n of each repetition."""
        return self.train.inputs.shape[1]

    def shrunk(self, inputs: Tensor, law: MixingLaw) -> Tensor:
        """Inputs shrunk towards the mean of their repetition: x̃ (equation 5).

        Args:
            inputs: shape (S, k, 2).
            law: law of λ.

        Returns:
            The shape of the inputs.
        """
        return _shrink(inputs, self.x_mean, law)

    def modified(self, law: MixingLaw) -> Points:
        """The modified training data (x̃, ỹ) (equation 5).

        Args:
            law: law of λ.

        Returns:
            Shrunk inputs and shrunk targets.
        """
        inputs, targets = self.train
        return Points(self.shrunk(inputs, law), _shrink(targets, self.y_mean, law))

    def mixed(self, draws: Draws) -> Points:
        """The training points mixed with their partners: λ (x_i, y_i) + (1 − λ) (x_j, y_j).

        Args:
            draws: j and λ of each training point.

        Returns:
            Mixed inputs and targets, in the order of the training points.
        """
        inputs, targets = self.train
        weight = draws.weight.to(inputs.dtype)
        j = draws.partner.unsqueeze(2).expand_as(inputs)
        return Points(
            torch.lerp(inputs.gather(1, j), inputs, weight.unsqueeze(2)),
            torch.lerp(targets.gather(1, draws.partner), targets, weight),
        )

    def repeated(self, times: int) -> "Problem":
        """The problem with every training point several times, for several draws of each.

        Args:
            times: copies of each training point.

        Returns:
            The problem; its means are the same.
        """
        inputs, targets = self.train
        return replace(
            self,
            train=Points(inputs.repeat(1, times, 1), targets.repeat(1, times)),
            true_labels=self.true_labels.repeat(1, times),
        )


def make_problem(seeds: Sequence[int], *, label_noise: float, dtype: torch.dtype) -> Problem:
    """The data sets `mixreg.data.load("two-moons", seed=k, validation_fraction=0)`, stacked.

    Args:
        seeds: seed k of each repetition.
        label_noise: part of the training labels that are flipped.
        dtype: floating-point type of inputs and targets.

    Returns:
        The problem.

    Example:
        >>> make_problem([0, 1], label_noise=0.2, dtype=torch.float32).train.inputs.shape
        torch.Size([2, 150, 2])
    """
    instances = [make_two_moons(seed) for seed in seeds]
    flipped = [
        flip_labels(instance.train.labels, 2, label_noise, generator=generator(seed, "label noise"))
        for seed, instance in zip(seeds, instances, strict=True)
    ]
    inputs = torch.stack([instance.train.inputs for instance in instances]).double()
    targets = torch.stack(flipped).double()
    test = Points(
        torch.stack([instance.test.inputs for instance in instances]).to(dtype),
        torch.stack([instance.test.labels for instance in instances]).to(dtype),
    )
    return Problem(
        seeds=tuple(seeds),
        train=Points(inputs.to(dtype), targets.to(dtype)),
        true_labels=torch.stack([instance.train.labels for instance in instances]).to(dtype),
        test=test,
        x_mean=inputs.mean(1).to(dtype),
        y_mean=targets.mean(1).to(dtype),
    )


def draw_epoch(problem: Problem, epoch: int, law: MixingLaw, *, stream: str = "mixing") -> Draws:
    """The draws of one epoch, those of each repetition from streams of its own seed.

    Args:
        problem: the repetitions.
        epoch: number of the epoch, from 0.
        law: law of λ.
        stream: name of the stream of j and λ.

    Returns:
        Order, partners and weights.
    """
    n = problem.size
    orders, partners, weights = [], [], []
    for seed in problem.seeds:
        source = generator(seed, stream, epoch)
        orders.append(epoch_order(n, seed=seed, epoch=epoch))
        partners.append(torch.randint(n, (n,), generator=source))
        weights.append(law.sample(n, generator=source))
    return Draws(torch.stack(orders), torch.stack(partners), torch.stack(weights))


def _shrink(values: Tensor, means: Tensor, law: MixingLaw) -> Tensor:
    """Values (S, n, ...) shrunk towards the means (S, ...), as n examples of one wide input."""
    return shrink(values.movedim(1, 0), means, law).movedim(0, 1).contiguous()
