"""The sweep: runs to workers, outcomes back, failures told at the end."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import joblib
from tqdm.auto import tqdm

from mixreg.errors import MixregError
from mixreg.experiments.sweeping.backends import BackendName, BackendSettings
from mixreg.experiments.sweeping.tasks import Finish, Outcome, Task, execute
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

    Runs that are finished are not run again. A run that fails does not stop the others; the
    failures are told at the end.

    Args:
        runs: the runs.
        finish: called in the run's process with its directory, when the training has ended.
        names: what to call each run.
        jobs: runs at a time; None for one for each core. The cores are shared out among them.
        backend: where the runs are executed.
        skip_missing: leave out runs whose data set is missing instead of refusing them.

    Returns:
        Which runs were left out.

    Raises:
        MixregError: a run failed.
    """
    del backend, skip_missing
    failures = []
    for done, outcome in enumerate(_outcomes(runs, finish, names, jobs), 1):
        state = "failed" if outcome.failure else "done"
        tqdm.write(f"[{done}/{len(runs)}] {outcome.name}: {state} ({outcome.seconds:.0f} s)")
        if outcome.failure:
            failures.append(f"{outcome.name}:\n{outcome.failure}")
    if failures:
        raise MixregError(
            f"{len(failures)} of {len(runs)} runs failed; the others are kept.\n"
            + "\n".join(failures)
        )
    return SweepResult({})


def _outcomes(
    runs: Sequence[TrainConfig], finish: Finish, names: Sequence[str], jobs: int | None
) -> Iterator[Outcome]:
    cores = os.cpu_count() or 1
    workers = min(jobs or cores, len(runs))
    threads = max(1, cores // workers)
    tasks = (
        joblib.delayed(execute)(Task(name, run, finish, threads))
        for run, name in zip(runs, names, strict=True)
    )
    pool = joblib.Parallel(workers, return_as="generator_unordered", batch_size=1)
    with joblib.parallel_config("loky", inner_max_num_threads=threads):
        yield from pool(tasks)
