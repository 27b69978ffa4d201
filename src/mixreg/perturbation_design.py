"""From the regularizer to the augmentation: perturbations with second moments of one's choice.

To second order a perturbation acts by its second moments alone (equation 12). So a regularizer that
is wanted, such as the Jacobian penalty ½ Σ_k v_k ‖∇f·a_k‖² of the squared error, is had by training
under any (δ, ε) of mean zero with the moments that belong to it,

    E δδᵀ = Σ_xx = Σ_k v_k a_k a_kᵀ + diag(s),   E δεᵀ = Σ_xy,   E εεᵀ = Σ_yy.

With G = Σ_yx Σ_xx⁺ and C Cᵀ = Σ_yy − G Σ_xx Gᵀ,

    δ = Σ_k √v_k z_k a_k + √s ∘ z',   ε = G δ + C z''

has exactly these, where all z are independent with mean 0 and variance 1. Such G and C exist if and
only if the joint covariance is positive semidefinite.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mixreg._checks import check_inputs, check_tensor
from mixreg._errors import check_name
from mixreg.covariance import Whitening, principal_axes
from mixreg.perturbation import PerturbedBatch
from mixreg.reference import Moments

_TOLERANCE = 1e-9


class Displacement(NamedTuple):
    """δ, shape (n, ...) of inputs, and ε, shape (n, m)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class DesignedPerturbation:
    """Perturbations (δ, ε) of mean zero with given second moments, by `design_perturbation`.

    Args:
        directions: √v_k a_k, float64, shape (r, ...).
        diagonal: s, the shape of one input.
        regression: G, shape (m, d); m = 0 where labels are left alone.
        remainder: C, shape (m, m).
    """

    directions: Tensor
    diagonal: Tensor
    regression: Tensor
    remainder: Tensor

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many numbers z, z' and z'' a draw takes; no z' where s = 0."""
        noisy = self.diagonal.numel() if self.diagonal.any() else 0
        return len(self.directions), noisy, len(self.remainder)

    def place(self, z: Tensor) -> Displacement:
        """The perturbations of given z, z' and z'', side by side, shape (n, sum of `sizes`)."""
        along, apart, rest = torch.split(z.to(self.directions), list(self.sizes), 1)
        delta = torch.tensordot(along, self.directions, 1)
        if self.sizes[1]:
            delta = delta + self.diagonal.sqrt() * apart.reshape(delta.shape)
        return Displacement(delta, delta.flatten(1) @ self.regression.T + rest @ self.remainder.T)

    def perturb(
        self,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator,
        noise: Literal["signs", "gaussian"] = "signs",
    ) -> PerturbedBatch:
        """A batch x (n, ...), y (n, m) under random signs, which are bounded, or normal numbers."""
        check_name("noise", noise, ("signs", "gaussian"))
        self.check_fits(x, y)
        size = len(x), sum(self.sizes)
        z = torch.randn(size, generator=generator, dtype=torch.float64, device="cpu")
        delta, epsilon = self.place(z.sign() if noise == "signs" else z)
        inputs = x + delta.to(x.device, x.dtype)
        if len(self.regression):
            y = y + epsilon.to(y.device, y.dtype).reshape(y.shape)
        return PerturbedBatch(inputs, y)

    def dense(self) -> Moments:
        """Σ_xx (d, d), Σ_xy (d, m) and Σ_yy (m, m), for small dimensions."""
        rows = self.directions.flatten(1)
        xx = rows.T @ rows + self.diagonal.flatten().diag()
        xy = xx @ self.regression.T
        return Moments(xx, xy, self.regression @ xy + self.remainder @ self.remainder.T)

    def check_fits(self, x: Tensor, y: Tensor) -> None:
        """Refuse data of other shapes than the perturbation's."""
        shape, m = tuple(self.diagonal.shape), len(self.regression)
        if x.shape[1:] != shape:
            raise ValueError(f"the perturbation is of inputs {shape}, got {tuple(x.shape[1:])}")
        if m and not (y.is_floating_point() and y.shape[1:].numel() == m):
            raise ValueError(
                f"the perturbation is of {m} floating-point values of a target, got {y.dtype} of "
                f"shape {tuple(y.shape)}; mixreg.dense_targets makes vectors of class indices"
            )


