"""How numbers are written and judged, the same in every table, picture and sentence."""

import math
from typing import Literal, NamedTuple, cast

from mixreg.evaluation import MeanInterval, MetricName

Judgement = Literal["better", "worse", "undecided"]


class MetricFormat(NamedTuple):
    """How one metric is shown."""

    label: str
    direction: int
    factor: float
    digits: int
    unit: str
    step: str

    @property
    def heading(self) -> str:
        """Name with the unit and an arrow to the better side."""
        unit = f" ({self.unit})" if self.unit else ""
        arrow = {1: " ↑", -1: " ↓", 0: ""}[self.direction]
        return f"{self.label}{unit}{arrow}"


METRIC_FORMATS: dict[MetricName, MetricFormat] = {
    "accuracy": MetricFormat("Accuracy", 1, 100, 2, "%", "points"),
    "nll": MetricFormat("NLL", -1, 1, 4, "nats", "nats"),
    "ece": MetricFormat("ECE", -1, 100, 2, "%", "points"),
    "brier": MetricFormat("Brier", -1, 1, 4, "", ""),
    "entropy": MetricFormat("Entropy", 0, 1, 3, "nats", "nats"),
    "confidence": MetricFormat("Confidence", 0, 100, 2, "%", "points"),
}
JUDGED: tuple[MetricName, ...] = ("accuracy", "nll", "ece", "brier")
"""Metrics with a better side."""

_MOST_DIGITS = 6
"""Decimals from which a value is written with its power of ten."""


def metric_format(metric: str) -> MetricFormat:
    """How a metric is shown; unknown ones as they are."""
    plain = MetricFormat(metric, 0, 1, 4, "", "")
    return METRIC_FORMATS.get(cast(MetricName, metric), plain)


def judge(difference: MeanInterval, direction: int) -> Judgement:
    """Better or worse only where the whole 95% interval of a paired difference says so."""
    side = difference.sign * direction
    return "better" if side > 0 else "worse" if side < 0 else "undecided"


def number(value: float, form: MetricFormat, *, signed: bool = False) -> str:
    """A value in the digits of its metric, with a true minus sign; what rounds to 0 has no sign."""
    text = f"{abs(value * form.factor):.{form.digits}f}"
    if float(text) == 0:
        return text
    return f"{'−' if value < 0 else '+' if signed else ''}{text}"


def mean_text(mean: MeanInterval, form: MetricFormat) -> str:
    """Mean ± half the width of its interval; the mean alone for one seed."""
    half = "" if mean.half_width is None else f" ± {number(mean.half_width, form)}"
    return number(mean.mean, form) + half


def range_text(mean: MeanInterval, form: MetricFormat) -> str:
    """Ends of the interval of a difference, "no interval" for one seed."""
    ends = (number(end, form, signed=True) for end in _ends(mean))
    return " to ".join(ends) or "no interval"


def effect_texts(effect: MeanInterval) -> tuple[str, str]:
    """An effect of any size in the digits that its interval warrants, and its interval."""
    size, digits = (effect.half_width, 2) if effect.half_width else (abs(effect.mean), 3)
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0) if size else 0
    if decimals > _MOST_DIGITS:
        return _tiny(effect.mean), " to ".join(map(_tiny, _ends(effect))) or "no interval"
    form = MetricFormat("", 0, 1, decimals, "", "")
    return number(effect.mean, form, signed=True), range_text(effect, form)


def _ends(mean: MeanInterval) -> tuple[float, ...]:
    return () if mean.low is None or mean.high is None else (mean.low, mean.high)


def _tiny(value: float) -> str:
    return f"{value:+.1e}".replace("-", "−")
