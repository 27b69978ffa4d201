"""The Mixup risk as a perturbed empirical risk (Theorem 1)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg.laws import MixingLaw
from mixreg.losses import Loss
from mixreg.perturbation import modified, perturbation
from mixreg.risk.mixup import folded_rule, mixup_risk
from mixreg.risk.network import Network, sample_name
from mixreg.risk.problem import chunks, prepare


class TheoremOne(NamedTuple):
    """Both sides of equation 7; they differ by rounding only."""

    mixup_risk: float
    perturbed_risk: float


def perturbed_risk(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    law: MixingLaw,
    *,
    order: int = 24,
    chunk_size: int = 1024,
) -> float:
    """Mean loss on the modified data under their perturbations (equation 7).

    (1/n) Σ_i E_{θ,j} ℓ(ỹ_i + ε_i, f(x̃_i + δ_i))

    It forms modified data and perturbations and adds them, so that it is a check of equations 5
    and 6; `mixup_risk` gives the same number sooner.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        law: law of λ.
        order: number of quadrature nodes, as for `mixup_risk`.
        chunk_size: perturbed samples evaluated at once.

    Returns:
        The risk, accumulated in float64.

    Source: Carratino et al., Theorem 1.

    Example:
        >>> from mixreg.laws import Constant
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> perturbed_risk(lambda x: 0 * x, x, x, "squared_error", Constant(0.75))
        0.3125
    """
    problem = prepare(net, x, y, loss, pairs=True)
    x, y, n = problem.x, problem.y, len(problem.x)
    means = x.double().mean(0), y.mean(0)
    inputs, targets = modified(x, y, *means, law)
    nodes, weights = folded_rule(law, order)
    parts = []
    for theta, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        thetas = torch.full((n,), theta, dtype=torch.float64, device=x.device)
        for j in range(n):
            partner = torch.full((n,), j, device=x.device)
            delta, epsilon, *_ = perturbation(x, y, *means, law, theta=thetas, partner=partner)
            for rows in chunks(n, chunk_size):
                perturbed = inputs[rows] + delta[rows], targets[rows] + epsilon[rows]
                losses = problem.losses(*perturbed, sample_name(rows.start))
                parts.append(weight * float(losses.sum()) / n**2)
    return math.fsum(parts)


def theorem_one(
    net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw, *, order: int = 24
) -> TheoremOne:
    """Check Theorem 1 on given data: the Mixup risk (4) and the perturbed empirical risk (7).

    Args:
        net: f, (n, ...) → (n, c) or (n,).
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        law: law of λ.
        order: number of quadrature nodes; both sides use the same, so they agree at any order.

    Returns:
        Both risks.

    Source: Carratino et al., Theorem 1.

    Example:
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        >>> both = theorem_one(torch.sin, x, x, "squared_error", Beta(1.0))
        >>> abs(both.mixup_risk - both.perturbed_risk) < 1e-15
        True
    """
    return TheoremOne(
        mixup_risk(net, x, y, loss, law, order=order),
        perturbed_risk(net, x, y, loss, law, order=order),
    )
