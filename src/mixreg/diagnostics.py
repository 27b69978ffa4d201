"""What a trained network has of mixup's regularization: risks, Jacobians, roughness, entropies.

Roughness is how far a network is from affine between samples, whatever the scale of its outputs.
Along the segment from x_i to x_j the outputs change by ∫ ∇f(x_λ)(x_j − x_i) dλ = f(x_j) − f(x_i),
x_λ = (1 − λ) x_i + λ x_j. By Jensen's inequality the mean of ‖∇f(x_λ)(x_j − x_i)‖² over λ is at
least ‖f(x_j) − f(x_i)‖², with equality for networks that are affine on the segment. So

    ρ² = E_{i,j,λ} ‖∇f(x_λ)(x_j − x_i)‖² / E_{i,j} ‖f(x_j) − f(x_i)‖² ≥ 1,   λ uniform on [0, 1],

measures the Jacobian where mixup trains it, in units of what the outputs have to change anyway.
It knows neither the scale of the outputs nor that of the inputs. ‖∇f‖_F at the samples does: it
shrinks with the logits, as under a temperature above one, which changes no decision.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._checks import Network, check_inputs, sample_name
from mixreg.covariance import Whitening
from mixreg.curvature import directional_derivatives
from mixreg.entropy import EntropyReport, entropy_report, prediction_entropy
from mixreg.laws import MixingLaw
from mixreg.losses import Loss, LossFunction, cross_entropy, logistic, two_class_logits
from mixreg.prediction import Link
from mixreg.risk._derivatives import Linearization, linearize
from mixreg.risk._problem import Problem, check_network, chunks, evaluate, prepare
from mixreg.risk.approximate import ApproximateMixupRisk, approximate_mixup_risk
from mixreg.risk.exact import (
    RiskEstimate,
    empirical_risk,
    mixup_risk,
    mixup_risk_estimate,
    modified_problem,
)

__all__ = [
    "Diagnosis",
    "EntropyReport",
    "JacobianNorms",
    "Roughness",
    "diagnose",
    "entropy_report",
    "jacobian_norms",
    "prediction_entropy",
    "roughness",
]

_NORMAL_QUANTILE = 1.959964
_NUMBERS = 2**24


class Roughness(NamedTuple):
    """Roughness ρ, the standard error of its estimate, and the number of pairs.

    Both are None where the outputs do not differ between the samples of any pair.
    """

    value: float | None
    standard_error: float | None
    pairs: int


def roughness(
    net: Network,
    x: Tensor,
    *,
    generator: torch.Generator,
    link: Link = "softmax",
    pairs: int = 4000,
    chunk_size: int = 256,
) -> Roughness:
    """Root mean square slope of a network between samples, over that of straight lines.

    A Monte-Carlo estimate: pairs of different samples and a λ for each, uniformly, and one
    forward-mode derivative at each x_λ. For class logits outputs are taken less their mean over
    the classes, which the softmax does not see.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...), n at least 2.
        generator: source of pairs and λ, on the CPU.
        link: what makes predictions of the outputs; "softmax" for class logits.
        pairs: number of pairs, at least 2.
        chunk_size: samples evaluated at once.

    Returns:
        ρ, at least 1 but for chance, with the standard error of a ratio of means.

    Raises:
        TypeError: integer inputs.
        ValueError: fewer than two samples or pairs, or a network whose outputs depend on chance or
            on other samples.
        MixregError: an output is NaN or infinite, or an operation has no forward-mode derivative.

    Example:
        >>> x, g = torch.tensor([[-1.0], [1.0]]), torch.Generator().manual_seed(0)
        >>> roughness(lambda x: 3 * x, x, generator=g, link="identity").value
        1.0
    """
    check_inputs(x)
    n = len(x)
    if n < 2 or pairs < 2:
        raise ValueError(f"need at least 2 samples and 2 pairs, got {n} and {pairs}")
    check_network(net, x)
    i = torch.randint(n, (pairs,), generator=generator, device="cpu")
    j = (i + torch.randint(1, n, (pairs,), generator=generator, device="cpu")) % n
    weight = torch.rand(pairs, generator=generator, dtype=torch.float64, device="cpu").to(x.device)
    i, j = i.to(x.device), j.to(x.device)
    outputs = torch.cat(
        [
            _gauged(evaluate(net, x[rows], sample_name(rows.start)), link)
            for rows in chunks(n, chunk_size)
        ]
    )
    straight = _squared_norms(outputs[j] - outputs[i])
    slopes = torch.cat(
        [
            _slopes(net, x[i[rows]], x[j[rows]], weight[rows], link)
            for rows in chunks(pairs, chunk_size)
        ]
    )
    if not straight.any():
        return Roughness(None, None, pairs)
    square = slopes.mean() / straight.mean()
    residuals = (slopes - square * straight) / straight.mean()
    value = float(square.sqrt())
    error = float(residuals.std()) / pairs**0.5
    return Roughness(value, error / (2 * value) if value > 0 else 0.0, pairs)


def _slopes(net: Network, start: Tensor, end: Tensor, weight: Tensor, link: Link) -> Tensor:
    """‖∇f(x_λ)(x_j − x_i)‖² of some pairs."""
    at = weight.to(start.dtype).reshape(-1, *[1] * (start.ndim - 1))
    with torch.no_grad():
        found = directional_derivatives(
            net, torch.lerp(start, end, at), end - start, update_buffers=False
        )
        return _squared_norms(_gauged(found.first, link))


def _gauged(outputs: Tensor, link: Link) -> Tensor:
    """Outputs (n, c) in float64, class logits less their mean over the classes."""
    values = outputs.detach().double().reshape(len(outputs), -1)
    return values - values.mean(1, keepdim=True) if link == "softmax" else values


def _squared_norms(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1)


class JacobianNorms(NamedTuple):
    """Norms of the Jacobians ∇f(x_i) of n samples, each float64 of shape (n,).

    outputs: ‖∇f(x_i)‖_F.
    data_metric: (Tr ∇f(x_i) Σ_xx ∇f(x_i)ᵀ)^½, typical first-order change of the outputs when the
        input moves by the deviation d_j of a random sample.
    probabilities: ‖∇p(x_i)‖_F of the predicted probabilities p; None for regression.
    """

    outputs: Tensor
    data_metric: Tensor
    probabilities: Tensor | None


def jacobian_norms(
    net: Network,
    x: Tensor,
    *,
    link: Link = "softmax",
    whitening: Whitening | None = None,
    chunk_size: int = 64,
) -> JacobianNorms:
    """Norms of the Jacobian of a network at each of n samples.

    ‖∇f‖_F shrinks when all logits do, as with a temperature, and ‖∇p‖_F vanishes where predictions
    are sure, right or wrong; `roughness` does neither.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed. Memory holds
            the Jacobians, c·d numbers a sample, of `chunk_size` samples.
        x: inputs, floating point, shape (n, ...), n at least 2.
        link: what makes predictions of the outputs: "softmax" of class logits, "sigmoid" of
            independent logits, "identity" for regression.
        whitening: factors of the Σ_xx that is the metric; by default those of `x`.
        chunk_size: samples treated at once.

    Returns:
        Norms sample by sample.

    Raises:
        TypeError: integer inputs.
        ValueError: one sample, inputs that are not finite, a network whose outputs depend on chance
            or on other samples, or one logit with the link "softmax".
        MixregError: an output or a derivative is NaN or infinite.

    Source: Carratino et al., section 5 (Jacobian regularization).

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> jacobian_norms(lambda x: 3 * x, x, link="identity").outputs
        tensor([3., 3.], dtype=torch.float64)
    """
    check_inputs(x)
    metric = whitening or Whitening.from_data(x)
    check_network(net, x)
    parts = [
        _chunk_norms(linearize(net, x[rows], sample_name(rows.start)), metric, link)
        for rows in chunks(len(x), chunk_size)
    ]
    outputs, data_metric, probabilities = map(torch.cat, zip(*parts, strict=True))
    return JacobianNorms(outputs, data_metric, None if link == "identity" else probabilities)


def _chunk_norms(at: Linearization, metric: Whitening, link: Link) -> tuple[Tensor, Tensor, Tensor]:
    """‖∇f‖_F, its norm in the metric, and ‖∇p‖_F."""
    u, jacobian = at.outputs.reshape(len(at.outputs), -1), at.jacobian
    return (
        torch.linalg.matrix_norm(jacobian),
        torch.linalg.matrix_norm(metric.coordinates(jacobian)),
        torch.linalg.matrix_norm(_probability_jacobian(u, jacobian, link)),
    )


def _probability_jacobian(u: Tensor, jacobian: Tensor, link: Link) -> Tensor:
    """∇p = H(u) ∇u, with H = diag(p) − ppᵀ for the softmax and diag(p(1 − p)) for sigmoids."""
    if link == "identity":
        return jacobian
    if link == "sigmoid":
        p = u.sigmoid()
        return (p * (1 - p)).unsqueeze(-1) * jacobian
    if u.shape[1] < 2:
        raise ValueError(
            "link='softmax' needs a net with outputs of shape (n, c), c at least 2, got one "
            "logit; use link='sigmoid', or link='identity' for regression"
        )
    p = u.softmax(1).unsqueeze(-1)
    return p * (jacobian - (p * jacobian).sum(1, keepdim=True))


@dataclass(frozen=True)
class Diagnosis:
    """The risks of one network on n samples, taken as the training set, and what explains them.

    Args:
        law: law of λ.
        samples: n.
        empirical: the empirical risk (2).
        approximate: the approximate Mixup risk (12) and its terms.
        mixup: the Mixup risk (4); its standard error is 0 where all pairs were computed.
        jacobian: norms of the Jacobian at the samples.
        roughness: slope of the network between samples, over that of straight lines.
        entropy: entropies against Proposition 1; None where outputs are not class logits.
    """

    law: MixingLaw
    samples: int
    empirical: float
    approximate: ApproximateMixupRisk
    mixup: RiskEstimate
    jacobian: JacobianNorms
    roughness: Roughness
    entropy: EntropyReport | None

    @property
    def gap(self) -> float:
        """Mixup risk less approximate Mixup risk: what the Taylor approximation leaves out."""
        return self.mixup.value - self.approximate.total

    @property
    def half_width(self) -> float:
        """Half the width of the 95% confidence interval of the Mixup risk, and of the gap.

        It covers the Monte-Carlo draws on these samples, not the choice of the samples.
        """
        return _NORMAL_QUANTILE * self.mixup.standard_error

    @property
    def label_smoothing(self) -> float:
        """ε = 1 − θ̄, the label smoothing that the law amounts to (section 5)."""
        return self.law.shrinkage


def diagnose(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    law: MixingLaw,
    *,
    generator: torch.Generator,
    draws: int | None = None,
    pairs: int = 4000,
    second_order: bool = True,
    reference: Network | None = None,
    chunk_size: int | None = None,
) -> Diagnosis:
    """Evaluate every quantity of Theorem 2 and section 5 for one network.

    Args:
        net: f, (n, ...) → (n, c) or (n,), in evaluation mode.
        x: inputs, floating point, shape (n, ...), n at least 2.
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        law: law of λ.
        generator: source of the draws.
        draws: Monte-Carlo draws of the Mixup risk; None for all n² pairs by quadrature.
        pairs: pairs of samples that the roughness is estimated from.
        second_order: whether to compute R2; see `approximate_mixup_risk` for its cost.
        reference: a network fitted to the labels without smoothing, whose entropy Proposition 1
            compares with.
        chunk_size: samples whose Jacobians are held in memory at once; by default as many as make
            2²⁴ numbers, at most 64.

    Returns:
        The diagnosis.

    Raises:
        ValueError: fewer than two samples, draws or pairs, or data that do not fit the loss or the
            network.

    Source: Carratino et al., Theorem 2, Proposition 1 and section 5.

    Example:
        >>> from mixreg.laws import Beta
        >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
        >>> net = lambda x: x * torch.tensor([-1.0, 1.0])
        >>> g = torch.Generator().manual_seed(0)
        >>> found = diagnose(net, x, y, "cross_entropy", Beta(1.0), generator=g)
        >>> round(found.empirical, 3), round(found.mixup.value, 3), round(found.gap, 4)
        (0.127, 0.32, 0.0038)
    """
    problem = prepare(net, x, y, loss, pairs=True)
    rows = _fitting(x[0].numel(), most=1024)
    chunk_size = chunk_size or _fitting(x[0].numel() * problem.y[0].numel(), most=64)
    links: dict[LossFunction, Link] = {cross_entropy: "softmax", logistic: "sigmoid"}
    link, whitening = links.get(problem.loss, "identity"), Whitening.from_data(x)
    if draws is None:
        mixup = RiskEstimate(mixup_risk(net, x, y, loss, law, chunk_size=rows), 0.0, len(x) ** 2)
    else:
        mixup = mixup_risk_estimate(
            net, x, y, loss, law, samples=draws, generator=generator, chunk_size=rows
        )
    return Diagnosis(
        law=law,
        samples=len(x),
        empirical=empirical_risk(net, x, y, loss, chunk_size=rows),
        approximate=approximate_mixup_risk(
            net,
            x,
            y,
            loss,
            law,
            second_order=second_order,
            chunk_size=chunk_size,
            whitening=whitening,
        ),
        mixup=mixup,
        jacobian=jacobian_norms(net, x, link=link, whitening=whitening, chunk_size=chunk_size),
        roughness=roughness(
            net, x, generator=generator, link=link, pairs=pairs, chunk_size=min(rows, 256)
        ),
        entropy=_entropy(problem, law, reference, rows),
    )


def _fitting(numbers: int, *, most: int) -> int:
    """How many samples of so many numbers each to treat at once."""
    return min(most, max(1, _NUMBERS // numbers))


def _entropy(
    problem: Problem, law: MixingLaw, reference: Network | None, rows: int
) -> EntropyReport | None:
    """Entropies where outputs are class logits, one logit standing for two."""
    one_logit = problem.loss is logistic and problem.y[0].numel() == 1
    if problem.loss is not cross_entropy and not one_logit:
        return None
    shrunk = modified_problem(problem, law)
    labels = shrunk.y
    if one_logit:
        labels = labels.reshape(-1, 1)
        labels = torch.cat([1 - labels, labels], 1)
    return entropy_report(
        _class_logits(problem.net, problem.x, rows),
        _class_logits(shrunk.net, shrunk.x, rows),
        labels,
        theta_mean=law.theta_mean,
        reference_outputs=None if reference is None else _class_logits(reference, problem.x, rows),
    )


def _class_logits(net: Network, x: Tensor, rows: int) -> Tensor:
    """Logits of all classes, shape (n, c)."""
    parts = [evaluate(net, x[part], sample_name(part.start)) for part in chunks(len(x), rows)]
    return two_class_logits(torch.cat(parts).double())
