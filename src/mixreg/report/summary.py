"""Runs over seeds summed up: means, differences to the baseline, effects of each correction."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mixreg.evaluation import (
    CORRECTIONS,
    METRICS,
    Correction,
    MeanInterval,
    MetricName,
    mean_interval,
    paired_difference,
)
from mixreg.report.remarks import remarks
from mixreg.report.results import Group, RunResult

BySeed = dict[int, float]


@dataclass(frozen=True)
class Row:
    """One correction of one group of runs.

    Args:
        group: the group.
        correction: the correction.
        values: each metric by seed.
        means: each metric's mean over seeds.
        to_baseline: each metric's paired difference to the raw prediction of the baseline; None
            for that row itself, and without common seeds.
        to_raw: each metric's paired difference to the raw prediction of the same models; None
            for the raw prediction.
        theta_mean: θ̄ of the law the corrections use.
        temperature: mean of the fitted temperatures, None for corrections without one.
    """

    group: Group
    correction: Correction
    values: dict[MetricName, BySeed]
    means: dict[MetricName, MeanInterval]
    to_baseline: dict[MetricName, MeanInterval] | None
    to_raw: dict[MetricName, MeanInterval] | None
    theta_mean: float
    temperature: MeanInterval | None


@dataclass(frozen=True)
class Comparison:
    """All groups and corrections side by side.

    Args:
        rows: by group, the baseline first, then by correction.
        baseline: the group that differences are taken to.
        count: number of test examples.
        num_classes: number of classes.
        remarks: what a reader has to know about holes in the numbers.
    """

    rows: tuple[Row, ...]
    baseline: Group
    count: int
    num_classes: int
    remarks: tuple[str, ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups, the baseline first."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    def row(self, group: Group, correction: Correction) -> Row | None:
        """One row.

        Args:
            group: the group.
            correction: the correction.

        Returns:
            The row, or None if the group has no such correction.
        """
        for row in self.rows:
            if row.group == group and row.correction == correction:
                return row
        return None

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON-safe values, without the single seeds.

        Returns:
            Values by name.
        """
        rows = [
            {
                "method": row.group.method,
                "alpha": row.group.alpha,
                "correction": row.correction,
                "theta_mean": row.theta_mean,
                "temperature": _plain(row.temperature),
                "means": _plain(row.means),
                "to_baseline": _plain(row.to_baseline),
                "to_raw": _plain(row.to_raw),
            }
            for row in self.rows
        ]
        return {
            "baseline": self.baseline.label,
            "count": self.count,
            "num_classes": self.num_classes,
            "rows": rows,
            "remarks": list(self.remarks),
        }


def summarize(runs: Sequence[RunResult], baseline_method: str) -> Comparison:
    """Means and paired differences over seeds.

    Differences pair the runs that share a seed; seeds that only one side has are left out of
    them, counted in their n, and remarked on.

    Args:
        runs: trained models, evaluated on one test set.
        baseline_method: method whose raw prediction differences are taken to.

    Returns:
        The comparison.

    Raises:
        ValueError: no runs, two of the same method, α and seed, other test sets, or a baseline
            that is none of the methods or stands for several α.
    """
    groups = _grouped(runs)
    baseline = _baseline(list(groups), baseline_method)
    ordered = {group: groups[group] for group in (baseline, *groups)}
    reference = _by_seed(groups[baseline], "raw")
    rows = [row for group in ordered for row in _rows(group, groups[group], reference)]
    rows[0] = dataclasses.replace(rows[0], to_baseline=None)
    first = runs[0].evaluation
    return Comparison(
        tuple(rows), baseline, first.count, first.num_classes, remarks(ordered, baseline)
    )


def _rows(
    group: Group, runs: Sequence[RunResult], reference: dict[MetricName, BySeed]
) -> Iterator[Row]:
    raw = _by_seed(runs, "raw")
    for correction in CORRECTIONS:
        values = _by_seed(runs, correction)
        if not values["accuracy"]:
            continue
        temperatures = _temperatures(runs, correction)
        yield Row(
            group=group,
            correction=correction,
            values=values,
            means={name: mean_interval(list(v.values())) for name, v in values.items()},
            to_baseline=_differences(values, reference),
            to_raw=None if correction == "raw" else _differences(values, raw),
            theta_mean=runs[0].evaluation.theta_mean,
            temperature=mean_interval(temperatures) if temperatures else None,
        )


def _grouped(runs: Sequence[RunResult]) -> dict[Group, list[RunResult]]:
    """Runs by group, in the order they came, by seed within."""
    if not runs:
        raise ValueError("need at least one run to compare, got none")
    groups: dict[Group, list[RunResult]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    for group, members in groups.items():
        members.sort(key=lambda run: run.seed)
        seeds = [run.seed for run in members]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{group.label} has several runs with one seed: {seeds}")
    tests = {(run.evaluation.count, run.evaluation.num_classes) for run in runs}
    if len(tests) > 1:
        raise ValueError(
            "runs must be evaluated on one test set, got sets of (examples, classes) "
            f"{sorted(tests)}"
        )
    return groups


def _baseline(groups: list[Group], method: str) -> Group:
    found = [group for group in groups if group.method == method]
    if len(found) == 1:
        return found[0]
    names = ", ".join(dict.fromkeys(group.method for group in groups))
    problem = f"stands for {len(found)} values of α" if found else "has no runs"
    raise ValueError(f"the baseline {method!r} {problem}; the methods run are: {names}")


def _by_seed(runs: Sequence[RunResult], correction: Correction) -> dict[MetricName, BySeed]:
    found = {r.seed: r.evaluation.results.get(correction) for r in runs}
    return {
        name: {s: getattr(result.metrics, name) for s, result in found.items() if result}
        for name in METRICS
    }


def _temperatures(runs: Sequence[RunResult], correction: Correction) -> list[float]:
    results = [run.evaluation.results.get(correction) for run in runs]
    return [r.temperature for r in results if r is not None and r.temperature is not None]


def _differences(
    values: dict[MetricName, BySeed], reference: dict[MetricName, BySeed]
) -> dict[MetricName, MeanInterval] | None:
    """Paired differences of every metric over the seeds that both sides have."""
    common = values["accuracy"].keys() & reference["accuracy"].keys()
    if not common:
        return None
    return {
        name: paired_difference(
            {seed: values[name][seed] for seed in common},
            {seed: reference[name][seed] for seed in common},
        )
        for name in METRICS
    }


def _plain(value: Any) -> Any:
    """Intervals as dictionaries."""
    if isinstance(value, MeanInterval):
        return value._asdict()
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return value
