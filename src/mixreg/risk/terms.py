"""The terms of the approximate Mixup risk, sample by sample (Theorem 2)."""

from typing import NamedTuple

import torch
from torch import Tensor

from mixreg.covariance import PerturbationCovariances
from mixreg.risk.loss_derivatives import LossDerivatives

_LEFT_OUT = 1e-6


class SampleTerms(NamedTuple):
    """What each sample adds to the approximate Mixup risk; shapes (n,), float64.

    The means over samples are the terms of equation 12. `r1_plus_r3` is the quadratic form before
    the square is completed, ½⟨Σ_xx(i), ∇fᵀ ℓ_uu ∇f⟩ + ⟨Σ_yx(i), ℓ_yu ∇f⟩ (equation 33). `cut_off`
    tells where the pseudo-inverse of ℓ_uu left out a direction that interacts with the labels.
    """

    modified: Tensor
    r1: Tensor
    r2: Tensor
    r3: Tensor
    r4: Tensor
    r1_plus_r3: Tensor
    cut_off: Tensor

    @property
    def total(self) -> Tensor:
        """The summands of the approximate Mixup risk."""
        return self.modified + self.r1_plus_r3 + self.r2 + self.r4


class JacobianTerms(NamedTuple):
    """R1, R3, their sum and where the cut-off acted, for k samples; shapes (k,)."""

    r1: Tensor
    r3: Tensor
    r1_plus_r3: Tensor
    cut_off: Tensor


def jacobian_terms(
    jacobian: Tensor, at: LossDerivatives, covariances: PerturbationCovariances, i: Tensor
) -> JacobianTerms:
    """R1 and R3 of k samples (Theorem 2, equations 33 to 35).

    R3 = −½⟨Σ_yx(i) Σ_xx(i)⁺ Σ_xy(i), ℓ_yu ℓ_uu⁺ ℓ_uy⟩, and R1 is what remains of the quadratic
    form, so that their sum never depends on the cut-off. Where the pseudo-inverse leaves nothing
    out, R1 is the square ½‖(∇f − J(i))ᵀ ℓ_uu^½‖² in the metric Σ_xx(i); elsewhere it also holds the
    part of the form for which no square can be completed, and may be negative.

    Args:
        jacobian: ∇f(x̃_i), shape (k, c, d).
        at: derivatives of the loss at (ỹ_i, f(x̃_i)).
        covariances: Σ_xx(i), Σ_xy(i), Σ_yy(i).
        i: the samples, shape (k,).

    Returns:
        The terms of each sample.
    """
    x, y = covariances.xx.left, covariances.yy.left
    slopes = x.coordinates(jacobian)
    output_covariance = covariances.xx.core_product(i, slopes) @ slopes.transpose(1, 2)
    output_label_covariance = y.vectors(covariances.xy.transposed.core_product(i, slopes))
    form = _inner(at.output_hessian, output_covariance) / 2
    form = form + _inner(at.mixed, output_label_covariance)
    r3 = -_inner(at.mixed.transpose(1, 2) @ at.response, covariances.explained(i)) / 2
    return JacobianTerms(form - r3, r3, form, _left_out(at, y.basis * y.scale))


def label_term(at: LossDerivatives, covariances: PerturbationCovariances, i: Tensor) -> Tensor:
    """R4 = ½⟨Σ_yy(i), ℓ_yy⟩ of k samples (Theorem 2).

    Args:
        at: derivatives of the loss at (ỹ_i, f(x̃_i)).
        covariances: Σ_yy(i) among them.
        i: the samples, shape (k,).

    Returns:
        Shape (k,).
    """
    if at.label_hessian is None:
        return torch.zeros(len(i), dtype=torch.float64, device=i.device)
    return covariances.yy.inner_product(i, at.label_hessian) / 2


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius inner products of matrices (k, ·, ·)."""
    return torch.einsum("kij,kij->k", a, b)


def _left_out(at: LossDerivatives, labels: Tensor) -> Tensor:
    """Where (I − ℓ_uu ℓ_uu⁺) ℓ_uy does not vanish on the span of the labels, columns (m, r)."""
    interaction = at.mixed @ labels
    remainder = interaction - at.output_hessian @ (at.response @ labels)
    size = torch.linalg.matrix_norm(interaction)
    return torch.gt(torch.linalg.matrix_norm(remainder), _LEFT_OUT * size)
