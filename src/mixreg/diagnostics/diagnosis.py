"""All that the theory says of one trained network on given samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixreg._checks import Network, sample_name
from mixreg.covariance import Whitening
from mixreg.diagnostics.entropies import EntropyReport, entropy_report
from mixreg.diagnostics.jacobians import JacobianNorms, jacobian_norms
from mixreg.diagnostics.roughness import Roughness, roughness
from mixreg.laws import MixingLaw
from mixreg.losses import Loss, LossFunction, cross_entropy, logistic, two_class_logits
from mixreg.prediction import Link
from mixreg.risk._problem import Problem, chunks, evaluate, prepare
from mixreg.risk.approximate import ApproximateMixupRisk, approximate_mixup_risk
from mixreg.risk.empirical import empirical_risk, modified_problem
from mixreg.risk.mixup import RiskEstimate, mixup_risk, mixup_risk_estimate

_NORMAL_QUANTILE = 1.959964
_NUMBERS = 2**24


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
    link, whitening = _link(problem.loss), Whitening.from_data(x)
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


def _link(loss: LossFunction) -> Link:
    """What makes predictions of the outputs."""
    if loss is cross_entropy:
        return "softmax"
    return "sigmoid" if loss is logistic else "identity"


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
