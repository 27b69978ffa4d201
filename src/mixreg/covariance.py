"""The covariances of the perturbations as operators (Lemma 1).

For sample i the second moments of δ and ε are rank-one updates of shared matrices,

    Σ_xx(i) = σ² d_i d_iᵀ + γ² Σ_xx,   Σ_xy(i) = σ² d_i e_iᵀ + γ² Σ_xy,   Σ_yy(i) likewise.

With whitened scores, d_i = V S w_i and e_i = V' S' w'_i, and C = (1/n) Σ_j w_j w'_jᵀ, each is a
core between the factors, Σ_xy(i) = V S (γ² C + σ² w_i w'_iᵀ) S' V'ᵀ. For Σ_xx(i) the core is
γ² I + σ² w_i w_iᵀ, and its inverse has the Sherman-Morrison form: d_i lies in the range of Σ_xx.
So one factorisation serves all i, and no d × d matrix is stored unless asked for.

Methods take one sample i with vectors (..., d), or an index tensor (k,) with vectors (k, ..., d).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mixreg.laws import MixingLaw
from mixreg.whitening import Whitening

Samples = int | Tensor


@dataclass(frozen=True)
class PerturbationCovariance:
    """Σ_ab(i) = σ² a_i b_iᵀ + γ² Σ_ab for all samples i (equation 8).

    Args:
        left: the data a, of dimension d_a and rank r_a.
        right: the data b; the same object as `left` for Σ_xx(i) and Σ_yy(i).
        theta_variance: σ².
        gamma_squared: γ².

    Source: Carratino et al., Lemma 1.
    """

    left: Whitening
    right: Whitening
    theta_variance: float
    gamma_squared: float

    @property
    def symmetric(self) -> bool:
        """Whether this is Σ_xx(i) or Σ_yy(i)."""
        return self.left is self.right

    @property
    def transposed(self) -> "PerturbationCovariance":
        """Σ_ba(i) = Σ_ab(i)ᵀ."""
        moments = self.theta_variance, self.gamma_squared
        return PerturbationCovariance(self.right, self.left, *moments)

    def product(self, i: Samples, vectors: Tensor) -> Tensor:
        """Σ_ab(i) v.

        Args:
            i: samples.
            vectors: v, shape (..., d_b).

        Returns:
            Shape (..., d_a).
        """
        return self.left.vectors(self.core_product(i, self.right.coordinates(vectors)))

    def bilinear_form(self, i: Samples, left: Tensor, right: Tensor) -> Tensor:
        """uᵀ Σ_ab(i) v.

        Args:
            i: samples.
            left: u, shape (..., d_a).
            right: v, shape (..., d_b).

        Returns:
            Shape (...).
        """
        core = self.core_product(i, self.right.coordinates(right))
        return (self.left.coordinates(left) * core).sum(-1)

    def quadratic_form(self, i: Samples, vectors: Tensor) -> Tensor:
        """vᵀ Σ_aa(i) v.

        Args:
            i: samples.
            vectors: v, shape (..., d_a).

        Returns:
            Shape (...).
        """
        return self.bilinear_form(i, vectors, vectors)

    def inner_product(self, i: Samples, matrix: Tensor) -> Tensor:
        """⟨Σ_ab(i), A⟩ = Trace(Σ_ab(i)ᵀ A).

        Args:
            i: samples.
            matrix: A, shape (..., d_a, d_b).

        Returns:
            Shape (...).
        """
        core = self.core_product(i, self.right.coordinates(matrix))
        return (self.left.basis * self.left.scale * core).sum((-2, -1))

    def pinv_product(
        self, i: Samples, vectors: Tensor, *, rank_cutoff: float | None = None
    ) -> Tensor:
        """Σ_ab(i)⁺ v with the Moore-Penrose inverse.

        For Σ_xx(i) and Σ_yy(i) by Sherman and Morrison in the range of the data, whose rank was cut
        at the factorisation; for Σ_xy(i) by an SVD of its r_a × r_b core for each sample.

        Args:
            i: samples.
            vectors: v, shape (..., d_a).
            rank_cutoff: for Σ_xy(i), singular values at most this fraction of the largest count as
                zero; by default eps·max(r_a, r_b).

        Returns:
            Shape (..., d_b).
        """
        if self.gamma_squared == 0:
            return vectors.new_zeros(*vectors.shape[:-1], len(self.right.basis))
        if self.symmetric:
            inverse = self.core_inverse_product(i, self.left.dual_coordinates(vectors))
            return self.left.dual_vectors(inverse)
        core = self.left.scale[:, None] * self._core(i) * self.right.scale
        pinv = torch.linalg.pinv(core, rtol=rank_cutoff)
        z = vectors @ self.left.basis
        return (_align(pinv, z.unsqueeze(-1), 2) @ z.unsqueeze(-1)).squeeze(-1) @ self.right.basis.T

    def dense(self, i: Samples) -> Tensor:
        """The matrix itself, for small dimensions.

        Args:
            i: samples.

        Returns:
            Shape (d_a, d_b), or (k, d_a, d_b) for k samples.
        """
        half = self.right.vectors(self._core(i))
        return self.left.vectors(half.transpose(-2, -1)).transpose(-2, -1)

    def core_product(self, i: Samples, coordinates: Tensor) -> Tensor:
        """The core applied in coordinates: (γ² C + σ² w_i w'_iᵀ) z.

        Args:
            i: samples.
            coordinates: z, shape (..., r_b).

        Returns:
            Shape (..., r_a).
        """
        shared = coordinates if self.symmetric else coordinates @ self.cross_scores.T
        own = (_align(self.right.scores[i], coordinates) * coordinates).sum(-1, keepdim=True)
        update = own * _align(self.left.scores[i], coordinates)
        return self.gamma_squared * shared + self.theta_variance * update

    def core_inverse_product(self, i: Samples, coordinates: Tensor) -> Tensor:
        """The inverse of the core γ² I + σ² w_i w_iᵀ of Σ_aa(i), applied to z.

        Args:
            i: samples.
            coordinates: z, shape (..., r_a).

        Returns:
            Shape (..., r_a).

        Raises:
            ValueError: this is Σ_ab(i) of two different data, or γ² = 0.
        """
        if not self.symmetric or self.gamma_squared == 0:
            raise ValueError("only Σ_xx(i) and Σ_yy(i) of a law with θ̄ < 1 have an inverse core")
        w = _align(self.left.scores[i], coordinates)
        update = (w * coordinates).sum(-1, keepdim=True) * w
        return (coordinates - _align(self.update_weight(i), coordinates) * update) / (
            self.gamma_squared
        )

    def update_weight(self, i: Samples) -> Tensor:
        """κ_i = σ² / (γ² + σ²‖w_i‖²), the weight of the Sherman-Morrison update.

        Args:
            i: samples.

        Returns:
            Shape (1,) or (k, 1); zero for a law that never mixes.
        """
        squared_norm = self.left.scores[i].square().sum(-1, keepdim=True)
        if self.gamma_squared == 0:
            return torch.zeros_like(squared_norm)
        ratio = self.theta_variance / self.gamma_squared
        return ratio / (1 + ratio * squared_norm)

    @cached_property
    def cross_scores(self) -> Tensor:
        """C = (1/n) Σ_j w_j w'_jᵀ, shape (r_a, r_b)."""
        return self.left.scores.T @ self.right.scores / len(self.left.scores)

    def _core(self, i: Samples) -> Tensor:
        update = self.left.scores[i].unsqueeze(-1) * self.right.scores[i].unsqueeze(-2)
        return self.gamma_squared * self.cross_scores + self.theta_variance * update


@dataclass(frozen=True)
class PerturbationCovariances:
    """Σ_xx(i), Σ_xy(i) and Σ_yy(i) of one data set and one law, and what they explain of labels.

    With B = Σ_yx Σ_xx⁺ the least-squares regression of labels on inputs, its residuals
    r_i = e_i − B d_i and κ_i = σ² / (γ² + σ² d_iᵀ Σ_xx⁺ d_i), the rank-one updates give

        Σ_yx(i) Σ_xx(i)⁺ = B + κ_i r_i (Σ_xx⁺ d_i)ᵀ,
        Σ_yx(i) Σ_xx(i)⁺ Σ_xy(i) = γ² B Σ_xx Bᵀ + σ² e_i e_iᵀ − γ² κ_i r_i r_iᵀ:

    the regression with a greater weight on sample i, as the paper says of J(i) in section 5.

    Args:
        xx: Σ_xx(i).
        xy: Σ_xy(i).
        yy: Σ_yy(i).
    """

    xx: PerturbationCovariance
    xy: PerturbationCovariance
    yy: PerturbationCovariance

    def regression(self, i: Samples) -> Tensor:
        """Σ_yx(i) Σ_xx(i)⁺, the slope of the perturbed labels on the perturbed inputs.

        Args:
            i: samples.

        Returns:
            Shape (m, d) or (k, m, d).
        """
        x, y = self.xx.left, self.yy.left
        if self.xx.gamma_squared == 0:
            return x.basis.new_zeros(*self.residuals(i).shape, len(x.basis))
        shared = x.dual_vectors(y.vectors(self.xy.cross_scores).T)
        update = self.xx.update_weight(i) * self.residuals(i)
        return shared + update.unsqueeze(-1) * x.dual_vectors(x.scores[i]).unsqueeze(-2)

    def explained(self, i: Samples) -> Tensor:
        """Σ_yx(i) Σ_xx(i)⁺ Σ_xy(i), the label covariance that the perturbed inputs explain.

        Args:
            i: samples.

        Returns:
            Shape (m, m) or (k, m, m).
        """
        y, sigma_squared, gamma_squared = (
            self.yy.left,
            self.xx.theta_variance,
            self.xx.gamma_squared,
        )
        fitted = y.vectors(self.xy.cross_scores)
        own, residual = y.vectors(y.scores[i]), self.residuals(i)
        weighted = self.xx.update_weight(i) * residual
        return (
            gamma_squared * fitted.T @ fitted
            + sigma_squared * _outer(own, own)
            - gamma_squared * _outer(weighted, residual)
        )

    def residuals(self, i: Samples) -> Tensor:
        """r_i = e_i − B d_i, the residuals of least squares with intercept.

        Args:
            i: samples.

        Returns:
            Shape (m,) or (k, m).
        """
        x, y = self.xx.left, self.yy.left
        return y.vectors(y.scores[i] - x.scores[i] @ self.xy.cross_scores)


def perturbation_covariances(
    x: Tensor,
    y: Tensor,
    law: MixingLaw,
    *,
    rank_cutoff: float | None = None,
    whitening: Whitening | None = None,
) -> PerturbationCovariances:
    """Factor a data set once for the covariances of all its perturbations (Lemma 1).

    Args:
        x: inputs, shape (n, ...); taken as vectors of length d.
        y: targets, floating point, shape (n, ...); taken as vectors of length m.
        law: law of λ, which gives σ² and γ².
        rank_cutoff: singular values of the centred data at most this fraction of the largest count
            as zero; by default eps·max(n, d) with the eps of float64.
        whitening: `Whitening.from_data(x)` if it is already there; it serves any labels and law.

    Returns:
        The three operators; float64, memory O(n·r + d·r) for rank r ≤ min(n − 1, d).

    Raises:
        TypeError: integer targets, whose covariance would be that of class numbers.
        ValueError: unequal numbers of rows, or a whitening of other data.

    Source: Carratino et al., Lemma 1.

    Example:
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> perturbation_covariances(x, torch.eye(2), Beta(1.0)).xx.dense(0)  # 1/48 + 1/12
        tensor([[0.1042]], dtype=torch.float64)
    """
    if not y.is_floating_point():
        raise TypeError(
            f"targets must be floating point, got {y.dtype}; turn class indices into one-hot "
            "vectors with mixreg.dense_targets(y, num_classes, dtype=...)"
        )
    if len(x) != len(y):
        raise ValueError(f"need one target for each input, got {len(y)} for {len(x)}")
    inputs = whitening or Whitening.from_data(x, rank_cutoff=rank_cutoff)
    if (len(inputs.scores), len(inputs.basis)) != (len(x), x[0].numel()):
        raise ValueError(
            f"the whitening is of {len(inputs.scores)} vectors of length {len(inputs.basis)}, "
            f"the inputs have shape {tuple(x.shape)}"
        )
    targets = Whitening.from_data(y, rank_cutoff=rank_cutoff)
    moments = law.theta_variance, law.gamma_squared
    return PerturbationCovariances(
        PerturbationCovariance(inputs, inputs, *moments),
        PerturbationCovariance(inputs, targets, *moments),
        PerturbationCovariance(targets, targets, *moments),
    )


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return left.unsqueeze(-1) * right.unsqueeze(-2)


def _align(rows: Tensor, like: Tensor, trailing: int = 1) -> Tensor:
    """Rows of samples with dimensions of size one put in the middle, to broadcast on `like`."""
    batch = rows.ndim - trailing
    middle = [1] * (like.ndim - rows.ndim)
    return rows.reshape(*rows.shape[:batch], *middle, *rows.shape[batch:])
