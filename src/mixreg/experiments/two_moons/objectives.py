"""What SGD descends on, for all repetitions at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, autograd

from mixreg.curvature import loss_curvature
from mixreg.experiments.two_moons.designs import Design
from mixreg.experiments.two_moons.problem import Points, Problem
from mixreg.laws import MixingLaw
from mixreg.losses import logistic

Name = TypeVar("Name", bound=str)

Losses = Callable[[Tensor, Tensor], Tensor]
"""Losses (S, b) from the responses (S, b, k) at points with the indices (S, b)."""


@dataclass(frozen=True)
class Objective:
    """The mean over points of a loss of the responses there.

    Args:
        design: the points.
        losses: the loss of each point.
        size: number of points n of each repetition.
    """

    design: Design
    losses: Losses
    size: int

    def gradient(self, parameters: Tensor, rows: Tensor) -> Tensor:
        """Gradient of the mean loss of a batch, for each repetition.

        Args:
            parameters: those of the design.
            rows: the batch, shape (S, b).

        Returns:
            Of the shape of the parameters.
        """
        batch = self.design.take(rows)
        responses = batch.responses(parameters).requires_grad_()
        losses = self.losses(responses, rows)
        (slopes,) = autograd.grad(losses.mean(1).sum(), responses)
        return batch.pull_back(slopes)

    def risks(self, models: Mapping[Name, Tensor], *, chunk_size: int = 150) -> dict[Name, Tensor]:
        """The mean loss over all points, for several models.

        Args:
            models: parameters by name.
            chunk_size: points of each repetition evaluated at once.

        Returns:
            Shape (S,) by name, accumulated in float64.
        """
        repetitions = len(next(iter(models.values())))
        totals = {name: torch.zeros(repetitions, dtype=torch.float64) for name in models}
        everything = torch.arange(self.size).expand(repetitions, -1)
        for start in range(0, self.size, chunk_size):
            rows = everything[:, start : start + chunk_size]
            batch = self.design.take(rows)
            for name, parameters in models.items():
                totals[name] += self.losses(batch.responses(parameters), rows).double().sum(1)
        return {name: total / self.size for name, total in totals.items()}


@dataclass(frozen=True)
class Blocks:
    """Objectives of consecutive repetitions, one block after the other.

    Features that are computed for one batch and then forgotten had better fit in the cache.

    Args:
        objectives: one for each block.
        size: repetitions in a block, the last of which may have fewer.
    """

    objectives: tuple[Objective, ...]
    size: int

    def gradient(self, parameters: Tensor, rows: Tensor) -> Tensor:
        """Gradient of the mean loss of a batch, for each repetition.

        Args:
            parameters: those of all repetitions.
            rows: the batch, shape (S, b).

        Returns:
            Of the shape of the parameters.
        """
        parts = []
        for k, objective in enumerate(self.objectives):
            block = slice(k * self.size, (k + 1) * self.size)
            parts.append(objective.gradient(parameters[block], rows[block]))
        return torch.cat(parts)


def plain_losses(points: Points) -> Losses:
    """The logistic loss of f at some points.

    Args:
        points: inputs and targets.

    Returns:
        The losses, from f alone.
    """

    def losses(responses: Tensor, rows: Tensor) -> Tensor:
        return _logistic(points.targets.gather(1, rows), responses[..., 0])

    return losses


def approximate_losses(problem: Problem, targets: Tensor, law: MixingLaw) -> Losses:
    """ℓ(ỹ_i, f(x̃_i)) + σ² Q_i(d_i, e_i) + γ² mean_j Q_i(d_j, e_j), without f̈ (equation 12).

    Args:
        problem: the repetitions.
        targets: ỹ, shape (S, n).
        law: law of λ.

    Returns:
        The losses, from f and ∇f at the modified inputs.

    Source: Carratino et al., Theorem 2 and Corollary 2.
    """
    inputs, labels = problem.train
    d, e = inputs - problem.x_mean.unsqueeze(1), labels - problem.y_mean.unsqueeze(1)
    centred = torch.cat([d, e.unsqueeze(2)], 2)
    # Q is quadratic in the direction, so its mean over j is its sum over the rows of any matrix R
    # with RᵀR = Σ, the joint covariance of (d, e): here the triangular factor of the centred data.
    shared = torch.linalg.qr(centred / problem.size**0.5).R.unsqueeze(1)
    own = law.theta_variance**0.5 * centred.unsqueeze(2)
    others = law.gamma_squared**0.5 * shared.expand(-1, problem.size, -1, -1)
    directions = torch.cat([own, others], 2)

    def losses(responses: Tensor, rows: Tensor) -> Tensor:
        u, jacobian = responses[..., 0], responses[..., 1:]
        at = rows[..., None, None].expand(-1, -1, *directions.shape[2:])
        v = directions.gather(1, at)
        first = (v[..., :2] * jacobian.unsqueeze(2)).sum(3)
        y = targets.gather(1, rows)
        q = loss_curvature(
            "logistic",
            y.unsqueeze(2).expand_as(first).flatten(),
            u.unsqueeze(2).expand_as(first).flatten(),
            v[..., 2].flatten(),
            first.flatten(),
        )
        return _logistic(y, u) + q.total.view_as(first).sum(2)

    return losses


def _logistic(targets: Tensor, outputs: Tensor) -> Tensor:
    """The logistic loss of each element."""
    return logistic(targets.flatten(), outputs.flatten()).view_as(outputs)
