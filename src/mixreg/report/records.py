"""Measured numbers: kept as records, judged by their intervals, written, and held to claims."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, cast

from mixreg.evaluation import Evaluation, MeanInterval, MetricName, mean_interval

Judgement = Literal["better", "worse", "undecided"]
Expected = Literal["positive", "negative", "zero"]
Verdict = Literal["holds", "does not hold", "undecided"]
OPPOSITE: dict[Expected, Expected] = {"positive": "negative", "negative": "positive"}


class MetricFormat(NamedTuple):
    """How one metric is shown; by default as it is."""

    label: str
    direction: int = 0
    factor: float = 1
    digits: int = 4
    unit: str = ""
    step: str = ""

    @property
    def heading(self) -> str:
        """Name with the unit and an arrow to the better side."""
        unit = f" ({self.unit})" if self.unit else ""
        return self.label + unit + {1: " ↑", -1: " ↓", 0: ""}[self.direction]

    def shown(self, mean: MeanInterval) -> MeanInterval:
        """A mean and its interval in the unit."""
        half = None if mean.half_width is None else self.factor * mean.half_width
        return MeanInterval(self.factor * mean.mean, half, mean.n)


METRIC_FORMATS: dict[MetricName, MetricFormat] = {
    "accuracy": MetricFormat("Accuracy", 1, 100, 2, "%", "points"),
    "nll": MetricFormat("NLL", -1, 1, 4, "nats", "nats"),
    "ece": MetricFormat("ECE", -1, 100, 2, "%", "points"),
    "brier": MetricFormat("Brier", -1),
    "entropy": MetricFormat("Entropy", 0, 1, 3, "nats", "nats"),
    "confidence": MetricFormat("Confidence", 0, 100, 2, "%", "points"),
}
JUDGED: tuple[MetricName, ...] = ("accuracy", "nll", "ece", "brier")
"""Metrics with a better side."""
_MOST_DIGITS = 6
"""Decimals beyond which an effect is written with its power of ten."""


def metric_format(metric: str) -> MetricFormat:
    """How a metric is shown; unknown ones as they are."""
    return METRIC_FORMATS.get(cast(MetricName, metric), MetricFormat(metric))


def judge(difference: MeanInterval, direction: int) -> Judgement:
    """Better or worse only where the whole 95% interval of a paired difference says so."""
    side = difference.sign * direction
    return "better" if side > 0 else "worse" if side < 0 else "undecided"


def number(value: float, form: MetricFormat, *, signed: bool = False) -> str:
    """A value in the digits of its metric, with a true minus sign; what rounds to 0 has no sign."""
    text = f"{abs(value * form.factor):.{form.digits}f}"
    sign = "" if float(text) == 0 else "−" if value < 0 else "+" if signed else ""
    return sign + text


def mean_text(mean: MeanInterval, form: MetricFormat) -> str:
    """Mean ± half the width of its interval; the mean alone for one seed."""
    half = "" if mean.half_width is None else f" ± {number(mean.half_width, form)}"
    return number(mean.mean, form) + half


def range_text(mean: MeanInterval, form: MetricFormat) -> str:
    """Ends of the interval of a difference, "no interval" for one seed."""
    if mean.low is None or mean.high is None:
        return "no interval"
    return f"{number(mean.low, form, signed=True)} to {number(mean.high, form, signed=True)}"


def difference_text(effect: MeanInterval, form: MetricFormat) -> str:
    """A difference with its unit and its interval."""
    step = f" {form.step}" if form.step else ""
    return f"{number(effect.mean, form, signed=True)}{step}, 95% CI {range_text(effect, form)}"


def effect_texts(effect: MeanInterval) -> tuple[str, str]:
    """An effect of any size in the digits that its interval warrants, and its interval."""
    size, digits = (effect.half_width, 2) if effect.half_width else (abs(effect.mean), 3)
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0) if size else 0
    form = MetricFormat("", digits=decimals)
    if decimals <= _MOST_DIGITS:
        return number(effect.mean, form, signed=True), range_text(effect, form)
    values = (effect.mean, effect.low, effect.high)
    mean, *ends = [f"{v:+.1e}".replace("-", "−") for v in values if v is not None]
    return mean, " to ".join(ends) or "no interval"


def multiplicity(judged: str, count: int) -> str:
    """The caveat of so many intervals; `judged` says what they are."""
    by_chance = max(1, round(count / 20))
    return (
        f"Many comparisons: {judged}. If nothing differed at all, about {by_chance} of them would "
        "still exclude 0; none is widened for that."
    )


class Record(NamedTuple):
    """One number: on what it was measured, what was trained how, predicted how, and measured.

    Args:
        setting: data set and model.
        method: how the model was trained.
        alpha: α of the law it was trained with, or is rescaled with; None without one.
        seed: seed of the run; numbers of one seed are paired.
        prediction: how it predicts, such as "raw" or "rescaled".
        metric: what was measured.
        value: the number, in the unit of the metric.
    """

    setting: str
    method: str
    alpha: float | None
    seed: int
    prediction: str
    metric: str
    value: float


class Records(tuple[Record, ...]):
    """The table, asked for one number by seed.

    Example:
        >>> rows = [Record("digits", "erm", None, seed, "raw", "ece", 0.25) for seed in (0, 1)]
        >>> Records(rows).by_seed("ece", method="erm")
        {0: 25.0, 1: 25.0}
    """

    def where(self, **wanted: object) -> "Records":
        """The rows with these values."""
        return Records(r for r in self if all(getattr(r, k) == v for k, v in wanted.items()))

    def by_seed(self, metric: str, **wanted: object) -> dict[int, float]:
        """A metric by seed, in the unit it is shown in; two values for one seed are refused."""
        factor = metric_format(metric).factor
        values: dict[int, float] = {}
        for row in self.where(metric=metric, **wanted):
            value = factor * row.value
            if values.setdefault(row.seed, value) != value:
                raise ValueError(
                    f"{metric} has several values for seed {row.seed}: {values[row.seed]:g} and "
                    f"{value:g}; say of which setting, method, alpha and prediction it is wanted"
                )
        return values

    def mean(self, metric: str, **wanted: object) -> MeanInterval | None:
        """Its mean over seeds with the 95% interval, None where there is none."""
        return mean_over_seeds(self.by_seed(metric, **wanted))


def mean_over_seeds(values: Mapping[int, float]) -> MeanInterval | None:
    """The mean with its 95% interval, None without values."""
    return mean_interval(list(values.values())) if values else None


def records_of(
    evaluation: Evaluation, *, setting: str, method: str, alpha: float | None, seed: int
) -> Records:
    """Every metric, and the temperature, of every prediction of one evaluated classifier."""
    rows = []
    for prediction, result in evaluation.results.items():
        values = asdict(result.metrics)
        if result.temperature is not None:
            values["temperature"] = result.temperature
        rows += [Record(setting, method, alpha, seed, prediction, *v) for v in values.items()]
    return Records(rows)


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    """Differences over the common seeds, the second subtracted.

    Returns:
        Differences by seed.

    Example:
        >>> paired({0: 3.0, 1: 5.0}, {1: 4.0, 2: 1.0})
        {1: 1.0}
    """
    return {seed: first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())}


def half_way(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[float | None, str]:
    """How far from the first mean still counts as it, half the way to that of ERM; and in words."""
    if not first or not second:
        return None, ""
    a, b = (mean_interval(list(values.values())).mean for values in (first, second))
    margin = abs(a - b) / 2
    return (margin, f" (none within ±{margin:.2g}, half way to ERM)") if margin else (None, "")


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper with the effect it speaks of, measured.

    Args:
        statement: what the paper says, in one sentence.
        place: where it says so, such as "section 4, figure 4".
        setting: on what it was tested, such as "cifar10, lenet, α = 1".
        measured: what the effect is, such as "test NLL, rescaled − raw, paired by seed".
        effect: its mean over seeds with the 95% confidence interval.
        expected: the side of 0 on which the sentence puts the effect, or "zero".
        margin: how far from 0 an effect still counts as none; only where "zero" is expected.

    Raises:
        ValueError: the margin is not positive, or there is one where a side is expected.
    """

    statement: str
    place: str
    setting: str
    measured: str
    effect: MeanInterval
    expected: Expected
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.margin is not None and (self.expected != "zero" or not self.margin > 0):
            raise ValueError(
                f"a margin is a positive number and belongs to the expectation 'zero', got "
                f"{self.margin} for {self.expected!r}"
            )

    @property
    def verdict(self) -> Verdict:
        """What the whole interval says; one seed alone says nothing.

        A side holds where the interval lies on it. "zero" holds where the interval lies within
        the margin, and does not where it lies outside; without a margin, it can only fail.
        """
        low, high, margin = self.effect.low, self.effect.high, self.margin or 0.0
        if low is None or high is None:
            return "undecided"
        if self.expected == "zero":
            if self.margin is not None and -margin <= low and high <= margin:
                return "holds"
            return "does not hold" if low > margin or high < -margin else "undecided"
        side = self.effect.sign * (1 if self.expected == "positive" else -1)
        return "holds" if side > 0 else "does not hold" if side < 0 else "undecided"

    @property
    def text(self) -> str:
        """The claim with its measured effect and verdict in one sentence."""
        mean, interval = effect_texts(self.effect)
        if self.effect.half_width is not None:
            interval = f"95% CI {interval}"
        return (
            f"{self.statement.rstrip('.')} ({self.place}; {self.setting}): {self.verdict}; "
            f"{self.measured} {mean}, {interval}, n = {self.effect.n}."
        )


@dataclass(frozen=True)
class Sentence:
    """A sentence of the paper, and where it stands; tested, it is a claim.

    Example:
        >>> helps = Sentence("Rescaling helps.", "section 4")
        >>> (claim,) = helps.test("digits", "NLL", {0: -0.4, 1: -0.5}, "negative")
        >>> claim.measured, claim.verdict
        ('NLL, paired by seed', 'undecided')
    """

    statement: str
    place: str

    def test(
        self,
        setting: str,
        measured: str,
        effect: Mapping[int, float],
        expected: Expected,
        margin: float | None = None,
    ) -> Iterator[Claim]:
        """The claim that an effect, paired by seed, tests; nothing without seeds."""
        if mean := mean_over_seeds(effect):
            measured = f"{measured}, paired by seed"
            yield Claim(self.statement, self.place, setting, measured, mean, expected, margin)