def design_perturbation(
    directions: Tensor,
    variances: Tensor | None = None,
    *,
    diagonal: Tensor | float = 0.0,
    target_covariance: Tensor | None = None,
    cross_covariance: Tensor | None = None,
) -> DesignedPerturbation:
    """A perturbation with Σ_xx = Σ_k v_k a_k a_kᵀ + diag(s), Σ_xy and Σ_yy, exactly.

    Args:
        directions: a_k, floating point, shape (r, ...) with the shape of inputs, such as
            `principal_directions(x)`; r may be 0.
        variances: v_k ≥ 0, shape (r,), by default 1.
        diagonal: s ≥ 0, of the shape of one input, or one number for all.
        target_covariance: Σ_yy, shape (m, m); by default labels are left alone.
        cross_covariance: Σ_xy, shape (d, m) with inputs as vectors; by default 0. With a diagonal
            it takes the singular values of a matrix (r + d, d).

    Returns:
        The perturbation; it draws, and `mixreg.risk.approximate_perturbed_risk` has R1 to R4.

    Raises:
        TypeError: directions that are no floating-point tensor.
        ValueError: shapes that do not fit, numbers that are not finite, a covariance that is not
            symmetric and positive semidefinite, or a Σ_xy that the others do not allow.

    Source: Carratino et al., Theorem 1, equation 12 and the question that closes section 6.

    Example:
        >>> design_perturbation(torch.tensor([[3.0, 4.0]]), diagonal=1.0).dense().xx
        tensor([[10., 12.],
                [12., 17.]], dtype=torch.float64)
    """
    check_inputs(directions)
    if directions.ndim < 2:
        got = tuple(directions.shape)
        raise ValueError(f"directions must be (r, ...), got {got}; one is directions[None]")
    (r, *shape), d = directions.shape, directions.shape[1:].numel()
    m = 0 if target_covariance is None else len(target_covariance)
    s = torch.as_tensor(diagonal)
    given = {
        "directions": (directions, [r, *shape]),
        "variances": (torch.ones(r) if variances is None else variances, [r]),
        "diagonal": (s.expand(shape) if s.ndim == 0 else s, shape),
        "target_covariance": (target_covariance, [m, m]),
        "cross_covariance": (cross_covariance, [d, m]),
    }
    a, v, s, yy, xy = (_checked(name, *value, directions) for name, value in given.items())
    for name, values in (("variances", v), ("diagonal", s)):
        if bool((values < 0).any()):
            raise ValueError(f"{name} must be at least 0, got {float(values.min()):g}")
    _root(yy, yy, "target_covariance must be symmetric and positive semidefinite")
    a = a * v.sqrt().reshape(r, *(1,) * len(shape))
    explained, regression = torch.zeros_like(yy), xy.new_zeros(m, d)
    if bool(xy.any()):
        basis, scale = principal_axes(a, s)
        solution = basis.T @ xy / scale.unsqueeze(1)
        explained, regression = solution.T @ solution, (solution.T / scale) @ basis.T
        if (basis * scale @ solution - xy).norm() > _TOLERANCE * xy.norm():
            raise ValueError(
                "cross_covariance lies outside the span of the input covariance, where inputs are "
                "not perturbed; add directions or a diagonal, or project it on them"
            )
    contradiction = "cross_covariance asks for more than the others allow; scale it down"
    return DesignedPerturbation(a, s, regression, _root(yy - explained, yy, contradiction))


def principal_directions(x: Tensor) -> Tensor:
    """Orthonormal principal directions of inputs (n, ...), by falling variance, shape (r, ...)."""
    return Whitening.from_data(x).basis.T.reshape(-1, *x.shape[1:])


def _checked(name: str, values: Tensor | None, shape: list[int], like: Tensor) -> Tensor:
    """Finite values of a shape, in float64 beside the directions; none are zeros."""
    if values is None:
        return torch.zeros(shape, dtype=torch.float64, device=like.device)
    check_tensor(values, name, name)
    if list(values.shape) != shape:
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {tuple(values.shape)}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return values.detach().to(like.device, torch.float64)


def _root(matrix: Tensor, like: Tensor, problem: str) -> Tensor:
    """C with C Cᵀ the given matrix, if it is symmetric and positive semidefinite."""
    if matrix.numel() == 0:
        return matrix
    values, vectors = torch.linalg.eigh(matrix)
    asymmetry, least = (matrix - matrix.T).abs().max(), values[0]
    if max(asymmetry, -least) > _TOLERANCE * like.abs().max():
        raise ValueError(f"{problem}; got eigenvalue {least:.4g} and asymmetry {asymmetry:.4g}")
    return torch.mul(vectors, values.clamp_min(0).sqrt())
