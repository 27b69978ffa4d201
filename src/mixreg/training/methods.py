"""The training methods: what each minimises on a batch, what it needs and what it costs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mixreg._errors import ConfigurationError
from mixreg.laws import MixingLaw
from mixreg.losses import resolve_loss
from mixreg.mixing import Mixup
from mixreg.pairing import Per
from mixreg.perturbation import PerturbationKind, perturb
from mixreg.prediction import shrink
from mixreg.risk import ApproximateMixupLoss
from mixreg.statistics import TrainingStatistics

LossName = Literal["cross_entropy", "logistic"]

MARGIN = 0.5
"""Least distance of the two weights of MIT-L, the default of the authors' program."""

_ATTEMPTS = 1000


class Step(NamedTuple):
    """The objective of one batch, and parts of it worth logging."""

    value: Tensor
    terms: Mapping[str, Tensor] = MappingProxyType({})


Objective = Callable[[nn.Module, Tensor, Tensor], Step]
"""The objective of a network on one batch of inputs and dense targets."""


class Ingredients(NamedTuple):
    """What objectives are made of; the draws of an epoch and process come from the generator."""

    loss: LossName
    law: MixingLaw
    stats: TrainingStatistics
    generator: torch.Generator
    per: Per = "sample"
    smoothing: float | None = None
    directions: Literal[1, 2] = 1
    second_order: bool = False


class Method(NamedTuple):
    """A way of training.

    Args:
        objective: makes what is minimised on each batch.
        mixes: it trains on shrunk or mixed data, so that equation 22 applies to its models.
        examples: fewest examples that a batch may have.
        passes: cost of a step in passes through the network, forward and backward.
        change: what is done to the network before training.
    """

    objective: Callable[[Ingredients], Objective]
    mixes: bool
    examples: int = 1
    passes: float = 1
    change: Literal["dropout", "spectral"] | None = None


def plain(made: Ingredients) -> Objective:
    """Equation 2: the empirical risk."""
    loss = resolve_loss(made.loss)
    return lambda net, x, y: Step(loss(y, net(x)).mean())


def mixup(made: Ingredients) -> Objective:
    """Equation 4, one draw of λ and j for each sample."""
    loss = resolve_loss(made.loss)
    mixed = Mixup(made.law, per=made.per, generator=made.generator)

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
        batch = mixed(x, y)
        return Step(loss(batch.targets, net(batch.inputs)).mean())

    return objective


def modified(made: Ingredients) -> Objective:
    """Equation 20: the empirical risk of the shrunk data (5)."""
    loss, stats, law = resolve_loss(made.loss), made.stats, made.law

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
        inputs, targets = shrink(x, stats.x_mean, law), shrink(y, stats.y_mean, law)
        return Step(loss(targets, net(inputs)).mean())

    return objective


def label_smoothing(made: Ingredients) -> Objective:
    """Labels moved by ε towards their mean: (1 − ε) y + ε ȳ, by default with ε = 1 − θ̄."""
    loss, y_mean = resolve_loss(made.loss), made.stats.y_mean
    smoothing = made.law.shrinkage if made.smoothing is None else made.smoothing

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
        targets = torch.lerp(y, y_mean.to(y.device, y.dtype).expand_as(y), smoothing)
        return Step(loss(targets, net(x)).mean())

    return objective


def approximate(made: Ingredients) -> Objective:
    """Equation 12, estimated along random directions."""
    loss = ApproximateMixupLoss(
        made.stats,
        made.law,
        made.loss,
        directions=made.directions,
        second_order=made.second_order,
        generator=made.generator,
    )

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
        value = loss(net, x, y)
        return Step(value, loss.terms._asdict())

    return objective


def perturbed(kind: PerturbationKind) -> Callable[[Ingredients], Objective]:
    """Equation 7 with another law of perturbation than mixup's."""

    def make(made: Ingredients) -> Objective:
        loss = resolve_loss(made.loss)

        def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
            batch = perturb(x, y, made.stats, made.law, kind, generator=made.generator)
            return Step(loss(batch.targets, net(batch.inputs)).mean())

        return objective

    return make


class TwoWeights(NamedTuple):
    """The weights of the first example in the two mixes of each pair, each of shape (n,)."""

    larger: Tensor
    smaller: Tensor


def decoupled(made: Ingredients) -> Objective:
    """MIT-L (Wang et al., CVPR 2023): outputs taken apart, against the unmixed targets."""
    loss = resolve_loss(made.loss)

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
        n = len(x)
        shift = int(torch.randint(n, (), generator=made.generator))
        count = 1 if made.per == "batch" else n
        drawn = draw_two_weights(made.law, count, generator=made.generator)
        weights = TwoWeights(*(w.expand(n) for w in drawn))
        x_b, y_b = torch.roll(x, -shift, 0), torch.roll(y, -shift, 0)
        u1, u2 = net(torch.cat([_mixed(x, x_b, w) for w in weights])).chunk(2)
        u_a, u_b = decouple(u1, u2, weights)
        return Step((loss(y, u_a).mean() + loss(y_b, u_b).mean()) / 2)

    return objective


def draw_two_weights(law: MixingLaw, n: int, *, generator: torch.Generator) -> TwoWeights:
    """Draw θ ≥ ½ and 1 − θ' ≤ ½ in float64 until they are `MARGIN` apart."""
    larger, smaller = (torch.full((n,), 0.5, dtype=torch.float64) for _ in range(2))
    for _ in range(_ATTEMPTS):
        near = (larger - smaller < MARGIN).nonzero().squeeze(1)
        if len(near) == 0:
            return TwoWeights(larger, smaller)
        larger[near] = law.sample_theta(len(near), generator=generator)
        smaller[near] = 1 - law.sample_theta(len(near), generator=generator)
    raise ConfigurationError(
        f"method 'mit-l' needs two mixing weights that lie {MARGIN:g} apart, which {law!r} hardly "
        "ever draws; choose a smaller --alpha"
    )


def decouple(u1: Tensor, u2: Tensor, weights: TwoWeights) -> tuple[Tensor, Tensor]:
    """Solve u1 = λ1 u_a + (1 − λ1) u_b, u2 = λ2 u_a + (1 − λ2) u_b for u_a and u_b, each (n, c)."""
    w1, w2 = (w.to(u1.device, u1.dtype).unsqueeze(1) for w in weights)
    distance = w1 - w2
    return ((1 - w2) * u1 - (1 - w1) * u2) / distance, (w1 * u2 - w2 * u1) / distance


def _mixed(x_a: Tensor, x_b: Tensor, weight: Tensor) -> Tensor:
    rows = weight.to(x_a.device, x_a.dtype).view(-1, *(1,) * (x_a.ndim - 1))
    return torch.lerp(x_b, x_a, rows)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "erm": Method(plain, mixes=False),
        "mixup": Method(mixup, mixes=True),
        "modified": Method(modified, mixes=True),
        "label-smoothing": Method(label_smoothing, mixes=False),
        "dropout": Method(plain, mixes=False, change="dropout"),
        "spectral": Method(plain, mixes=False, change="spectral"),
        "mit-l": Method(decoupled, mixes=False, passes=2),
        "approximate": Method(approximate, mixes=True, examples=3, passes=2),
        "inputs-only": Method(perturbed("inputs-only"), mixes=True, examples=3),
        "labels-only": Method(perturbed("labels-only"), mixes=True, examples=3),
        "independent": Method(perturbed("independent"), mixes=True, examples=3),
        "gaussian": Method(perturbed("gaussian"), mixes=True, examples=3),
    }
)
"""Every method by name."""
