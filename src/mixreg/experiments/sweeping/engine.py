"""The sweep: runs to workers, outcomes back, the dead tried again, failures told at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mixreg._errors import ConfigurationError
from mixreg.data.location import MissingDataError, data_root
from mixreg.experiments.sweeping.backends import BackendName, BackendSettings
from mixreg.experiments.sweeping.dispatch import Dispatch
from mixreg.experiments.sweeping.folders import claim_folder, folders_of
from mixreg.experiments.sweeping.missing import find_missing
from mixreg.experiments.sweeping.progress import Progress
from mixreg.experiments.sweeping.tasks import Finish, Task
from mixreg.training import TrainConfig


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep whose runs did not fail.

    Args:
        missing: names of the runs that were left out because their data set is missing, each with
            what was looked for, where, and how to get it.
    """

    missing: Mapping[str, str]


def sweep(
    runs: Sequence[TrainConfig],
    finish: Finish,
    *,
    names: Sequence[str],
    jobs: int | None = None,
    backend: BackendSettings | BackendName = "local",
    skip_missing: bool = False,
) -> SweepResult:
    """Train all runs, a few at a time, and finish each.

    Runs that are finished are not run again, and begun ones go on where they stopped. A run that
    another process is working on is waited for, after all others. A run whose worker dies is
    submitted again, unless four workers in a row died at it without finishing an epoch. A damaged
    run directory is set aside and the run begins anew. A run that fails does not stop the others;
    the failures are told at the end.

    Args:
        runs: the runs.
        finish: called in the run's process with its directory, when the training has ended; also
            for runs that were finished before.
        names: what to call each run.
        jobs: runs at a time; None for one for each core of this machine, or of the cluster.
        backend: where the runs are executed.
        skip_missing: leave out runs whose data set is missing instead of refusing to begin.

    Returns:
        Which runs were left out.

    Raises:
        ConfigurationError: two runs have the same name or directory, or several devices.
        DataError: a data set is damaged; nothing was trained.
        MissingDataError: a data set is missing; nothing was trained.
        MixregError: a run failed; the others are kept.
    """
    place = BackendSettings(backend) if isinstance(backend, str) else backend
    if place.name != "local":
        runs = [_with_full_paths(run) for run in runs]
    tasks = [Task(*pair, finish) for pair in zip(names, runs, strict=True)]
    check_runs(tasks)
    told = zip(tasks, find_missing(runs, fetch=True), strict=True)
    missing = {task.name: message for task, message in told if message}
    if missing and not skip_missing:
        raise MissingDataError(
            f"{len(missing)} of {len(tasks)} runs cannot begin, and nothing was trained (with "
            "--skip-missing the others would be): " + "\n".join(dict.fromkeys(missing.values()))
        )
    tasks = [task for task in tasks if task.name not in missing]
    folders = folders_of(task.config for task in tasks)
    for folder in folders:
        claim_folder(folder)
    if tasks:
        logs = folders[0] / "slurm"
        with (
            Progress(tasks) as progress,
            place.open(jobs=jobs, count=len(tasks), logs=logs) as workers,
        ):
            for name, message in missing.items():
                progress.say(f"{name}: left out: {message}")
            found = Dispatch(tasks, workers, progress, skip_missing=skip_missing).complete()
        missing |= found
    return SweepResult(missing)


def check_runs(tasks: Sequence[Task]) -> None:
    """Refuse runs that would be in each other's way.

    Args:
        tasks: the runs with their names.

    Raises:
        ConfigurationError: two runs have the same name or directory, or one several devices.
    """
    for what, values in (
        ("name", [task.name for task in tasks]),
        ("directory", [str(task.config.directory) for task in tasks]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ConfigurationError(f"runs of a sweep have the same {what}: {', '.join(twice)}")
    if any(task.config.devices > 1 for task in tasks):
        raise ConfigurationError(
            "the runs of a sweep go side by side on one device each; train a run with several "
            "--devices by itself, with `mixreg train`"
        )


def _with_full_paths(run: TrainConfig) -> TrainConfig:
    """The run as a process sees it that works in another directory, with another environment."""
    root = data_root(run.data_root).absolute()
    return replace(run, output=run.directory.absolute(), data_root=root)
