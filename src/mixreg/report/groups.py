"""Evaluated runs in groups that differ in their seeds alone, asked for means and differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from mixreg.evaluation import CORRECTIONS, Correction, Evaluation, MeanInterval, mean_interval
from mixreg.report.records import paired

Reference = Literal["baseline", "raw"]


class Group(NamedTuple):
    """How a group of runs was trained; the runs of one group differ in their seeds alone."""

    method: str
    alpha: float | None

    @property
    def label(self) -> str:
        """Name in tables and pictures."""
        return self.method if self.alpha is None else f"{self.method} (α = {self.alpha:g})"


@dataclass(frozen=True)
class RunResult:
    """One trained and evaluated model.

    Args:
        method: how it was trained, such as "erm" or "mixup".
        seed: seed of the run; runs of different methods with one seed are paired.
        alpha: α of the law it was trained with, None for methods that mix nothing.
        evaluation: its metrics on the test set.
        history: one entry an epoch, each with "epoch" and any other numbers by name.
        config: settings, JSON-safe.
        environment: versions and hardware, JSON-safe.
    """

    method: str
    seed: int
    alpha: float | None
    evaluation: Evaluation
    history: Sequence[Mapping[str, float]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> Group:
        """The group the run belongs to."""
        return Group(self.method, self.alpha)


class Groups:
    """Runs by group, the baseline first, by seed within.

    Raises:
        ValueError: no runs, two of the same method, α and seed, other test sets, or a baseline
            that is none of the methods or stands for several α.
    """

    def __init__(self, runs: Sequence[RunResult], baseline: str) -> None:
        if not runs:
            raise ValueError("need at least one run to compare, got none")
        tests = {(run.evaluation.count, run.evaluation.num_classes) for run in runs}
        if len(tests) > 1:
            raise ValueError(
                "runs must be evaluated on one test set, got sets of (examples, classes) "
                f"{sorted(tests)}"
            )
        groups = list(dict.fromkeys(run.group for run in runs))
        self.baseline = _baseline(groups, baseline)
        self.runs: dict[Group, list[RunResult]] = {
            group: sorted((r for r in runs if r.group == group), key=lambda run: run.seed)
            for group in dict.fromkeys([self.baseline, *groups])
        }
        for group, members in self.runs.items():
            seeds = [run.seed for run in members]
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"{group.label} has several runs with one seed: {seeds}")

    @property
    def all_runs(self) -> list[RunResult]:
        """The runs in the order of the groups."""
        return [run for members in self.runs.values() for run in members]

    def corrections(self, group: Group) -> list[Correction]:
        """The corrections that a group has."""
        results = [run.evaluation.results for run in self.runs[group]]
        return [name for name in CORRECTIONS if any(name in found for found in results)]

    def rows(self) -> Iterator[tuple[Group, Correction]]:
        """Every correction of every group."""
        for group in self.runs:
            for correction in self.corrections(group):
                yield group, correction

    def values(self, group: Group, correction: Correction, metric: str) -> dict[int, float]:
        """A metric, unscaled, or the temperature, by seed."""
        found = {run.seed: run.evaluation.results.get(correction) for run in self.runs[group]}
        if metric == "temperature":
            values = {seed: result.temperature for seed, result in found.items() if result}
        else:
            values = {s: getattr(result.metrics, metric) for s, result in found.items() if result}
        return {seed: value for seed, value in values.items() if value is not None}

    def mean(self, group: Group, correction: Correction, metric: str) -> MeanInterval | None:
        """Its mean over seeds, None where there is none."""
        return _mean(self.values(group, correction, metric))

    def effect(
        self, group: Group, correction: Correction, metric: str, reference: Reference
    ) -> MeanInterval | None:
        """The paired difference to raw, None for that itself and without common seeds."""
        other = self.baseline if reference == "baseline" else group
        if (group, correction) == (other, "raw"):
            return None
        return self.gap((group, correction), (other, "raw"), metric)

    def gap(
        self, first: tuple[Group, Correction], second: tuple[Group, Correction], metric: str
    ) -> MeanInterval | None:
        """The difference of two predictions, paired by seed."""
        return _mean(paired(self.values(*first, metric), self.values(*second, metric)))

    def theta_mean(self, group: Group) -> float:
        """θ̄ of the law that the corrections of a group use."""
        return self.runs[group][0].evaluation.theta_mean


def _baseline(groups: Sequence[Group], method: str) -> Group:
    matching = [group for group in groups if group.method == method]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(dict.fromkeys(group.method for group in groups))
    problem = f"stands for {len(matching)} values of α" if matching else "has no runs"
    raise ValueError(f"the baseline {method!r} {problem}; the methods run are: {names}")


def _mean(values: Mapping[int, float]) -> MeanInterval | None:
    return mean_interval(list(values.values())) if values else None
