"""SLURM jobs by submitit: one array of all runs, and a further one for those that died."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from mixreg._errors import MixregError, require
from mixreg.experiments.sweeping.tasks import Task, execute
from mixreg.experiments.sweeping.workers import Ended, Workers

_MINUTES = 240
_POLL = 0.2


@contextmanager
def slurm_workers(jobs: int, logs: Path, *, cluster: str = "slurm") -> Iterator[Workers]:
    """SLURM's queue.

    Partition, account, time limit, memory and the like are those of SLURM's own environment
    variables, such as SBATCH_PARTITION and SBATCH_TIMELIMIT, which go before what is set here.

    Args:
        jobs: jobs of an array that run at a time.
        logs: directory for scripts, results and what the jobs print, seen by all machines.
        cluster: as submitit names it; "local" executes the jobs as processes of this machine.

    Yields:
        The workers.

    Raises:
        MixregError: submitit is not installed, or there is no SLURM.
    """
    submitit = require("submitit", extra="slurm", purpose="--backend slurm")
    try:
        executor = submitit.AutoExecutor(logs, cluster=cluster)
    except RuntimeError as error:
        raise MixregError(f"there is no SLURM here: {error}; run this where sbatch is") from error
    workers = SlurmJobs(submitit, executor, jobs)
    try:
        yield workers
    finally:
        workers.stop()


class SlurmJobs:
    """Jobs of this sweep.

    Args:
        submitit: the package.
        executor: its connection to SLURM.
        jobs: jobs of an array that run at a time.
    """

    capacity = 1_000_000

    def __init__(self, submitit: Any, executor: Any, jobs: int) -> None:
        self._submitit, self._executor, self._parallel = submitit, executor, jobs
        self._tasks: dict[Any, Task] = {}

    @property
    def running(self) -> int:
        """How many jobs have left the queue and not ended."""
        return sum(job.state == "RUNNING" for job in self._tasks)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Submit an array of jobs, one for each set of resources.

        Args:
            tasks: any number.
        """
        for (cores, gpus), alike in groupby(sorted(tasks, key=_resources), _resources):
            self._executor.update_parameters(
                name="mixreg",
                timeout_min=_MINUTES,
                nodes=1,
                cpus_per_task=cores,
                gpus_per_node=gpus,
                slurm_array_parallelism=self._parallel,
            )
            members = list(alike)
            for job, task in zip(self._executor.map_array(execute, members), members, strict=True):
                self._tasks[job] = task

    def ended(self, timeout: float) -> list[Ended]:
        """Wait for jobs to end.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Their tasks.
        """
        limit = time.monotonic() + timeout
        while not (done := [job for job in self._tasks if job.done()]):
            if time.monotonic() > limit:
                return []
            time.sleep(_POLL)
        return [self._end(job) for job in done]

    def stop(self) -> None:
        """Cancel the jobs that have not ended."""
        for job in self._tasks:
            job.cancel()

    def _end(self, job: Any) -> Ended:
        task = self._tasks.pop(job)
        try:
            return Ended(task, job.result())
        except self._submitit.core.utils.UncompletedJobError as error:
            return Ended(task, None, str(error).partition("\n")[0])


def _resources(task: Task) -> tuple[int, int]:
    return task.cores, task.gpus
