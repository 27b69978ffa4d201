"""What each training method minimises on one batch."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mixreg._checks import dense_targets
from mixreg.laws import MixingLaw
from mixreg.losses import LossFunction, resolve_loss
from mixreg.mixing import Mixup
from mixreg.pairing import Per
from mixreg.perturbation import PerturbationKind, perturb
from mixreg.prediction import shrink
from mixreg.risk.approximate_loss import ApproximateMixupLoss
from mixreg.statistics import TrainingStatistics
from mixreg.training.config import TrainConfig
from mixreg.training.decoupling import decoupled_loss


class Step(NamedTuple):
    """The objective of one batch, and parts of it worth logging."""

    value: Tensor
    terms: Mapping[str, Tensor]


class Objective(Protocol):
    """The objective of one batch of inputs and dense targets."""

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        """Evaluate it, with a graph to the parameters of `net`."""


def make_objective(
    config: TrainConfig, stats: TrainingStatistics, generator: torch.Generator
) -> Objective:
    """The objective of a method.

    Args:
        config: the run.
        stats: x̄ and ȳ of the training data.
        generator: source of the draws of this epoch and process.

    Returns:
        The objective.
    """
    loss, law = resolve_loss(config.loss), config.law
    match config.method:
        case "mixup":
            return _Mixup(loss, Mixup(law, per=config.per, generator=generator))
        case "mit-l":
            return _Decoupled(loss, law, config.per, generator)
        case "modified":
            return _Modified(loss, stats, law)
        case "label-smoothing":
            smoothing = law.shrinkage if config.smoothing is None else config.smoothing
            return _LabelSmoothing(loss, stats.y_mean, smoothing)
        case "approximate":
            return _Approximate(
                ApproximateMixupLoss(
                    stats,
                    law,
                    config.loss,
                    directions=config.directions,
                    second_order=config.second_order,
                    generator=generator,
                )
            )
        case "inputs-only" | "labels-only" | "independent" | "gaussian":
            return _Perturbed(loss, stats, law, config.method, generator)
        case _:
            return _Plain(loss)


def training_targets(y: Tensor, config: TrainConfig, num_classes: int) -> Tensor:
    """Class indices as the targets of the loss: one-hot vectors, or the number 0 or 1.

    Args:
        y: class indices, shape (n,).
        config: the run.
        num_classes: number of classes.

    Returns:
        Shape (n, c) for cross-entropy, (n, 1) for the logistic loss.
    """
    if config.loss == "logistic":
        return y.float().unsqueeze(1)
    return dense_targets(y, num_classes, dtype=torch.float32)


class _Plain:
    """Equation 2: the empirical risk."""

    def __init__(self, loss: LossFunction) -> None:
        self.loss = loss

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        return Step(self.loss(y, net(x)).mean(), {})


class _Mixup:
    """Equation 4, one draw of λ and j for each sample."""

    def __init__(self, loss: LossFunction, mixup: Mixup) -> None:
        self.loss, self.mixup = loss, mixup

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        batch = self.mixup(x, y)
        return Step(self.loss(batch.targets, net(batch.inputs)).mean(), {})


class _Decoupled:
    """MIT-L: outputs of two mixes taken apart, against the unmixed targets."""

    def __init__(
        self, loss: LossFunction, law: MixingLaw, per: Per, generator: torch.Generator
    ) -> None:
        self.loss, self.law, self.per, self.generator = loss, law, per, generator

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        value = decoupled_loss(
            net, x, y, self.loss, self.law, per=self.per, generator=self.generator
        )
        return Step(value, {})


class _Modified:
    """Equation 20: the empirical risk of the shrunk data (5)."""

    def __init__(self, loss: LossFunction, stats: TrainingStatistics, law: MixingLaw) -> None:
        self.loss, self.stats, self.law = loss, stats, law

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        inputs = shrink(x, self.stats.x_mean, self.law)
        targets = shrink(y, self.stats.y_mean, self.law)
        return Step(self.loss(targets, net(inputs)).mean(), {})


class _LabelSmoothing:
    """Labels moved by ε towards their mean: (1 − ε) y + ε ȳ."""

    def __init__(self, loss: LossFunction, y_mean: Tensor, smoothing: float) -> None:
        self.loss, self.y_mean, self.smoothing = loss, y_mean, smoothing

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        mean = self.y_mean.to(y.device, y.dtype)
        targets = torch.lerp(y, mean.expand_as(y), self.smoothing)
        return Step(self.loss(targets, net(x)).mean(), {})


class _Approximate:
    """Equation 12, estimated along random directions."""

    def __init__(self, loss: ApproximateMixupLoss) -> None:
        self.loss = loss

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        value = self.loss(net, x, y)
        return Step(value, self.loss.terms._asdict())


class _Perturbed:
    """Equation 7 with another law of perturbation than mixup's."""

    def __init__(
        self,
        loss: LossFunction,
        stats: TrainingStatistics,
        law: MixingLaw,
        kind: PerturbationKind,
        generator: torch.Generator,
    ) -> None:
        self.loss, self.stats, self.law = loss, stats, law
        self.kind, self.generator = kind, generator

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor) -> Step:
        batch = perturb(x, y, self.stats, self.law, self.kind, generator=self.generator)
        return Step(self.loss(batch.targets, net(batch.inputs)).mean(), {})
