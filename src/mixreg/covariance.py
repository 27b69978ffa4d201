"""The covariances of the perturbations as operators (Lemma 1).

For sample i the second moments of δ and ε are rank-one updates of shared matrices,

    Σ_xx(i) = σ² d_i d_iᵀ + γ² Σ_xx,   Σ_xy(i) = σ² d_i e_iᵀ + γ² Σ_xy,   Σ_yy(i) likewise.

With whitened scores, d_i = V S w_i and e_i = V' S' w'_i, and C = (1/n) Σ_j w_j w'_jᵀ, each is a
core between the factors, Σ_xy(i) = V S (γ² C + σ² w_i w'_iᵀ) S' V'ᵀ. For Σ_xx(i) the core is
γ² I + σ² w_i w_iᵀ, whose inverse has the Sherman-Morrison form: d_i lies in the range of Σ_xx.
So one factorisation serves all i, and no d × d matrix is stored unless asked for.

Methods take one sample i with vectors (..., d), or an index tensor (k,) with vectors (k, ..., d).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mixreg._checks import check_floating, check_tensor, first_not_finite
from mixreg.laws import MixingLaw

Samples = int | Tensor


@dataclass(frozen=True)
class Whitening:
    """Centred data d_i = V S w_i with (1/n) Σ_i w_i w_iᵀ = I, so that their covariance is V S² Vᵀ.

    basis: V, orthonormal columns (d, r). scale: S, the roots of the nonzero eigenvalues of the
    covariance (r,). scores: the whitened data w_i (n, r).
    """

    basis: Tensor
    scale: Tensor
    scores: Tensor

    @classmethod
    def from_data(cls, values: Tensor, *, rank_cutoff: float | None = None) -> "Whitening":
        """Factor data (n, ...); singular values up to this share of the largest are 0."""
        check_tensor(values, "data", "values")
        n = len(values)
        flat = values.detach().double().reshape(n, -1)
        if n < 2:
            raise ValueError(f"a covariance needs at least 2 samples, got {n}")
        row = first_not_finite(flat)
        if row is not None:
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
        """S Vᵀ v (..., r) of vectors v (..., d): its inner product with w_i is vᵀ d_i."""
        return (vectors @ self.basis) * self.scale

    def vectors(self, coordinates: Tensor) -> Tensor:
        """V S z (..., d) of coordinates z (..., r): for z = w_i it is d_i."""
        return (coordinates * self.scale) @ self.basis.T

    def dual_vectors(self, coordinates: Tensor) -> Tensor:
        """V S⁻¹ z (..., d), whose inner product with d_i is that of z and w_i."""
        return (coordinates / self.scale) @ self.basis.T


@dataclass(frozen=True)
class PerturbationCovariance:
    """Σ_ab(i) = σ² a_i b_iᵀ + γ² Σ_ab for all samples i (equation 8).

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
        """Σ_ab(i) v (..., d_a) of vectors v (..., d_b)."""
        return self.left.vectors(self.core_product(i, self.right.coordinates(vectors)))

    def inner_product(self, i: Samples, matrix: Tensor) -> Tensor:
        """⟨Σ_ab(i), A⟩ = Trace(Σ_ab(i)ᵀ A) (...) of matrices A (..., d_a, d_b)."""
        core = self.core_product(i, self.right.coordinates(matrix))
        return (self.left.basis * self.left.scale * core).sum((-2, -1))

    def dense(self, i: Samples) -> Tensor:
        """The matrix itself, (d_a, d_b) or (k, d_a, d_b), for small dimensions."""
        half = self.right.vectors(self._core(i))
        return self.left.vectors(half.transpose(-2, -1)).transpose(-2, -1)

    def core_product(self, i: Samples, coordinates: Tensor) -> Tensor:
        """The core applied in coordinates: (γ² C + σ² w_i w'_iᵀ) z."""
        shared = coordinates if self.symmetric else coordinates @ self.cross_scores.T
        own = (_align(self.right.scores[i], coordinates) * coordinates).sum(-1, keepdim=True)
        update = own * _align(self.left.scores[i], coordinates)
        return self.gamma_squared * shared + self.theta_variance * update

    def update_weight(self, i: Samples) -> Tensor:
        """κ_i = σ² / (γ² + σ²‖w_i‖²), the weight of the Sherman-Morrison update."""
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
        """Σ_yx(i) Σ_xx(i)⁺ (m, d) or (k, m, d), the slope of the labels on the inputs."""
        x, y = self.xx.left, self.yy.left
        if self.xx.gamma_squared == 0:
            return x.basis.new_zeros(*self.residuals(i).shape, len(x.basis))
        shared = x.dual_vectors(y.vectors(self.xy.cross_scores).T)
        update = self.xx.update_weight(i) * self.residuals(i)
        return shared + update.unsqueeze(-1) * x.dual_vectors(x.scores[i]).unsqueeze(-2)

    def explained(self, i: Samples) -> Tensor:
        """Σ_yx(i) Σ_xx(i)⁺ Σ_xy(i) (m, m) or (k, m, m), what the inputs explain of the labels."""
        y, gamma_squared = self.yy.left, self.xx.gamma_squared
        fitted = y.vectors(self.xy.cross_scores)
        own, residual = y.vectors(y.scores[i]), self.residuals(i)
        weighted = self.xx.update_weight(i) * residual
        return (
            gamma_squared * fitted.T @ fitted
            + self.xx.theta_variance * _outer(own, own)
            - gamma_squared * _outer(weighted, residual)
        )

    def residuals(self, i: Samples) -> Tensor:
        """r_i = e_i − B d_i (m,) or (k, m), the residuals of least squares with intercept."""
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
    check_tensor(x, "inputs", "x")
    check_floating(y, "targets", "y")
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


def principal_axes(directions: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
    """V (d, r) and S (r,) with V S² Vᵀ = Σ_xx, of directions that hold their deviations."""
    rows = directions.flatten(1)
    if diagonal.any():
        rows = torch.cat([rows, diagonal.flatten().sqrt().diag()])
    _, singular, right = torch.linalg.svd(rows, full_matrices=False)
    rank = int((singular > 1e-12 * singular[:1]).sum())
    return right[:rank].T, singular[:rank]


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return left.unsqueeze(-1) * right.unsqueeze(-2)


def _align(rows: Tensor, like: Tensor) -> Tensor:
    """Rows of samples with dimensions of size one put in the middle, to broadcast on `like`."""
    middle = [1] * (like.ndim - rows.ndim)
    return rows.reshape(*rows.shape[:-1], *middle, rows.shape[-1])
