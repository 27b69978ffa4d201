"""Which correction to use: a rule that takes no more than the intervals show."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mixreg.evaluation.corrections import Correction
from mixreg.evaluation.intervals import MeanInterval


class Cost(NamedTuple):
    """What a correction asks for; held-out labels are dearer than a second pass."""

    held_out: bool = False
    passes: int = 1


COSTS: dict[Correction, Cost] = {
    "raw": Cost(),
    "rescaled": Cost(),
    "shrink-only": Cost(),
    "scale-only": Cost(),
    "two-views": Cost(passes=2),
    "temperature": Cost(held_out=True),
    "rescaled+temperature": Cost(held_out=True),
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
