"""The training methods: what each minimises on a batch, what it needs and what it costs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mixreg._checks import as_rows
from mixreg._errors import ConfigurationError
from mixreg.curvature import directional_derivatives
from mixreg.laws import MixingLaw
from mixreg.losses import resolve_loss
from mixreg.mixing import MixedBatch, Mixup
from mixreg.pairing import Per
from mixreg.perturbation import PerturbationKind, PerturbedBatch, perturb
from mixreg.prediction import shrink
from mixreg.recipes.recipe import UNMIXED, Recipe
from mixreg.risk import ApproximateMixupLoss
from mixreg.statistics import TrainingStatistics

LossName = Literal["cross_entropy", "logistic"]


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


def as_mixed(law: MixingLaw) -> Recipe:
    """Inputs and labels shrunk by the law itself: equation 22."""
    return Recipe(law, law)


def as_half_mixed(law: MixingLaw) -> Recipe:
    """Inputs and labels shrunk by the law where half of the examples are mixed."""
    return as_mixed(law.with_probability(0.5))


def labels_as_mixed(law: MixingLaw) -> Recipe:
    """Labels shrunk by the law, inputs as they are: the outer half of equation 22."""
    return Recipe(UNMIXED, law)


class Method(NamedTuple):
    """A way of training.

    Args:
        objective: makes what is minimised on each batch.
        mixes: it trains on shrunk or mixed data, so that equation 22 applies to its models.
        learned: how it shrinks inputs and labels by a law, which equation 22 undoes.
        examples: fewest examples that a batch may have.
        passes: cost of a step in passes through the network, forward and backward.
        change: what is done to the network before training.
    """

    objective: Callable[[Ingredients], Objective]
    mixes: bool
    learned: Callable[[MixingLaw], Recipe] = as_mixed
    examples: int = 1
    passes: float = 1
    change: Literal["dropout", "spectral"] | None = None


class Pair(NamedTuple):
    """The inputs and targets that a step is taken on."""

    inputs: Tensor
    targets: Tensor


def risk(
    made: Ingredients, seen: Callable[[Tensor, Tensor], Pair | MixedBatch | PerturbedBatch]
) -> Objective:
    """The mean loss on what is seen of a batch."""
    loss = resolve_loss(made.loss)

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
        batch = seen(x, y)
        return Step(loss(batch.targets, net(batch.inputs)).mean())

    return objective


def mixing(made: Ingredients) -> Mixup:
    """One draw of λ and j for each sample."""
    return Mixup(made.law, per=made.per, generator=made.generator)


def plain(made: Ingredients) -> Objective:
    """Equation 2: the empirical risk."""
    return risk(made, Pair)


def mixup(made: Ingredients) -> Objective:
    """Equation 4, one draw of λ and j for each sample."""
    return risk(made, mixing(made))


def modified(made: Ingredients) -> Objective:
    """Equation 20: the empirical risk of the shrunk data (5)."""
    stats, law = made.stats, made.law
    return risk(made, lambda x, y: Pair(shrink(x, stats.x_mean, law), shrink(y, stats.y_mean, law)))


def label_smoothing(made: Ingredients) -> Objective:
    """Labels moved by ε towards their mean: (1 − ε) y + ε ȳ, by default with ε = 1 − θ̄."""
    y_mean = made.stats.y_mean
    smoothing = made.law.shrinkage if made.smoothing is None else made.smoothing
    return risk(
        made, lambda x, y: Pair(x, y.lerp(y_mean.to(y.device, y.dtype).expand_as(y), smoothing))
    )


def perturbed(kind: PerturbationKind) -> Callable[[Ingredients], Objective]:
    """Equation 7 with another law of perturbation than mixup's."""
    return lambda made: risk(
        made, lambda x, y: perturb(x, y, made.stats, made.law, kind, generator=made.generator)
    )


def regmixup(made: Ingredients) -> Objective:
    """RegMixup (Pinto et al., NeurIPS 2022): the mean of the clean and the mixed loss."""
    # That is the paper's sum with η = 1, halved. In expectation it is the Mixup risk (4) of the law
    # that mixes with half the probability, the law its models have learned.
    mixed = mixing(made)

    def both(x: Tensor, y: Tensor) -> Pair:
        batch = mixed(x, y)
        return Pair(torch.cat([x, batch.inputs]), torch.cat([y, batch.targets]))

    return risk(made, both)


def unshrunk(made: Ingredients) -> Objective:
    """Mixup with inputs stretched back: x̄ + (x_mix − x̄)/θ̄ = x_i + δ_i/θ̄, targets ỹ_i + ε_i."""
    # By Theorem 1 inputs keep their mean given i, so equation 22 is left with its outer half.
    x_mean, theta_mean, mixed = made.stats.x_mean, made.law.theta_mean, mixing(made)

    def stretched(x: Tensor, y: Tensor) -> Pair:
        batch = mixed(x, y)
        mean = x_mean.to(x.device, x.dtype).expand_as(x)
        return Pair(mean.lerp(batch.inputs, 1 / theta_mean), batch.targets)

    return risk(made, stretched)


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


def linearized(made: Ingredients) -> Objective:
    """Mixup of the network's tangent at x̃: ℓ(ỹ + ε, f(x̃) + ∇f(x̃)·δ), which is never negative."""
    # Equation 12 without R2 is its expansion to second order in (δ, ε); nothing else is left out.
    loss, stats, law = resolve_loss(made.loss), made.stats, made.law

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
        batch = perturb(x, y, stats, law, "mixup", generator=made.generator)
        inputs = shrink(x, stats.x_mean, law)
        at = directional_derivatives(net, inputs, batch.inputs - inputs)
        return Step(loss(batch.targets, at.outputs + at.first).mean())

    return objective


