"""Second derivatives of the losses, in closed form where Corollaries 1 to 3 give it.

Index letters: k samples; c outputs u; m labels y.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg.losses import LossFunction, cross_entropy, logistic, squared_error
from mixreg.risk.network import SampleName
from mixreg.risk.smoothness import autograd_derivatives


class LossDerivatives(NamedTuple):
    """Derivatives of ℓ(y, u) at k samples, with outputs and labels as vectors.

    gradient: ℓ_u, shape (k, c). output_hessian: ℓ_uu, (k, c, c). mixed: ℓ_uy, (k, c, m).
    label_hessian: ℓ_yy, (k, m, m), or None where it vanishes. response: ℓ_uu⁺ ℓ_uy, (k, c, m), how
    the best output moves against the label, with the pseudo-inverse cut off.
    """

    gradient: Tensor
    output_hessian: Tensor
    mixed: Tensor
    label_hessian: Tensor | None
    response: Tensor


def loss_derivatives(
    loss: LossFunction,
    targets: Tensor,
    outputs: Tensor,
    *,
    curvature_cutoff: float,
    name: SampleName,
) -> LossDerivatives:
    """Derivatives of a loss, in closed form for the losses of the package, else by autograd.

    The pseudo-inverse ℓ_uu⁺ leaves out what is too flat to be inverted:

    - cross-entropy: classes with probability p_k at most the cut-off count as impossible, and the
      Hessian H = diag(p) − p pᵀ of the others has H⁺ = Π diag(1/p) Π, Π = I − 11ᵀ/c; as p tends to
      one-hot its rank tends to zero;
    - logistic: outputs with v = s(1 − s) at most the cut-off are left out;
    - squared error: ℓ_uu = I, nothing is left out;
    - other losses: eigenvalues of ℓ_uu of modulus at most the cut-off times
      max(‖ℓ_uu‖, ‖ℓ_uy‖) are left out, which for scaled losses is invariant.

    Args:
        loss: ℓ(y, u) → (k,).
        targets: y, float64, shape (k, ...).
        outputs: u, float64, shape (k,) or (k, c).
        curvature_cutoff: the cut-off.
        name: words for row k, for messages.

    Returns:
        The derivatives, float64.

    Source: Carratino et al., annexes A.4, A.5 and A.6.

    Example:
        >>> from mixreg.losses import logistic
        >>> y, u = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        >>> at = loss_derivatives(logistic, y, u, curvature_cutoff=1e-8, name=str)
        >>> at.output_hessian
        tensor([[[0.2500]]], dtype=torch.float64)
    """
    k = len(outputs)
    closed = _CLOSED_FORMS.get(loss)
    if closed is not None:
        return closed(targets.reshape(k, -1), outputs.reshape(k, -1), curvature_cutoff)
    at = autograd_derivatives(loss, targets, outputs, name)
    inverse = _cut_inverse(at.output_hessian, at.mixed, curvature_cutoff)
    return LossDerivatives(*at, response=inverse @ at.mixed)


def check_cutoff(curvature_cutoff: float) -> None:
    """Refuse a cut-off outside [0, 1).

    Args:
        curvature_cutoff: the cut-off.

    Raises:
        ValueError: it is outside.
    """
    if not 0 <= curvature_cutoff < 1:
        raise ValueError(f"curvature_cutoff must lie in [0, 1), got {curvature_cutoff}")


def _cross_entropy(y: Tensor, u: Tensor, cutoff: float) -> LossDerivatives:
    """Corollary 1: ℓ_u = p − y, ℓ_uu = diag(p) − p pᵀ, ℓ_uy = −I, ℓ_yy = 0."""
    p = torch.softmax(u, dim=1)
    hessian = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    kept = p > cutoff
    both = (kept.unsqueeze(2) & kept.unsqueeze(1)).to(p.dtype)
    size = kept.sum(1).clamp_min(1).reshape(-1, 1, 1)
    projection = torch.diag_embed(kept.to(p.dtype)) - both / size
    inverse = (projection / torch.where(kept, p, 1).unsqueeze(1)) @ projection
    return LossDerivatives(p - y, hessian, -_identity(y), None, -inverse)


def _logistic(y: Tensor, u: Tensor, cutoff: float) -> LossDerivatives:
    """Corollary 2: ℓ_u = s − y, ℓ_uu = s(1 − s), ℓ_uy = −1, ℓ_yy = 0, for each output."""
    v = torch.sigmoid(u) * torch.sigmoid(-u)
    inverse = torch.where(v > cutoff, 1 / v.clamp_min(cutoff), 0)
    return LossDerivatives(
        torch.sigmoid(u) - y,
        torch.diag_embed(v),
        -_identity(y),
        None,
        -torch.diag_embed(inverse),
    )


def _squared_error(y: Tensor, u: Tensor, _: float) -> LossDerivatives:
    """Corollary 3: ℓ_u = u − y, ℓ_uu = ℓ_yy = I, ℓ_uy = −I."""
    identity = _identity(y)
    return LossDerivatives(u - y, identity, -identity, identity, -identity)


_CLOSED_FORMS: dict[LossFunction, Callable[[Tensor, Tensor, float], LossDerivatives]] = {
    cross_entropy: _cross_entropy,
    logistic: _logistic,
    squared_error: _squared_error,
}


def _cut_inverse(hessian: Tensor, mixed: Tensor, cutoff: float) -> Tensor:
    """Pseudo-inverse of symmetric matrices (k, c, c), small eigenvalues left out."""
    values, vectors = torch.linalg.eigh(hessian)
    size = torch.maximum(values.abs().amax(1), torch.linalg.matrix_norm(mixed))
    kept = values.abs() > cutoff * size.unsqueeze(1)
    inverse = torch.where(kept, 1 / torch.where(kept, values, 1), 0)
    return torch.matmul(vectors * inverse.unsqueeze(1), vectors.transpose(1, 2))


def _identity(y: Tensor) -> Tensor:
    k, m = y.shape
    return torch.eye(m, dtype=y.dtype, device=y.device).expand(k, m, m)
