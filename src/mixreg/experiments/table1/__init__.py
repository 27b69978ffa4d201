"""Table 1 of the paper by measurement: what each regularizer does, with intervals over seeds."""

from functools import partial
from pathlib import Path

from mixreg.experiments.sweeping import plan, sweep
from mixreg.experiments.sweeping.missing import whole_seeds
from mixreg.experiments.table1.config import Table1Config
from mixreg.experiments.table1.effects import RunKey, table_rows
from mixreg.experiments.table1.measurement import measure_run, read_measurements
from mixreg.experiments.table1.page import table1_numbers, table1_study
from mixreg.report.replacing import check_replaceable
from mixreg.report.study import write_study
from mixreg.training import RunDirectory, TrainConfig

__all__ = ["Table1Config", "plan_table1", "table1"]

_FORMAT = "mixreg.Table1/1"


def table1(config: Table1Config) -> tuple[str, Path]:
    """Train every method with every label noise and seed, measure, and write Table 1.

    Runs that are finished are not run again, and measured again only with other settings.

    Args:
        config: the experiment.

    Returns:
        Tables and findings for the terminal, and the report's path.

    Raises:
        CheckpointError: another version wrote the table.
        MissingDataError: the data set is missing.
        MixregError: a run failed; the others are kept.
    """
    check_replaceable(config.output / "table1.json", _FORMAT)
    runs = config.runs()
    names = _names(runs)
    missing = sweep(
        runs,
        partial(measure_run, config.measurement),
        names=names,
        jobs=config.jobs,
        backend=config.place,
        skip_missing=config.skip_missing,
    ).missing
    runs, holes = whole_seeds(runs, [missing.get(name, "") for name in names])
    measured = {_key(run): read_measurements(RunDirectory(run.directory)) for run in runs}
    rows = table_rows(measured)
    study = table1_study(
        rows,
        subtitle=f"{config.data}, {config.model}, α = {config.alpha:g}",
        measured=measured,
        scales=config.input_scales,
        settings=[run.identity() for run in runs],
        environment=[RunDirectory(run.directory).read_environment() for run in runs],
        missing=holes,
    )
    numbers = {
        "format": _FORMAT,
        "config": config.identity(),
        "environment": RunDirectory(runs[0].directory).read_environment(),
        "rows": table1_numbers(rows),
        "findings": [finding.text for finding in study.findings],
        "caveats": list(study.caveats),
    }
    return study.text(), write_study(study, config.output, numbers, name="table1")


def plan_table1(config: Table1Config) -> str:
    """What Table 1 would run, and what that would cost; nothing is written.

    Args:
        config: the experiment.

    Returns:
        The runs with their states and estimated costs.

    Raises:
        MixregError: another version of this package made the directory.
    """
    runs = config.runs()
    return plan(runs, names=_names(runs), jobs=config.jobs, backend=config.place)


def _names(runs: list[TrainConfig]) -> list[str]:
    return [f"{run.method} noise {run.label_noise:g} seed {run.seed}" for run in runs]


def _key(run: TrainConfig) -> RunKey:
    return RunKey(run.method, run.label_noise or 0.0, run.seed)
