"""Many training runs side by side, each followed by what is to be measured of it."""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import joblib
import torch
from tqdm.auto import tqdm

from mixreg.errors import MixregError
from mixreg.training import RunDirectory, TrainConfig, train

Finish = Callable[[RunDirectory, TrainConfig], None]


@dataclass(frozen=True)
class _Outcome:
    name: str
    failure: str | None
    seconds: float


def sweep(
    runs: Sequence[TrainConfig], finish: Finish, *, names: Sequence[str], jobs: int | None
) -> None:
    """Train all runs, a few at a time, and finish each.

    Runs that are finished are not run again. A run that fails does not stop the others; the
    failures are told at the end.

    Args:
        runs: the runs.
        finish: called in the run's process with its directory, when the training has ended.
        names: what to call each run.
        jobs: runs at a time; None for one for each core. The cores are shared out among them.

    Raises:
        MixregError: a run failed.
    """
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


def _outcomes(
    runs: Sequence[TrainConfig], finish: Finish, names: Sequence[str], jobs: int | None
) -> Iterator[_Outcome]:
    cores = os.cpu_count() or 1
    workers = min(jobs or cores, len(runs))
    threads = max(1, cores // workers)
    tasks = (
        joblib.delayed(_run)(run, finish, name, threads)
        for run, name in zip(runs, names, strict=True)
    )
    pool = joblib.Parallel(workers, return_as="generator_unordered", batch_size=1)
    with joblib.parallel_config("loky", inner_max_num_threads=threads):
        yield from pool(tasks)


def _run(config: TrainConfig, finish: Finish, name: str, threads: int) -> _Outcome:
    begin, threads_before = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(threads)
    failure = None
    try:
        finish(train(config), config)
    except MixregError as error:
        failure = str(error)
    except Exception:
        failure = traceback.format_exc()
    finally:
        torch.set_num_threads(threads_before)
    return _Outcome(name, failure, time.monotonic() - begin)
