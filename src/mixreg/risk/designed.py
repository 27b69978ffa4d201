"""R1 to R4 of a designed perturbation: equation 12 with second moments of one's choice."""

import torch
from torch import Tensor

from mixreg._checks import Network
from mixreg.covariance import (
    PerturbationCovariance,
    PerturbationCovariances,
    Whitening,
    principal_axes,
)
from mixreg.losses import Loss, cross_entropy
from mixreg.perturbation_design import DesignedPerturbation
from mixreg.risk._derivatives import check_cutoff
from mixreg.risk._problem import prepare
from mixreg.risk.approximate import ApproximateMixupRisk, expanded_risk

_ROUNDING = 1e-6


def approximate_perturbed_risk(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    perturbation: DesignedPerturbation,
    *,
    second_order: bool = True,
    chunk_size: int = 64,
    curvature_cutoff: float = 1e-8,
) -> ApproximateMixupRisk:
    """(1/n) Σ_i E ℓ(y_i + ε, f(x_i + δ)) to second order: the loss and R1 to R4 (equation 12).

    Args:
        net: f, as for `approximate_mixup_risk`.
        x: inputs, floating point, shape (n, ...), which are not shrunk.
        y: class indices (n,), or targets of the shape of the outputs.
        loss: ℓ by name, or any twice differentiable callable.
        perturbation: its second moments take the place of Σ(i).
        second_order: whether to compute R2.
        chunk_size: samples treated at once.
        curvature_cutoff: as for `approximate_mixup_risk`.

    Returns:
        The terms; `modified` is the loss on the data as they are.

    Raises:
        ValueError: a perturbation of other shapes than the data's, or for cross-entropy one that
            changes the sum of the labels.

    Source: Carratino et al., Theorem 2.

    Example:
        >>> from mixreg.perturbation_design import design_perturbation
        >>> x, y = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
        >>> noise = design_perturbation(torch.eye(2), torch.tensor([0.5, 0.0]))
        >>> terms = approximate_perturbed_risk(lambda x: x[:, :1], x, y, "squared_error", noise)
        >>> round(terms.modified, 4), round(terms.r1, 4)  # ½, and ½ · 0.5 · ‖∇f·a‖²
        (0.5, 0.25)
    """
    check_cutoff(curvature_cutoff)
    problem = prepare(net, x, y, loss)
    perturbation.check_fits(problem.x, problem.y)
    covariances = _covariances(perturbation, len(x), problem.y)
    labels = covariances.yy.left
    if problem.loss is cross_entropy:
        moved = (labels.basis * labels.scale).sum(0).norm()
        if moved > _ROUNDING * labels.scale.norm():
            raise ValueError(
                "labels of the cross-entropy sum to one, so the rows of target_covariance must sum "
                "to 0; multiply it by I − 11ᵀ/m from both sides"
            )
    return expanded_risk(problem, covariances, second_order, chunk_size, curvature_cutoff)


def _covariances(perturbation: DesignedPerturbation, n: int, y: Tensor) -> PerturbationCovariances:
    """Σ_xx = V S² Vᵀ, Σ_xy = V S K S' V'ᵀ and Σ_yy = V' S'² V'ᵀ as those of one data set."""
    basis, scale = principal_axes(perturbation.directions, perturbation.diagonal)
    explained = scale.unsqueeze(1) * (basis.T @ perturbation.regression.T)
    label_basis, label_scale = principal_axes(
        torch.cat([explained, perturbation.remainder.T]), explained.new_zeros(())
    )
    core = explained @ label_basis / label_scale
    # The scores w_k = √N 1_k and w'_k = √N Kᵀ 1_k have (1/N) Σ_k w_k w'_kᵀ = K.
    rows, rank = max(n, len(scale)), len(scale)
    scores, label_scores = (scale.new_zeros(rows, len(part)) for part in (scale, label_scale))
    scores[:rank], label_scores[:rank] = rows**0.5 * torch.eye(rank).to(scale), rows**0.5 * core
    if len(label_basis) == 0:
        label_basis = scale.new_zeros(y[0].numel(), 0)
    inputs, labels = (
        Whitening(*(part.to(y.device) for part in parts))
        for parts in ((basis, scale, scores), (label_basis, label_scale, label_scores))
    )
    return PerturbationCovariances(
        *(
            PerturbationCovariance(left, right, theta_variance=0.0, gamma_squared=1.0)
            for left, right in ((inputs, inputs), (inputs, labels), (labels, labels))
        )
    )
