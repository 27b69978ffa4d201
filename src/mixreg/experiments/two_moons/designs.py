"""Points at which linear models are evaluated, for SGD without a graph over the features.

f(x) = wᵀφ(x) and its derivatives in x are linear in w. An objective is therefore a function of few
responses, and a step in w is the transposed map applied to the objective's gradient in them.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from mixreg.experiments.two_moons.features import RandomFeatures


class Batch(Protocol):
    """Some points of each repetition, with k responses each."""

    def responses(self, parameters: Tensor) -> Tensor:
        """The responses of the models at these points, shape (S, b, k)."""

    def pull_back(self, slopes: Tensor) -> Tensor:
        """The gradient in w, expressed in the parameters.

        Args:
            slopes: gradient in the responses, shape (S, b, k).
        """


class Design(Protocol):
    """All points of each repetition."""

    def take(self, rows: Tensor) -> Batch:
        """Some of the points, with indices of shape (S, b)."""


@dataclass(frozen=True)
class Features:
    """Fixed points of models with the parameters w.

    Args:
        matrix: features of each response, shape (S, n, k, M).
    """

    matrix: Tensor

    def take(self, rows: Tensor) -> Self:
        """Some of the points.

        Args:
            rows: shape (S, b).

        Returns:
            The batch.
        """
        return type(self)(_take(self.matrix, rows))

    def responses(self, parameters: Tensor) -> Tensor:
        """The products with w.

        Args:
            parameters: w, shape (S, M).

        Returns:
            Shape (S, b, k).
        """
        # For products of matrices and vectors bmm is many times slower.
        return (self.matrix * parameters[:, None, None]).sum(3)

    def pull_back(self, slopes: Tensor) -> Tensor:
        """The gradient in w.

        Args:
            slopes: gradient in the responses, shape (S, b, k).

        Returns:
            Shape (S, M).
        """
        return torch.bmm(slopes.flatten(1).unsqueeze(1), self.matrix.flatten(1, 2)).squeeze(1)


@dataclass(frozen=True)
class FreshPoints:
    """Points that are seen once, whose features are computed when they are asked for.

    Args:
        features: the feature maps.
        inputs: shape (S, n, 2).
    """

    features: RandomFeatures
    inputs: Tensor

    def take(self, rows: Tensor) -> Features:
        """Some of the points.

        Args:
            rows: shape (S, b).

        Returns:
            The batch.
        """
        at = rows.unsqueeze(2).expand(-1, -1, self.inputs.shape[2])
        return Features(self.features.values(self.inputs.gather(1, at)))


@dataclass(frozen=True)
class Span:
    """Fixed points of models in the span of their features, w = Aᵀc.

    SGD from w = 0 never leaves that span, and a step changes the coefficients of its batch alone.
    The parameters are c and, beside it, the responses K c with the Gram matrix K = AAᵀ: both change
    by few rows of K, and nothing of width M is touched.

    Args:
        gram: K, shape (S, n, k, n·k).
    """

    gram: Tensor

    @classmethod
    def of(cls, features: Features) -> Self:
        """The span of some features.

        Args:
            features: A, shape (S, n, k, M).

        Returns:
            The design.
        """
        rows = features.matrix.flatten(1, 2)
        return cls(torch.bmm(rows, rows.mT).view(*features.matrix.shape[:3], -1))

    def start(self) -> Tensor:
        """The parameters of w = 0.

        Returns:
            Zeros of shape (S, 2, n·k).
        """
        repetitions, *_, width = self.gram.shape
        return self.gram.new_zeros(repetitions, 2, width)

    def take(self, rows: Tensor) -> "SpanBatch":
        """Some of the points.

        Args:
            rows: shape (S, b).

        Returns:
            The batch.
        """
        within = torch.arange(self.gram.shape[2])
        return SpanBatch(self.gram, (rows.unsqueeze(2) * len(within) + within).flatten(1))


@dataclass(frozen=True)
class SpanBatch:
    """Some points of a span.

    Args:
        gram: K, shape (S, n, k, n·k).
        entries: which rows of K, as a matrix, are theirs, shape (S, b·k).
    """

    gram: Tensor
    entries: Tensor

    def responses(self, parameters: Tensor) -> Tensor:
        """The responses at these points.

        Args:
            parameters: c and K c, shape (S, 2, n·k).

        Returns:
            Shape (S, b, k).
        """
        repetitions, _, k, _ = self.gram.shape
        return parameters[:, 1].gather(1, self.entries).view(repetitions, -1, k)

    def pull_back(self, slopes: Tensor) -> Tensor:
        """The gradient in w by its coefficients, the slopes themselves, and their responses.

        Args:
            slopes: gradient in the responses, shape (S, b, k).

        Returns:
            Shape (S, 2, n·k).
        """
        repetitions, *_, width = self.gram.shape
        values = slopes.flatten(1)
        coefficients = values.new_zeros(repetitions, width).scatter_add(1, self.entries, values)
        start = width * torch.arange(repetitions).unsqueeze(1)
        responses = functional.embedding_bag(
            start + self.entries, self.gram.flatten(0, 2), mode="sum", per_sample_weights=values
        )
        return torch.stack([coefficients, responses], 1)


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """Rows (S, b) of each of the S tensors in (S, n, ...)."""
    repetitions, n = values.shape[:2]
    start = n * torch.arange(repetitions).unsqueeze(1)
    taken = values.flatten(0, 1).index_select(0, (start + rows).flatten())
    return taken.view(*rows.shape, *values.shape[2:])
