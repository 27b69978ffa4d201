"""Evaluated runs in groups that differ in their seeds alone, asked for means and differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from mixreg.evaluation import (
    CORRECTIONS,
    Choice,
    CorrectedResult,
    Correction,
    Evaluation,
    MeanInterval,
    MetricName,
    choose,
)
from mixreg.report.records import Records, mean_over_seeds, paired, records_of

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

    def records(self, setting: str) -> Records:
        """Its numbers as records."""
        return records_of(
            self.evaluation,
            setting=setting,
            method=self.method,
            alpha=self.alpha,
            seed=self.seed,
        )


Row = tuple[Group, Correction]


class Groups:
    """Runs by group, the baseline first, by seed within."""

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
        matching = [group for group in groups if group.method == baseline]
        if len(matching) != 1:
            names = ", ".join(dict.fromkeys(group.method for group in groups))
            problem = f"stands for {len(matching)} values of α" if matching else "has no runs"
            raise ValueError(f"the baseline {baseline!r} {problem}; the methods run are: {names}")
        (self.baseline,) = matching
        self.runs: dict[Group, list[RunResult]] = {
            group: sorted((r for r in runs if r.group == group), key=lambda run: run.seed)
            for group in dict.fromkeys([self.baseline, *groups])
        }
        for group in self.runs:
            if len(set(seeds := self.seeds(group))) < len(seeds):
                raise ValueError(f"{group.label} has several runs with one seed: {seeds}")
        self.all_runs = [run for members in self.runs.values() for run in members]
        self.rows = [(group, name) for group in self.runs for name in self.corrections(group)]
        """Every correction of every group."""

    def seeds(self, group: Group) -> list[int]:
        """The seeds of a group."""
        return [run.seed for run in self.runs[group]]

    def results(self, group: Group, correction: Correction) -> dict[int, CorrectedResult]:
        """The results of a correction by seed, of the runs that have it."""
        results = {run.seed: run.evaluation.results.get(correction) for run in self.runs[group]}
        return {seed: result for seed, result in results.items() if result is not None}

    def corrections(self, group: Group) -> list[Correction]:
        """The corrections that a group has."""
        return [name for name in CORRECTIONS if self.results(group, name)]

    def values(self, group: Group, correction: Correction, metric: str) -> dict[int, float]:
        """A metric, unscaled, or the temperature, by seed."""
        results = self.results(group, correction)
        if metric == "temperature":
            return {s: r.temperature for s, r in results.items() if r.temperature is not None}
        return {seed: getattr(result.metrics, metric) for seed, result in results.items()}

    def mean(self, group: Group, correction: Correction, metric: str) -> MeanInterval | None:
        """Its mean over seeds, None where there is none."""
        return mean_over_seeds(self.values(group, correction, metric))

    def effect(
        self, group: Group, correction: Correction, metric: MetricName, reference: Reference
    ) -> MeanInterval | None:
        """The difference to raw, paired by example for one model, else by seed; None for none."""
        raw: Row = (self.baseline if reference == "baseline" else group, "raw")
        if raw == (group, correction):
            return None
        if group == raw[0] and self.by_examples(group):
            effects = self.runs[group][0].evaluation.results[correction].effects or {}
            if effect := effects.get(metric):
                return effect
        return self.gap((group, correction), raw, metric)

    def gap(self, first: Row, second: Row, metric: str) -> MeanInterval | None:
        """The difference of two predictions, paired by seed."""
        return mean_over_seeds(paired(self.values(*first, metric), self.values(*second, metric)))

    def by_examples(self, group: Group) -> bool:
        """Whether the group is one model, evaluated with intervals by test examples."""
        return len(self.runs[group]) == 1 and self.runs[group][0].evaluation.choice is not None

    def choice(self, group: Group) -> Choice | None:
        """The correction to use: for one model by examples, for several by seeds."""
        if len(self.runs[group]) == 1:
            return self.runs[group][0].evaluation.choice
        names = self.corrections(group)
        held_out = {
            name: {s: r.held_out.nll for s, r in self.results(group, name).items() if r.held_out}
            for name in names
        }
        tested = {name: self.values(group, name, "nll") for name in names}
        is_held_out = all(held_out[name].keys() == tested[name].keys() for name in names)
        nll = held_out if is_held_out else tested
        return choose(
            names,
            lambda first, second: mean_over_seeds(paired(nll[first], nll[second])),
            "validation" if is_held_out else "test",
        )

    def theta_mean(self, group: Group) -> float:
        """θ̄ of the law that the corrections of a group use."""
        return self.runs[group][0].evaluation.theta_mean

    @property
    def judged(self) -> list[Group]:
        """All groups but the baseline, or the baseline if it is the only one."""
        return list(self.runs)[1:] or list(self.runs)
