"""Runs to workers and outcomes back, until every run has ended one way or another."""

import time
from collections import deque
from collections.abc import Sequence

from mixreg._errors import MixregError
from mixreg.experiments.sweeping.progress import Progress
from mixreg.experiments.sweeping.tasks import Outcome, Task
from mixreg.experiments.sweeping.workers import Ended, Workers
from mixreg.training import BusyError, RunDirectory

DEATHS = 4
"""Workers that may die in a row at one run, with no epoch finished between, before it fails."""

_POLL = 1.0


class Dispatch:
    """The runs of one sweep on their way.

    Args:
        tasks: the runs.
        workers: who executes them.
        progress: who tells about them.
        skip_missing: whether a missing data set is no failure.
    """

    def __init__(
        self, tasks: Sequence[Task], workers: Workers, progress: Progress, *, skip_missing: bool
    ) -> None:
        self._waiting = deque(tasks)
        self._submitted = 0
        self._busy: list[Task] = []
        self._workers, self._progress = workers, progress
        self._skip_missing = skip_missing
        self._deaths: dict[str, int] = {}
        self._reached: dict[str, int] = {}
        self._failures: list[str] = []
        self._remarks: list[str] = []
        self._missing: dict[str, str] = {}
        self._total = len(tasks)

    def complete(self) -> dict[str, str]:
        """Go on until no run is left.

        Returns:
            The runs whose data set turned out to be missing where they were executed, and what
            was said about it.

        Raises:
            MixregError: a run failed.
        """
        while self._waiting or self._submitted or self._busy:
            self._submit()
            self._progress.refresh(self._workers.running)
            if self._submitted:
                for ended in self._workers.ended(_POLL):
                    self._submitted -= 1
                    self._take(ended)
            else:
                time.sleep(_POLL)
            self._wake()
        for remark in self._remarks:
            self._progress.say(remark)
        if self._failures:
            raise MixregError(
                f"{len(self._failures)} of {self._total} runs failed; the others are kept.\n"
                + "\n".join(self._failures)
            )
        return self._missing

    def _submit(self) -> None:
        room = min(self._workers.capacity - self._submitted, len(self._waiting))
        tasks = [self._waiting.popleft() for _ in range(room)]
        if tasks:
            self._workers.submit(tasks)
            self._progress.begin(tasks)
            self._submitted += len(tasks)

    def _take(self, ended: Ended) -> None:
        task, outcome = ended.task, ended.outcome
        if outcome is None:
            self._bury(task, ended.death)
        elif outcome.ending == "busy":
            self._progress.pause(task)
            self._progress.say(f"{task.name}: another process is working on it; waiting for that")
            self._busy.append(task)
        else:
            self._close(task, outcome)

    def _close(self, task: Task, outcome: Outcome) -> None:
        if outcome.remark:
            self._remarks.append(f"{task.name}: {outcome.remark}")
        if outcome.ending == "missing" and self._skip_missing:
            self._missing[task.name] = outcome.message
        elif outcome.ending != "finished":
            self._failures.append(f"{task.name}:\n{outcome.message}")
        self._progress.end(task, outcome)

    def _bury(self, task: Task, death: str) -> None:
        """Submit a run again whose worker died, unless that happens again and again."""
        self._progress.pause(task)
        reached = _reached(task)
        if reached != self._reached.get(task.name):
            self._deaths[task.name] = 0
        self._reached[task.name] = reached
        self._deaths[task.name] += 1
        if self._deaths[task.name] < DEATHS:
            self._progress.say(f"{task.name}: its worker died and it is submitted again ({death})")
            self._waiting.appendleft(task)
        else:
            told = f"{DEATHS} workers in a row died at it without finishing an epoch; {death}"
            self._close(task, Outcome.failed(told))

    def _wake(self) -> None:
        """Submit again the runs that nobody else is working on any more."""
        free = [task for task in self._busy if _is_free(task)]
        self._busy = [task for task in self._busy if task not in free]
        self._waiting += free


def _reached(task: Task) -> int:
    """Something that changes with every finished epoch, and with the end of the training."""
    run = RunDirectory(task.config.directory)
    files = (run.checkpoint, run.path / "result.json")
    return max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)


def _is_free(task: Task) -> bool:
    try:
        with RunDirectory(task.config.directory).lock():
            return True
    except BusyError:
        return False
