"""How numbers are written and judged, the same in every table, picture and sentence."""

import math
from typing import Literal, NamedTuple

from mixreg.evaluation import MeanInterval, MetricName
from mixreg.report.claims import Claim

Judgement = Literal["better", "worse", "undecided"]


class Scale(NamedTuple):
    """How one metric is shown.

    `direction` is 1 where higher is better, −1 where lower is, 0 where neither is. Shown values
    are `factor` times the metric, in `unit`; differences are in `step`.
    """

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


SCALES: dict[MetricName, Scale] = {
    "accuracy": Scale("Accuracy", 1, 100, 2, "%", "points"),
    "nll": Scale("NLL", -1, 1, 4, "nats", "nats"),
    "ece": Scale("ECE", -1, 100, 2, "%", "points"),
    "brier": Scale("Brier", -1, 1, 4, "", ""),
    "entropy": Scale("Entropy", 0, 1, 3, "nats", "nats"),
    "confidence": Scale("Confidence", 0, 100, 2, "%", "points"),
}

_MOST_DIGITS = 6
"""Decimals from which a value is written with its power of ten."""

JUDGED: tuple[MetricName, ...] = ("accuracy", "nll", "ece", "brier")
"""Metrics with a better side."""


def judge(difference: MeanInterval, direction: int) -> Judgement:
    """Better or worse only where the whole 95% interval of a paired difference says so.

    Args:
        difference: mean of the differences over seeds with its interval.
        direction: 1 where higher is better, −1 where lower is.

    Returns:
        The judgement; one seed alone is always undecided.

    Example:
        >>> judge(MeanInterval(0.5, 0.2, 5), -1), judge(MeanInterval(0.5, 0.6, 5), -1)
        ('worse', 'undecided')
    """
    side = difference.sign * direction
    return "better" if side > 0 else "worse" if side < 0 else "undecided"


def number(value: float, scale: Scale, *, signed: bool = False) -> str:
    """A value in the digits of its metric, with a true minus sign.

    Args:
        value: the metric, unscaled.
        scale: how the metric is shown.
        signed: put a plus before positive values.

    Returns:
        The text; a value that rounds to zero has no sign.

    Example:
        >>> number(-0.0123, SCALES["accuracy"]), number(0.5, SCALES["nll"], signed=True)
        ('−1.23', '+0.5000')
    """
    text = f"{abs(value * scale.factor):.{scale.digits}f}"
    if float(text) == 0:
        return text
    return f"{'−' if value < 0 else '+' if signed else ''}{text}"


def mean_text(interval: MeanInterval, scale: Scale) -> str:
    """Mean ± half the width of its interval; the mean alone for one seed.

    Args:
        interval: mean over seeds.
        scale: how the metric is shown.

    Returns:
        The text.

    Example:
        >>> mean_text(MeanInterval(0.912, 0.004, 5), SCALES["accuracy"])
        '91.20 ± 0.40'
    """
    mean = number(interval.mean, scale)
    if interval.half_width is None:
        return mean
    return f"{mean} ± {number(interval.half_width, scale)}"


def range_text(interval: MeanInterval, scale: Scale) -> str:
    """Ends of the interval of a difference.

    Args:
        interval: mean difference over seeds.
        scale: how the metric is shown.

    Returns:
        The text, or "no interval" for one seed.

    Example:
        >>> range_text(MeanInterval(-0.01, 0.004, 5), SCALES["accuracy"])
        '−1.40 to −0.60'
    """
    if interval.low is None or interval.high is None:
        return "no interval"
    return (
        f"{number(interval.low, scale, signed=True)} to {number(interval.high, scale, signed=True)}"
    )


def effect_texts(effect: MeanInterval) -> tuple[str, str]:
    """An effect of any size in the digits that its interval warrants.

    Args:
        effect: mean difference over seeds.

    Returns:
        The mean, and the ends of the interval or "no interval" for one seed.

    Example:
        >>> effect_texts(MeanInterval(-0.02268, 0.01059, 30))
        ('−0.023', '−0.033 to −0.012')
        >>> effect_texts(MeanInterval(0.0625, None, 1))
        ('+0.0625', 'no interval')
        >>> effect_texts(MeanInterval(6.4e-15, 2.1e-15, 3))
        ('+6.4e−15', '+4.3e−15 to +8.5e−15')
    """
    size, shown = (effect.half_width, 2) if effect.half_width else (abs(effect.mean), 3)
    digits = max(shown - 1 - math.floor(math.log10(size)), 0) if size else 0
    if digits > _MOST_DIGITS:
        return _tiny(effect.mean), " to ".join(map(_tiny, _ends(effect))) or "no interval"
    scale = Scale("", 0, 1, digits, "", "")
    return number(effect.mean, scale, signed=True), range_text(effect, scale)


def _ends(effect: MeanInterval) -> tuple[float, ...]:
    return () if effect.low is None or effect.high is None else (effect.low, effect.high)


def _tiny(value: float) -> str:
    """A value with its power of ten."""
    return f"{value:+.1e}".replace("-", "−")


def claim_text(claim: Claim) -> str:
    """A claim with its measured effect and verdict in one sentence.

    Args:
        claim: the tested sentence.

    Returns:
        The text.

    Example:
        >>> effect = MeanInterval(0.4, 0.1, 5)
        >>> claim_text(Claim("Rescaling helps.", "section 4", "digits", "accuracy", effect,
        ...                  "positive"))
        'Rescaling helps (section 4; digits): holds; accuracy +0.40, 95% CI +0.30 to +0.50, n = 5.'
    """
    mean, interval = effect_texts(claim.effect)
    found = interval if claim.effect.half_width is None else f"95% CI {interval}"
    return (
        f"{claim.statement.rstrip('.')} ({claim.place}; {claim.setting}): {claim.verdict}; "
        f"{claim.measured} {mean}, {found}, n = {claim.effect.n}."
    )
