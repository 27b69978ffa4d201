"""One thin SVD of centred data, d_i = V S w_i, that serves every covariance of Lemma 1."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Whitening:
    """Centred data d_i = V S w_i with (1/n) Σ_i w_i w_iᵀ = I, so that their covariance is V S² Vᵀ.

    Args:
        basis: V, orthonormal columns, shape (d, r).
        scale: S, the square roots of the nonzero eigenvalues of the covariance, shape (r,).
        scores: the whitened data w_i, shape (n, r).
    """

    basis: Tensor
    scale: Tensor
    scores: Tensor

    @classmethod
    def from_data(cls, values: Tensor, *, rank_cutoff: float | None = None) -> "Whitening":
        """Factor data in float64.

        Args:
            values: data, shape (n, ...); everything but the first dimension is one vector.
            rank_cutoff: singular values of the centred data at most this fraction of the largest
                count as zero; by default eps·max(n, d) with the eps of float64.

        Returns:
            The factors; of rank 0 for data that are all equal.

        Raises:
            ValueError: fewer than two samples, or values that are not finite.

        Example:
            >>> Whitening.from_data(torch.tensor([[1.0, 1.0], [3.0, 3.0]])).scale
            tensor([1.4142], dtype=torch.float64)
        """
        n = len(values)
        flat = values.detach().double().reshape(n, -1)
        if n < 2:
            raise ValueError(f"a covariance needs at least 2 samples, got {n}")
        finite = torch.isfinite(flat).all(1)
        if not finite.all():
            row = int(finite.logical_not().nonzero()[0])
            raise ValueError(f"data must be finite, got NaN or infinity in sample {row}")
        if rank_cutoff is None:
            rank_cutoff = torch.finfo(torch.float64).eps * max(flat.shape)
        centred = flat - flat.mean(0)
        # Each entry now has a small relative error, but their mean may not; the second pass keeps
        # it from posing as a direction of the data.
        centred -= centred.mean(0)
        left, singular, right = torch.linalg.svd(centred, full_matrices=False)
        rank = int((singular > rank_cutoff * singular[:1]).sum())
        return cls(right[:rank].T.contiguous(), singular[:rank] / n**0.5, left[:, :rank] * n**0.5)

    @property
    def rank(self) -> int:
        """Numerical rank r of the covariance."""
        return len(self.scale)

    def coordinates(self, vectors: Tensor) -> Tensor:
        """S Vᵀ v, whose inner product with w_i is vᵀ d_i.

        Args:
            vectors: v, shape (..., d).

        Returns:
            Shape (..., r).
        """
        return (vectors @ self.basis) * self.scale

    def vectors(self, coordinates: Tensor) -> Tensor:
        """V S z, which for z = w_i is d_i.

        Args:
            coordinates: z, shape (..., r).

        Returns:
            Shape (..., d).
        """
        return (coordinates * self.scale) @ self.basis.T

    def dual_coordinates(self, vectors: Tensor) -> Tensor:
        """S⁻¹ Vᵀ v, the inverse of `vectors` on the range of the covariance.

        Args:
            vectors: v, shape (..., d).

        Returns:
            Shape (..., r).
        """
        return (vectors @ self.basis) / self.scale

    def dual_vectors(self, coordinates: Tensor) -> Tensor:
        """V S⁻¹ z, the transpose of `dual_coordinates`.

        Args:
            coordinates: z, shape (..., r).

        Returns:
            Shape (..., d).
        """
        return (coordinates / self.scale) @ self.basis.T
