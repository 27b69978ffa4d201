"""Workers of a Dask cluster, or of a new one on this machine."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mixreg._errors import MixregError, require
from mixreg.experiments.sweeping.local import THREAD_VARIABLES, cores, threads_each
from mixreg.experiments.sweeping.tasks import Outcome, Task, execute
from mixreg.experiments.sweeping.workers import Ended, Workers


@contextmanager
def dask_workers(address: str, jobs: int | None, count: int) -> Iterator[Workers]:
    """Connect to a cluster, or start one on this machine.

    Args:
        address: of its scheduler; empty for a new cluster.
        jobs: tasks at a time; None for one for each thread of the cluster, or core of the machine.
        count: number of tasks.

    Yields:
        The workers.

    Raises:
        MixregError: Dask is not installed, or nothing answers at the address.
    """
    distributed = require("distributed", extra="dask", purpose="--backend dask")
    with ExitStack() as stack:
        if address:
            try:
                client = stack.enter_context(distributed.Client(address))
            except (OSError, ValueError) as error:
                raise MixregError(f"no Dask scheduler answers at {address!r}: {error}") from error
        else:
            slots = min(jobs or cores(), count)
            client = stack.enter_context(_own_cluster(distributed, slots))
        yield DaskWorkers(distributed, client, jobs)


@contextmanager
def _own_cluster(distributed: Any, slots: int) -> Iterator[Any]:
    """Processes that Dask starts again when they die; the sweep decides what is tried again."""
    dask = require("dask", extra="dask", purpose="--backend dask")
    threads = dict.fromkeys(THREAD_VARIABLES, threads_each(slots))
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.daemon": False,
        "distributed.nanny.pre-spawn-environ": threads,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            slots,
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class DaskWorkers:
    """The workers of one cluster.

    Args:
        distributed: the package.
        client: the connection.
        jobs: tasks at a time; None for one for each thread of the workers.
    """

    def __init__(self, distributed: Any, client: Any, jobs: int | None) -> None:
        self._distributed, self._client, self._jobs = distributed, client, jobs
        self._tasks: dict[Any, Task] = {}

    @property
    def capacity(self) -> int:
        """Tasks at a time, as many as were asked for, or threads there are now."""
        return self._jobs or max(1, sum(self._client.nthreads().values()))

    @property
    def running(self) -> int:
        """How many tasks the workers have."""
        return len(self._tasks)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Hand tasks to the scheduler.

        Args:
            tasks: no more than there is capacity for.
        """
        for task in tasks:
            self._tasks[self._client.submit(execute, task, pure=False)] = task

    def ended(self, timeout: float) -> list[Ended]:
        """Wait for tasks to end.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Those that ended.
        """
        try:
            self._distributed.wait([*self._tasks], timeout, "FIRST_COMPLETED")
        except TimeoutError:
            return []
        return [self._end(future) for future in [*self._tasks] if future.done()]

    def _end(self, future: Any) -> Ended:
        task = self._tasks.pop(future)
        try:
            return Ended(task, future.result())
        except (self._distributed.KilledWorker, self._distributed.CancelledError) as error:
            return Ended(task, None, str(error).partition("\n")[0])
        except Exception as error:
            return Ended(task, Outcome.failed(f"Dask could not execute it: {error!r}"))