# MIT (Wang et al., "On the Pitfall of Mixup for Uncertainty Calibration", CVPR 2023): two mixes of
# each pair are taken apart as if the network were linear. From u1 = λ1 u_a + (1 − λ1) u_b and
# u2 = λ2 u_a + (1 − λ2) u_b follow u_a and u_b, on which the loss of the unmixed targets is taken.
# MIT-L does so with the outputs alone, MIT-A after every block too, where a and b are mixed again
# with new weights.

MARGIN = 0.5
"""Least distance of the two weights, the default of the authors' program."""

_ATTEMPTS = 1000
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus)


class TwoWeights(NamedTuple):
    """The weights of the first example in the two mixes of each pair, each of shape (n,)."""

    larger: Tensor
    smaller: Tensor


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
        f"mit-l and mit-a need two mixing weights that lie {MARGIN:g} apart, which {law!r} hardly "
        "ever draws; choose a smaller --alpha"
    )


def mix_twice(a: Tensor, b: Tensor, weights: TwoWeights) -> Tensor:
    """Both mixes of a and b (n, ...), one after the other, shape (2n, ...)."""
    return torch.cat([torch.lerp(b, a, as_rows(w, a)) for w in weights])


def decouple(u1: Tensor, u2: Tensor, weights: TwoWeights) -> tuple[Tensor, Tensor]:
    """Solve u1 = λ1 u_a + (1 − λ1) u_b, u2 = λ2 u_a + (1 − λ2) u_b for u_a and u_b, (n, ...)."""
    w1, w2 = (as_rows(w, u1) for w in weights)
    distance = w1 - w2
    return ((1 - w2) * u1 - (1 - w1) * u2) / distance, (w1 * u2 - w2 * u1) / distance


def ends_of_blocks(net: nn.Module) -> list[nn.Module]:
    """The last layer of each block of a chain: its activations and its stages of inner layers."""
    ends: list[nn.Module] = []
    for part in net.children():
        is_stage = any(True for _ in part.children())
        is_chain = isinstance(part, nn.Sequential) and not any(list(p.children()) for p in part)
        if is_chain:
            ends += ends_of_blocks(part)
        elif is_stage or isinstance(part, _ACTIVATIONS):
            ends.append(part)
    return ends


def check_block(block: nn.Module, outputs: Any, rows: int) -> None:
    """Refuse a block whose output is no batch of the mixes."""
    if not isinstance(outputs, Tensor) or len(outputs) != rows:
        raise ConfigurationError(
            f"method 'mit-a' takes apart what each block returns, but {type(block).__name__} "
            "returns no tensor with one row for each input; use mit-l, which needs outputs alone"
        )


def decoupled(*, between_blocks: bool) -> Callable[[Ingredients], Objective]:
    """MIT-L, or with blocks MIT-A: outputs taken apart, against the unmixed targets."""

    def make(made: Ingredients) -> Objective:
        loss = resolve_loss(made.loss)

        def draw(n: int) -> TwoWeights:
            count = 1 if made.per == "batch" else n
            drawn = draw_two_weights(made.law, count, generator=made.generator)
            return TwoWeights(*(w.expand(n) for w in drawn))

        def objective(net: nn.Module, x: Tensor, y: Tensor) -> Step:
            n = len(x)
            shift = int(torch.randint(n, (), generator=made.generator))
            weights = [draw(n)]

            def remix(block: nn.Module, _: object, outputs: Tensor) -> Tensor:
                check_block(block, outputs, 2 * n)
                u1, u2 = outputs.chunk(2)
                a, b = decouple(u1, u2, weights[-1])
                weights.append(draw(n))
                return mix_twice(a, b, weights[-1])

            ends = ends_of_blocks(net) if between_blocks else []
            hooks = [end.register_forward_hook(remix) for end in ends]
            try:
                u1, u2 = net(mix_twice(x, torch.roll(x, -shift, 0), weights[0])).chunk(2)
            finally:
                for hook in hooks:
                    hook.remove()
            if between_blocks and len(weights) == 1:
                raise ConfigurationError(
                    f"method 'mit-a' mixes anew after every activation or stage of a network, and "
                    f"{type(net).__name__} has none among its layers; use mit-l"
                )
            u_a, u_b = decouple(u1, u2, weights[-1])
            return Step((loss(y, u_a).mean() + loss(torch.roll(y, -shift, 0), u_b).mean()) / 2)

        return objective

    return make


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "erm": Method(plain, mixes=False),
        "mixup": Method(mixup, mixes=True),
        "modified": Method(modified, mixes=True),
        "label-smoothing": Method(label_smoothing, mixes=False),
        "dropout": Method(plain, mixes=False, change="dropout"),
        "spectral": Method(plain, mixes=False, change="spectral"),
        "regmixup": Method(regmixup, mixes=True, learned=as_half_mixed, passes=2),
        "unshrunk": Method(unshrunk, mixes=True, learned=labels_as_mixed),
        "mit-l": Method(decoupled(between_blocks=False), mixes=False, passes=2),
        "mit-a": Method(decoupled(between_blocks=True), mixes=False, passes=2),
        "approximate": Method(approximate, mixes=True, examples=3, passes=2),
        "linearized": Method(linearized, mixes=True, examples=3, passes=2),
        "inputs-only": Method(perturbed("inputs-only"), mixes=True, examples=3),
        "labels-only": Method(perturbed("labels-only"), mixes=True, examples=3),
        "independent": Method(perturbed("independent"), mixes=True, examples=3),
        "gaussian": Method(perturbed("gaussian"), mixes=True, examples=3),
    }
)
"""Every method by name."""
