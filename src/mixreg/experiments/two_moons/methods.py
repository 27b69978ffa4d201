"""The four methods, each as SGD runs it."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from mixreg.experiments.two_moons.designs import Features, FreshPoints, Span
from mixreg.experiments.two_moons.features import RandomFeatures
from mixreg.experiments.two_moons.objectives import (
    Blocks,
    Losses,
    Objective,
    approximate_losses,
    plain_losses,
)
from mixreg.experiments.two_moons.problem import Draws, Points, Problem, draw_epoch
from mixreg.laws import MixingLaw

Method = Literal["erm", "mixup", "approximate", "modified"]
METHODS: tuple[Method, ...] = get_args(Method)

_BLOCK = 10  # the features of a batch of 50 then take 2 MB


class Trainable(Protocol):
    """A method as SGD runs it."""

    def start(self) -> Tensor:
        """Parameters of w = 0."""

    def of_epoch(self, draws: Draws) -> Objective | Blocks:
        """The objective to descend on in one epoch."""

    def weights(self, parameters: Tensor) -> Tensor:
        """w, shape (S, M)."""


class FixedPoints:
    """A method that sees the same points in every epoch; its parameters are those of a `Span`.

    Args:
        features: the features of the points.
        losses: the loss of each point.
    """

    def __init__(self, features: Features, losses: Losses) -> None:
        self.features = features
        self.objective = Objective(features, losses, features.matrix.shape[1])
        self._span = Span.of(features)

    def start(self) -> Tensor:
        """The parameters of w = 0.

        Returns:
            Zeros of shape (S, 2, n·k).
        """
        return self._span.start()

    def of_epoch(self, draws: Draws) -> Objective:
        """The same objective in every epoch.

        Args:
            draws: not needed.

        Returns:
            The objective.
        """
        del draws
        return replace(self.objective, design=self._span)

    def weights(self, parameters: Tensor) -> Tensor:
        """The weights w = Aᵀc.

        Args:
            parameters: c and K c, shape (S, 2, n·k).

        Returns:
            Shape (S, M).
        """
        coefficients = parameters[:, 0].view(self.features.matrix.shape[:3])
        return self.features.pull_back(coefficients)


@dataclass(frozen=True)
class MixedPoints:
    """Mixup: points mixed anew in each epoch, as drawn (equation 4); its parameters are w.

    Args:
        problem: the repetitions.
        features: their feature maps.
    """

    problem: Problem
    features: RandomFeatures

    def start(self) -> Tensor:
        """The weights w = 0.

        Returns:
            Zeros of shape (S, M).
        """
        return torch.zeros_like(self.features.phases[:, 0])

    def of_epoch(self, draws: Draws) -> Blocks:
        """The mean loss of the points mixed as drawn.

        Args:
            draws: j and λ of each training point.

        Returns:
            The objective.
        """
        mixed = self.problem.mixed(draws)
        blocks = (
            slice(start, start + _BLOCK) for start in range(0, len(self.problem.seeds), _BLOCK)
        )
        parts = (
            _fresh(self.features.part(block), Points(mixed.inputs[block], mixed.targets[block]))
            for block in blocks
        )
        return Blocks(tuple(parts), _BLOCK)

    def weights(self, parameters: Tensor) -> Tensor:
        """The parameters as they are.

        Args:
            parameters: w, shape (S, M).

        Returns:
            w.
        """
        return parameters


def make_trainable(
    method: Method, problem: Problem, features: RandomFeatures, law: MixingLaw
) -> FixedPoints | MixedPoints:
    """A method on a problem.

    - erm: the empirical risk (2)
    - mixup: the Mixup risk (4)
    - approximate: the approximate Mixup risk (12) without R2, exact in θ and j
    - modified: the empirical risk of the modified data (20)

    Args:
        method: one of `METHODS`.
        problem: the repetitions.
        features: their feature maps.
        law: law of λ.

    Returns:
        The method, ready for SGD.
    """
    if method == "mixup":
        return MixedPoints(problem, features)
    if method == "erm":
        return FixedPoints(
            Features(features.values(problem.train.inputs)), plain_losses(problem.train)
        )
    modified = problem.modified(law)
    if method == "modified":
        return FixedPoints(Features(features.values(modified.inputs)), plain_losses(modified))
    losses = approximate_losses(problem, modified.targets, law)
    return FixedPoints(Features(features.jets(modified.inputs)), losses)


def fixed_mixup_risk(
    problem: Problem, features: RandomFeatures, law: MixingLaw, *, draws: int
) -> Objective:
    """The Mixup risk (4), estimated from the same draws whenever it is asked for.

    Args:
        problem: the repetitions.
        features: their feature maps.
        law: law of λ.
        draws: draws for each training point.

    Returns:
        The objective.
    """
    many = problem.repeated(draws)
    return _fresh(features, many.mixed(draw_epoch(many, 0, law, stream="mixup risk")))


def _fresh(features: RandomFeatures, points: Points) -> Objective:
    """The mean logistic loss of points whose features are not kept."""
    design = FreshPoints(features, points.inputs)
    return Objective(design, plain_losses(points), points.targets.shape[1])
