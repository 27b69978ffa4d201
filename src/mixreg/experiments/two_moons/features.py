"""Random Fourier features of all repetitions at once (appendix B.3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mixreg._random import generator


@dataclass(frozen=True)
class RandomFeatures:
    """The feature maps φ(x) = cos(Sx + B)/√M of S repetitions.

    Args:
        frequencies: Sᵀ, entries N(0, σ²), shape (S, 2, M).
        phases: B, uniform on [0, 2π], shape (S, 1, M).
    """

    frequencies: Tensor
    phases: Tensor

    def values(self, inputs: Tensor) -> Tensor:
        """The features φ(x), whose products with w are f(x).

        Args:
            inputs: shape (S, n, 2).

        Returns:
            Shape (S, n, 1, M).
        """
        return self._scaled(_cosine_in_place(self._angles(inputs))).unsqueeze(2)

    def jets(self, inputs: Tensor) -> Tensor:
        """The features φ, ∂φ/∂x₁ and ∂φ/∂x₂, whose products with w are f(x) and ∇f(x).

        Args:
            inputs: shape (S, n, 2).

        Returns:
            Shape (S, n, 3, M).
        """
        angles = self._angles(inputs)
        sines = self._scaled(torch.from_numpy(np.sin(angles.numpy()))).unsqueeze(2)
        slopes = -sines * self.frequencies.unsqueeze(1)
        return torch.cat([self._scaled(_cosine_in_place(angles)).unsqueeze(2), slopes], 2)

    def part(self, repetitions: slice) -> Self:
        """The feature maps of some of the repetitions.

        Args:
            repetitions: which ones.

        Returns:
            The feature maps.
        """
        return type(self)(self.frequencies[repetitions], self.phases[repetitions])

    def _angles(self, inputs: Tensor) -> Tensor:
        return torch.baddbmm(self.phases, inputs, self.frequencies)

    def _scaled(self, values: Tensor) -> Tensor:
        return values.div_(math.sqrt(self.phases.shape[-1]))


def draw_features(
    seeds: Sequence[int], *, num_features: int, scale: float, dtype: torch.dtype
) -> RandomFeatures:
    """Draw the feature maps, each from a stream of its own seed.

    Args:
        seeds: seed of each repetition.
        num_features: M.
        scale: σ.
        dtype: floating-point type.

    Returns:
        The feature maps.

    Example:
        >>> draw_features([0], num_features=5, scale=10.0, dtype=torch.float32).phases.shape
        torch.Size([1, 1, 5])
    """
    frequencies, phases = [], []
    for seed in seeds:
        source = generator(seed, "random features")
        normal = torch.randn(2, num_features, generator=source, dtype=torch.float64)
        unit = torch.rand(1, num_features, generator=source, dtype=torch.float64)
        frequencies.append(scale * normal)
        phases.append(2 * math.pi * unit)
    return RandomFeatures(torch.stack(frequencies).to(dtype), torch.stack(phases).to(dtype))


def _cosine_in_place(angles: Tensor) -> Tensor:
    """NumPy's cosine, in single precision more than twice as fast as PyTorch's on a CPU."""
    np.cos(angles.numpy(), out=angles.numpy())
    return angles
