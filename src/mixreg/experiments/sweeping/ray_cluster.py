"""Workers of a Ray cluster, or of a new one on this machine."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mixreg._errors import MixregError, require
from mixreg.experiments.sweeping.local import cores
from mixreg.experiments.sweeping.tasks import Outcome, Task, execute
from mixreg.experiments.sweeping.workers import Ended, Workers


@contextmanager
def ray_workers(address: str, jobs: int | None, count: int) -> Iterator[Workers]:
    """Connect to a cluster, or start one on this machine.

    Args:
        address: of the cluster, as `ray.init` takes it; empty for a new cluster.
        jobs: tasks at a time; None for one for each core.
        count: number of tasks.

    Yields:
        The workers.

    Raises:
        MixregError: Ray is not installed, or nothing answers at the address.
    """
    ray = require("ray", extra="ray", purpose="--backend ray")
    slots = None if address else min(jobs or cores(), count)
    try:
        ray.init(
            address=address or "local",
            num_cpus=slots,
            include_dashboard=None if address else False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise MixregError(f"no Ray cluster answers at {address!r}: {error}") from error
    try:
        yield RayWorkers(ray, jobs)
    finally:
        ray.shutdown()


class RayWorkers:
    """The workers of one cluster.

    Args:
        ray: the package, connected.
        jobs: tasks at a time; None for one for each core of the cluster.
    """

    def __init__(self, ray: Any, jobs: int | None) -> None:
        self._ray, self._jobs = ray, jobs
        self._execute = ray.remote(execute)
        self._tasks: dict[Any, Task] = {}

    @property
    def capacity(self) -> int:
        """Tasks at a time, as many as were asked for, or cores there are now."""
        return self._jobs or max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    @property
    def running(self) -> int:
        """How many tasks the cluster has."""
        return len(self._tasks)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Hand tasks to the cluster, which may not start them anew by itself.

        Args:
            tasks: no more than there is capacity for.
        """
        for task in tasks:
            remote = self._execute.options(
                name=task.name, num_cpus=task.cores, num_gpus=task.gpus, max_retries=0
            )
            self._tasks[remote.remote(task)] = task

    def ended(self, timeout: float) -> list[Ended]:
        """Wait for tasks to end.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Those that ended.
        """
        self._ray.wait([*self._tasks], num_returns=1, timeout=timeout)
        done, _ = self._ray.wait([*self._tasks], num_returns=len(self._tasks), timeout=0)
        return [self._end(reference) for reference in done]

    def _end(self, reference: Any) -> Ended:
        task = self._tasks.pop(reference)
        errors = self._ray.exceptions
        try:
            return Ended(task, self._ray.get(reference))
        except errors.RayTaskError as error:
            return Ended(task, Outcome.failed(f"Ray could not execute it: {error}"))
        except errors.RayError as error:
            return Ended(task, None, str(error).partition("\n")[0])
