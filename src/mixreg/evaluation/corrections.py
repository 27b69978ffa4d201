"""What to do with the logits of a mixup-trained classifier before the softmax, by choice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mixreg.calibration import apply_temperature
from mixreg.evaluation.intervals import MeanInterval
from mixreg.evaluation.predictions import Predictions
from mixreg.laws import MixingLaw
from mixreg.prediction import unshrink

Correction = Literal[
    "raw",
    "rescaled",
    "shrink-only",
    "scale-only",
    "two-views",
    "temperature",
    "rescaled+temperature",
]
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)

UNTEMPERED: dict[Correction, Correction] = {
    "temperature": "raw",
    "rescaled+temperature": "rescaled",
}
"""Corrections that divide by a fitted temperature, with the logits it is fitted to."""

_TOLERANCE = 1e-5


def correct(
    predictions: Predictions,
    correction: Correction,
    *,
    y_mean: Tensor,
    law: MixingLaw,
    temperature: float | None = None,
) -> Tensor:
    """Logits after one correction.

    - raw: f(x)
    - rescaled: (f(x̃) − (1 − θ̄) ȳ) / θ̄, equation 22
    - shrink-only: f(x̃), its inner half
    - scale-only: (f(x) − (1 − θ̄) ȳ) / θ̄, its outer half
    - two-views: the mean of rescaled and scale-only, from two passes
    - temperature: f(x) / T
    - rescaled+temperature: rescaled / T'

    Args:
        predictions: f(x) and f(x̃).
        correction: one of `CORRECTIONS`.
        y_mean: ȳ, the class means of the training labels, shape (c,). For two classes also the
            mean of one 0/1 label, shape () or (1,).
        law: law of λ that sets θ̄, the one of the predictions.
        temperature: T or T', for the two corrections that divide by one.

    Returns:
        Logits, float64, shape (n, c).

    Raises:
        ValueError: an unknown correction, means that do not fit the logits or are no shares of
            classes, or a temperature missing, not positive, or given where none is used.

    Example:
        >>> from mixreg import Beta
        >>> p = Predictions(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0]]),
        ...                 torch.tensor([0]))
        >>> correct(p, "rescaled", y_mean=torch.tensor([0.5, 0.5]), law=Beta(1.0))
        tensor([[ 2.5000, -0.1667]], dtype=torch.float64)
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"correction must be one of {', '.join(CORRECTIONS)}; got {correction!r}")
    if (correction in UNTEMPERED) != (temperature is not None):
        verb = "needs a" if temperature is None else "uses no"
        raise ValueError(f"the correction {correction!r} {verb} temperature, got {temperature}")
    if temperature is not None:
        inner = correct(predictions, UNTEMPERED[correction], y_mean=y_mean, law=law)
        return apply_temperature(inner, temperature)
    raw, shrunk = (z.to(torch.float64) for z in (predictions.raw, predictions.shrunk))
    views = {"rescaled": shrunk, "shrink-only": shrunk, "two-views": (raw + shrunk) / 2}
    logits = views.get(correction, raw)
    if correction in ("rescaled", "scale-only", "two-views"):
        return unshrink(logits, _class_means(y_mean, predictions.num_classes), law)
    return logits


def _class_means(y_mean: Tensor, num_classes: int) -> Tensor:
    """ȳ as (c,) in float64; the mean of one binary label becomes (1 − ȳ, ȳ)."""
    mean = y_mean.detach().to("cpu", torch.float64)
    if mean.numel() == 1 and num_classes == 2:
        mean = torch.cat([1 - mean.reshape(1), mean.reshape(1)])
    if mean.shape != (num_classes,):
        raise ValueError(
            f"y_mean must have shape ({num_classes},) for logits with {num_classes} columns, "
            f"got {tuple(y_mean.shape)}; take it from TrainingStatistics.y_mean"
        )
    if not (mean >= 0).all() or not abs(float(mean.sum()) - 1) <= _TOLERANCE:
        raise ValueError(
            "y_mean must hold the shares of the classes, at least 0 and with sum 1, got "
            f"{[round(share, 6) for share in mean[:5].tolist()]} with sum {float(mean.sum()):.6g}; "
            "take it from TrainingStatistics.y_mean"
        )
    return mean


class Cost(NamedTuple):
    """What a correction asks for; held-out labels are dearer than a second pass."""

    held_out: bool = False
    passes: int = 1


COSTS: dict[Correction, Cost] = {
    name: Cost(held_out=name in UNTEMPERED, passes=2 if name == "two-views" else 1)
    for name in CORRECTIONS
}


@dataclass(frozen=True)
class Choice:
    """A correction, and the grounds for it.

    Args:
        correction: the one to use.
        best: the one with the lowest mean NLL of those that lower it.
        effects: NLL of each correction less that of the raw prediction.
        gap: NLL of `best` less that of `correction`, None where they are one.
        split: the examples that decided.
    """

    correction: Correction
    best: Correction
    effects: dict[Correction, MeanInterval]
    gap: MeanInterval | None
    split: Literal["validation", "test"]


def choose(
    names: Iterable[Correction],
    gap: Callable[[Correction, Correction], MeanInterval | None],
    split: Literal["validation", "test"],
) -> Choice:
    """The cheapest correction that lowers the NLL and is not shown to be worse than the best one.

    A correction lowers the NLL where all of the interval of the difference to the raw prediction
    lies below 0; the best of these has the lowest mean. Of those whose difference to it has no
    interval above 0, the one is taken that costs least, and of equal costs the one with the lowest
    mean. Where none lowers the NLL, the raw prediction is kept.

    Args:
        names: the corrections to choose from.
        gap: NLL of one correction less that of another, with its interval; None where unknown.
        split: the examples that the NLL was measured on.

    Returns:
        The choice with its grounds.

    Example:
        >>> nll = {"raw": 1.2, "rescaled": 1.0, "temperature": 0.99}
        >>> choose(nll, lambda a, b: MeanInterval(nll[a] - nll[b], 0.05, 9), "test").correction
        'rescaled'
    """
    effects: dict[Correction, MeanInterval] = {}
    for name in names:
        if name != "raw" and (effect := gap(name, "raw")):
            effects[name] = effect
    lower = [name for name, effect in effects.items() if effect.sign < 0]
    if not lower:
        return Choice("raw", "raw", effects, None, split)
    best = min(lower, key=lambda name: effects[name].mean)
    to_best = {name: gap(best, name) for name in lower if name != best}
    as_good = [best, *(n for n, between in to_best.items() if between and between.sign >= 0)]
    chosen = min(as_good, key=lambda name: (COSTS[name], effects[name].mean))
    return Choice(chosen, best, effects, to_best.get(chosen), split)
