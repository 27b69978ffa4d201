"""Processes of this machine, by joblib's loky; a single job at a time needs none."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager

import joblib
from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor

from mixreg.experiments.sweeping.tasks import Outcome, Task, execute
from mixreg.experiments.sweeping.workers import Ended, Workers

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def local_workers(jobs: int | None, count: int) -> Iterator[Workers]:
    """Workers on this machine, which share out its cores.

    Args:
        jobs: tasks at a time; None for one for each core. A single one is executed in this process.
        count: number of tasks.

    Yields:
        The workers.
    """
    slots = min(jobs or cores(), count)
    if slots == 1:
        yield ThisProcess()
        return
    workers = LocalPools(slots)
    try:
        yield workers
    finally:
        workers.stop()


def cores() -> int:
    """The cores that this process may use.

    Returns:
        Their number.
    """
    return int(joblib.cpu_count())


def threads_each(slots: int) -> int:
    """The cores of this machine, shared out.

    Args:
        slots: processes at a time.

    Returns:
        Threads for each of them.
    """
    return max(1, cores() // slots)


class ThisProcess:
    """Tasks one after the other, where they can be debugged and no process has to start."""

    capacity = 1

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    @property
    def running(self) -> int:
        """Whether there is a task."""
        return len(self._tasks)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Keep the task.

        Args:
            tasks: one.
        """
        self._tasks += tasks

    def ended(self, timeout: float) -> list[Ended]:
        """Execute the task.

        Args:
            timeout: of no meaning here.

        Returns:
            It.
        """
        del timeout
        tasks, self._tasks = self._tasks, []
        return [Ended(task, execute(task)) for task in tasks]


class LocalPools:
    """Pools of one process each, so that a process that dies takes no other task along.

    Args:
        slots: how many.
    """

    def __init__(self, slots: int) -> None:
        self.capacity = slots
        self._environment = dict.fromkeys(THREAD_VARIABLES, str(threads_each(slots)))
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[Future[Outcome], tuple[Task, ProcessPoolExecutor]] = {}

    @property
    def running(self) -> int:
        """How many tasks are being executed."""
        return len(self._busy)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Give each task to an idle process, or to a new one.

        Args:
            tasks: no more than there is capacity for.
        """
        for task in tasks:
            pool = self._idle.pop() if self._idle else self._start()
            self._busy[pool.submit(execute, task)] = task, pool

    def ended(self, timeout: float) -> list[Ended]:
        """Wait for tasks to end.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Those that ended.
        """
        done = wait(self._busy, timeout, FIRST_COMPLETED).done
        return [self._end(future) for future in done]

    def stop(self) -> None:
        """End all processes, whatever they are at."""
        for pool in [*self._idle, *(pool for _, pool in self._busy.values())]:
            pool.shutdown(kill_workers=True)

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1, env=self._environment, initializer=_end_with, initargs=(os.getpid(),)
        )

    def _end(self, future: Future[Outcome]) -> Ended:
        task, pool = self._busy.pop(future)
        try:
            outcome = future.result()
        except BrokenProcessPool as error:
            pool.shutdown(kill_workers=True)
            return Ended(task, None, str(error).partition("\n")[0])
        self._idle.append(pool)
        return Ended(task, outcome)


def _end_with(parent: int) -> None:
    """In a worker: end when the process that started it has gone, and with it who would listen."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
