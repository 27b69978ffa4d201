"""The finished runs of one setting, asked for one number by seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixreg.evaluation import Correction, Evaluation, MetricName
from mixreg.experiments.images.measurement import read_evaluation, read_terms
from mixreg.experiments.images.runs import ALPHA
from mixreg.report import RunResult
from mixreg.training import RunDirectory, TrainConfig

BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Outcome:
    """One finished run.

    Args:
        config: the run.
        evaluations: its evaluation by the α of the rescaling.
        history: one entry an epoch.
        terms: the terms of the approximate Mixup risk at its snapshots, if it has any.
        environment: versions and hardware it was trained with.
    """

    config: TrainConfig
    evaluations: Mapping[float, Evaluation]
    history: Sequence[Mapping[str, float]]
    terms: Sequence[Mapping[str, float]]
    environment: Mapping[str, Any]


@dataclass(frozen=True)
class Outcomes:
    """The finished runs of one setting.

    Args:
        runs: the runs.
    """

    runs: Sequence[Outcome]

    def of(self, method: str, alpha: float = ALPHA) -> list[Outcome]:
        """The runs of a method, by seed.

        Args:
            method: how they were trained.
            alpha: α they were trained with.

        Returns:
            The runs; none if there are none.
        """
        found = [r for r in self.runs if (r.config.method, r.config.alpha) == (method, alpha)]
        return sorted(found, key=lambda outcome: outcome.config.seed)

    def metric(
        self, method: str, correction: Correction, name: MetricName, alpha: float = ALPHA
    ) -> BySeed:
        """A metric of the test set.

        Args:
            method: how the runs were trained.
            correction: how they predict.
            name: the metric.
            alpha: α of the training; for ERM, of the rescaling.

        Returns:
            Values by seed.
        """
        runs = self.of(method, ALPHA if method == "erm" else alpha)
        found = {run.config.seed: run.evaluations[alpha].results.get(correction) for run in runs}
        return {seed: getattr(r.metrics, name) for seed, r in found.items() if r is not None}

    def last(self, method: str, name: str) -> BySeed:
        """A number of the history at the end of training.

        Args:
            method: how the runs were trained.
            name: name in the history.

        Returns:
            Values by seed.
        """
        return {run.config.seed: run.history[-1][name] for run in self.of(method)}

    def last_term(self, method: str, name: str) -> BySeed:
        """A term of the approximate Mixup risk at the last snapshot.

        Args:
            method: how the runs were trained.
            name: name of the term.

        Returns:
            Values by seed.
        """
        return {run.config.seed: run.terms[-1][name] for run in self.of(method) if run.terms}

    def results(self, method: str, alpha: float = ALPHA) -> list[RunResult]:
        """The runs of a method as the pictures of the report take them.

        Args:
            method: how they were trained.
            alpha: α they were trained with.

        Returns:
            One result a run, rescaled with its own α.
        """
        return [
            RunResult(method, run.config.seed, alpha, run.evaluations[alpha], run.history)
            for run in self.of(method, alpha)
        ]


def read_outcomes(
    runs: Iterable[TrainConfig], alphas: Sequence[float], samples: int
) -> dict[str, Outcomes]:
    """Read what finished and measured runs left.

    Args:
        runs: the runs.
        alphas: values of α that runs without mixing were rescaled with.
        samples: training images that the terms were evaluated on.

    Returns:
        The outcomes by name of the setting.

    Raises:
        CheckpointError: a run is unfinished or damaged.
    """
    found: dict[str, list[Outcome]] = {}
    for config in runs:
        setting = f"{config.data}-{config.model}"
        found.setdefault(setting, []).append(_read(config, alphas, samples))
    return {setting: Outcomes(outcomes) for setting, outcomes in found.items()}


def _read(config: TrainConfig, alphas: Sequence[float], samples: int) -> Outcome:
    run = RunDirectory(config.directory)
    used = {config.alpha, *alphas} if config.method == "erm" else {config.alpha}
    return Outcome(
        config=config,
        evaluations={alpha: read_evaluation(run, config, alpha) for alpha in sorted(used)},
        history=run.read_result().history,
        terms=read_terms(run, samples) if config.snapshots else (),
        environment=run.read_environment(),
    )
