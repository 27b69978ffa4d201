"""One long table of measured numbers: what every experiment leaves and every page is made from."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import NamedTuple

from mixreg.evaluation import Evaluation, MeanInterval, mean_interval
from mixreg.report.numbers import metric_format


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
        values = list(self.by_seed(metric, **wanted).values())
        return mean_interval(values) if values else None


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
    """Differences over the common seeds.

    Args:
        first: values by seed.
        second: values by seed, subtracted.

    Returns:
        Differences by seed.

    Example:
        >>> paired({0: 3.0, 1: 5.0}, {1: 4.0, 2: 1.0})
        {1: 1.0}
    """
    return {seed: first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())}
