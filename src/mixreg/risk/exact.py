"""The risks by definition: empirical (2), modified (20) and Mixup (4), also as perturbed (7).

The Mixup risk is taken over all pairs, by Monte Carlo and, for linear least squares, in closed form
(Corollary 3, equation 19 corrected).
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._checks import Network, as_rows, check_floating, sample_name
from mixreg.laws import MixingLaw, Quadrature
from mixreg.losses import Loss
from mixreg.perturbation import modified, perturbation
from mixreg.risk._problem import Problem, chunks, mean_loss, prepare


@dataclass(frozen=True)
class RiskEstimate:
    """A Monte-Carlo estimate of a risk.

    Args:
        value: mean of the draws.
        standard_error: their standard deviation over the root of their number.
        samples: number of draws.
    """

    value: float
    standard_error: float
    samples: int


def mixup_risk(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    law: MixingLaw,
    *,
    order: int = 24,
    chunk_size: int = 256,
) -> float:
    """Mean loss over all n² ordered pairs and the law of λ, by quadrature (equation 4).

    (1/n²) Σ_ij E_λ ℓ(λ y_i + (1 − λ) y_j, f(λ x_i + (1 − λ) x_j))

    Nodes λ < ½ are folded to 1 − λ, which exchanges i and j, so that the symmetric rule of a Beta
    law takes ⌈order/2⌉ evaluations of each ordered pair.

    Measured relative errors for α = 1 and order 8, 16, 32, 64: a tanh network of width 50 on 30
    points of the plane 2e-7, 9e-10, 2e-13, 1e-16; the same with ReLU 4e-8, 2e-6, 1e-6, 3e-7;
    random Fourier features fitted to 60 points of two moons 1e-2, 9e-4, 1e-5, 4e-8; LeNet with ReLU
    on 24 CIFAR-10 images 6e-4, 7e-5, 3e-5, 5e-6.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        law: law of λ.
        order: number K of quadrature nodes of each continuous part of the law. For smooth f the
            error falls geometrically in K; for piecewise-linear f, whose kinks the rule does not
            know, as 1/K². Compare with twice the order.
        chunk_size: mixed samples evaluated at once, which bounds the memory. Chunks whose
            activations fit the cache are fastest, as those of 1000 units do by default.

    Returns:
        The risk, accumulated in float64.

    Source: Carratino et al., equation 4.

    Example:
        >>> from mixreg.laws import Constant
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> mixup_risk(lambda x: 0 * x, x, x, "squared_error", Constant(0.75))
        0.3125
    """
    problem = prepare(net, x, y, loss, pairs=True)
    nodes, weights = folded_rule(law, order)
    risks = [_risk_at(problem, theta, chunk_size) for theta in nodes.tolist()]
    return math.fsum(w * risk for w, risk in zip(weights.tolist(), risks, strict=True))


def mixup_risk_estimate(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    law: MixingLaw,
    *,
    samples: int,
    generator: torch.Generator,
    chunk_size: int = 1024,
) -> RiskEstimate:
    """Monte-Carlo estimate of the Mixup risk, for data too large for all pairs (equation 4).

    Each draw takes i and j uniformly and λ from its law, independently of the others.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        law: law of λ.
        samples: number of draws, at least two.
        generator: source of the draws.
        chunk_size: mixed samples evaluated at once.

    Returns:
        Value, standard error and number of draws.

    Raises:
        ValueError: fewer than two draws, or what `mixup_risk` refuses.

    Example:
        >>> from mixreg.laws import Constant
        >>> x, g = torch.tensor([[-1.0], [1.0]]), torch.Generator().manual_seed(0)
        >>> mixup_risk_estimate(
        ...     lambda x: x, x, x, "squared_error", Constant(0.75), samples=10, generator=g
        ... )
        RiskEstimate(value=0.0, standard_error=0.0, samples=10)
    """
    if samples < 2:
        raise ValueError(f"a standard error needs at least 2 draws, got samples={samples}")
    problem = prepare(net, x, y, loss, pairs=True)
    n = len(x)
    i, j = torch.randint(n, (2, samples), generator=generator, device=generator.device).to(x.device)
    weight = law.sample(samples, generator=generator).to(x.device)
    values = torch.cat(
        [
            _mixed_losses(problem, i[rows], j[rows], weight[rows])
            for rows in chunks(samples, chunk_size)
        ]
    )
    error = float(values.std()) / samples**0.5
    return RiskEstimate(float(values.mean()), error, samples)


def folded_rule(law: MixingLaw, order: int) -> Quadrature:
    """The quadrature rule of the law, for what is symmetric in λ ↔ 1 − λ: distinct nodes θ ≥ ½."""
    nodes, weights = law.quadrature(order)
    theta, at = torch.maximum(nodes, 1 - nodes).sort()
    weights = weights[at]
    apart = torch.cat([theta.new_ones(1).bool(), theta.diff() > 4 * torch.finfo(theta.dtype).eps])
    group = apart.cumsum(0) - 1
    folded = weights.new_zeros(int(group[-1]) + 1).index_add(0, group, weights)
    return Quadrature(theta[apart], folded)


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


def _risk_at(problem: Problem, theta: float, chunk_size: int) -> float:
    """Mean loss over all ordered pairs at one θ."""
    if theta == 1:
        return mean_loss(problem, chunk_size)
    n = len(problem.x)
    total = 0.0
    for rows in chunks(n * n, chunk_size):
        pair = torch.arange(rows.start, rows.stop, device=problem.x.device)
        weight = torch.full((len(pair),), theta, dtype=torch.float64, device=pair.device)
        total += float(_mixed_losses(problem, pair // n, pair % n, weight).sum())
    return total / n**2


def _mixed_losses(problem: Problem, i: Tensor, j: Tensor, weight: Tensor) -> Tensor:
    """Losses of the mixtures λ (x_i, y_i) + (1 − λ) (x_j, y_j)."""

    def name(row: int) -> str:
        own, other = (float(share[row]) for share in (weight, 1 - weight))
        return f"{own:.4g} × sample {int(i[row])} + {other:.4g} × sample {int(j[row])}"

    inputs, targets = (torch.lerp(v[j], v[i], as_rows(weight, v)) for v in (problem.x, problem.y))
    return problem.losses(inputs, targets, name)


def empirical_risk(
    net: Network, x: Tensor, y: Tensor, loss: Loss, *, chunk_size: int = 1024
) -> float:
    """Mean loss on the data: (1/n) Σ_i ℓ(y_i, f(x_i)) (equation 2).

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        chunk_size: samples evaluated at once.

    Returns:
        The risk, accumulated in float64.

    Example:
        >>> x, y = torch.zeros(3, 2), torch.tensor([0, 1, 1])
        >>> round(empirical_risk(lambda x: x, x, y, "cross_entropy"), 4)
        0.6931
    """
    return mean_loss(prepare(net, x, y, loss), chunk_size)


def modified_risk(
    net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw, *, chunk_size: int = 1024
) -> float:
    """Mean loss on the shrunk data: (1/n) Σ_i ℓ(ỹ_i, f(x̃_i)) (equation 20).

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...); x̄ is their mean.
        y: class indices (n,), or targets of the shape of the outputs; ȳ is their mean.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        law: law of λ.
        chunk_size: samples evaluated at once.

    Returns:
        The risk, accumulated in float64; the term `modified` of the approximate Mixup risk.

    Source: Carratino et al., equations 5 and 20.

    Example:
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> modified_risk(lambda x: 0 * x, x, x, "squared_error", Beta(1.0))  # ½ (¾)²
        0.28125
    """
    return mean_loss(modified_problem(prepare(net, x, y, loss), law), chunk_size)


def modified_problem(problem: Problem, law: MixingLaw) -> Problem:
    """The problem with modified data x̃ and ỹ instead of x and y."""
    x, y = problem.x.double(), problem.y
    inputs, targets = modified(x, y, x.mean(0), y.mean(0), law)
    return replace(problem, x=inputs.to(problem.x.dtype), y=targets)


def linear_mixup_risk(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, law: MixingLaw) -> float:
    """The exact Mixup risk of f(x) = W x + b for the squared error (equation 19, corrected).

    With b̄ = ȳ − W x̄,

        E(W, b) = (2σ² + θ̄² + (1 − θ̄)²) (1/n) Σ_i ½‖y_i − W x_i − b̄‖² + ½‖b − b̄‖²,

    without a further constant. The factor in front is E θ² + E (1 − θ)² > 0, so that ordinary least
    squares minimises it for every law: mixup has no effect on linear least squares. The paper
    prints 2σ² + 2θ̄² + (1 − θ̄)² and ‖b − b̄‖², since its equation 37 drops the ½ of the loss;
    `mixreg.reference.equation_19_as_printed` has that form.

    Args:
        weight: W, shape (c, d).
        bias: b, shape (c,).
        x: inputs, shape (n, d).
        y: targets, shape (n, c).
        law: law of λ.

    Returns:
        The risk, computed in float64.

    Raises:
        TypeError: a tensor is not floating point.
        ValueError: shapes that do not fit together.

    Source: Carratino et al., Corollary 3 and annex A.6.

    Example:
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> linear_mixup_risk(torch.zeros(1, 1), torch.zeros(1), x, x, Beta(1.0))  # ½ · ⅔
        0.3333333333333333
    """
    _check_shapes(weight, bias, x, y)
    W, b, x, y = (v.detach().double() for v in (weight, bias, x, y))
    best_bias = y.mean(0) - W @ x.mean(0)
    residuals = y - x @ W.T - best_bias
    sigma_squared, theta_bar = law.theta_variance, law.theta_mean
    factor = 2 * sigma_squared + theta_bar**2 + law.shrinkage**2
    mean_loss = float(residuals.square().sum(1).mean()) / 2
    return factor * mean_loss + float((b - best_bias).square().sum()) / 2


def _check_shapes(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor) -> None:
    for name, values in (("weight", weight), ("bias", bias), ("x", x), ("y", y)):
        check_floating(values, name, name)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or weight.shape != (y.shape[1], x.shape[1]):
        raise ValueError(
            "need inputs (n, d), targets (n, c) and a weight (c, d), got "
            f"{tuple(x.shape)}, {tuple(y.shape)} and {tuple(weight.shape)}"
        )
    if bias.shape != y.shape[1:]:
        raise ValueError(f"need a bias of shape {tuple(y.shape[1:])}, got {tuple(bias.shape)}")
