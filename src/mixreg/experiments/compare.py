"""The main job: methods × seeds on one data set, with every correction and its interval."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.experiments._plan import plan
from mixreg.experiments._sweep import SweepSettings, complete_seeds, sweep
from mixreg.experiments.evaluate import evaluate_trained, run_result
from mixreg.report import RunResult, check_replaceable, comparison, write_document
from mixreg.settings import check_method
from mixreg.training import Recipe, RunDirectory, TrainConfig, load_run


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Recipe, SweepSettings):
    """A comparison of training methods.

    Args:
        methods: the methods; the first one, uncorrected, is the baseline of all differences.
        seeds: number of repetitions; repetition k has the seed k for every method.
        output: directory of the runs and the report.
        dry_run: only list the runs with their state and estimated cost.

    Raises:
        ConfigurationError: a value is out of range, or a method is unknown or named twice.
    """

    methods: list[str] = dataclasses.field(default_factory=lambda: ["erm", "mixup"])
    seeds: int = 5
    output: Path = Path("mixreg-runs/compare")
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        SweepSettings.__post_init__(self)
        for method in self.methods:
            check_method(method)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ConfigurationError(f"methods must be named once each, got {self.methods}")
        if self.seeds < 1:
            raise ConfigurationError(f"seeds must be at least 1, got {self.seeds}")
        if self.devices > 1:
            raise ConfigurationError(
                "compare runs side by side on one device each; use --devices 1 and --jobs, "
                "or train the runs one by one with `mixreg train --devices ...`"
            )

    def runs(self) -> list[TrainConfig]:
        """One configuration for each method and seed."""
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(Recipe)}
        shared["progress"] = False
        return [
            TrainConfig(**shared, method=method, seed=seed, output=self._directory(method, seed))
            for seed in range(self.seeds)
            for method in self.methods
        ]

    def _directory(self, method: str, seed: int) -> Path:
        return self.output / "runs" / f"{method}-seed{seed}"


def compare(config: CompareConfig) -> tuple[str, Path]:
    """Train and evaluate every method with every seed; the table and the report's page."""
    check_replaceable(config.output, name="metrics", page="report")
    runs = config.runs()
    names = _names(runs)
    missing = sweep(runs, _evaluate, names=names, settings=config)
    complete, left_out = complete_seeds(runs, [missing.get(name, "") for name in names])
    results = [_result(run) for run in complete]
    title = f"{config.data}, {config.model}, α = {config.alpha:g}"
    baseline = config.methods[0]
    document = comparison(results, title=title, baseline=baseline, missing=left_out)
    page = write_document(document, config.output, name="metrics", page="report")
    return document.text(), page


def plan_comparison(config: CompareConfig) -> str:
    """The runs of a comparison with their states and estimated costs; nothing is written."""
    runs = config.runs()
    return plan(runs, names=_names(runs), settings=config)


def _names(runs: list[TrainConfig]) -> list[str]:
    return [f"{run.method} seed {run.seed}" for run in runs]


def _result(config: TrainConfig) -> RunResult:
    run = RunDirectory(config.directory)
    return run_result(config, run, run.read_evaluation())


def _evaluate(run: RunDirectory, config: TrainConfig) -> None:
    """Evaluate a run, unless that was done and can be read."""
    try:
        run.read_evaluation()
    except CheckpointError:
        evaluate_trained(load_run(run.path, {"data_root": config.data_root}), run.path)
