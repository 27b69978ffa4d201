"""What a sweep says while it goes on: one line a run, and a bar where somebody looks on."""

import time
from collections.abc import Sequence
from typing import Self

from tqdm.auto import tqdm

from mixreg.experiments.sweeping.costs import Costs, duration
from mixreg.experiments.sweeping.tasks import Outcome, Task


class Progress:
    """Counts and the time that is left; a context manager.

    Args:
        tasks: all that are to be executed.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.failed = 0
        self._total = len(tasks)
        self._left = {task.name: task for task in tasks}
        self._since: dict[str, float] = {}
        self._costs = Costs(task.config for task in tasks)
        self._running = 0
        self._bar = tqdm(
            total=len(tasks),
            disable=None,
            bar_format="{n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def begin(self, tasks: Sequence[Task]) -> None:
        """Tasks were handed over.

        Args:
            tasks: them.
        """
        self._since |= {task.name: time.monotonic() for task in tasks}

    def end(self, task: Task, outcome: Outcome) -> None:
        """A task ended for good.

        Args:
            task: it.
            outcome: how.
        """
        del self._left[task.name]
        self._since.pop(task.name, None)
        self._running = min(self._running, len(self._left))
        self.failed += outcome.ending == "failed"
        self._costs.learn(task.config)
        done = self._total - len(self._left)
        self.say(
            f"[{done}/{self._total}] {task.name}: {outcome.ending} "
            f"({duration(outcome.seconds)}; {self.state()})"
        )
        self._bar.update()

    def pause(self, task: Task) -> None:
        """A task is no longer executed but will be again.

        Args:
            task: it.
        """
        self._since.pop(task.name, None)

    def say(self, text: str) -> None:
        """Print a line.

        Args:
            text: the line.
        """
        tqdm.write(text)

    def refresh(self, running: int) -> None:
        """Show the counts in the bar.

        Args:
            running: how many tasks are being executed.
        """
        self._running = running
        self._bar.set_postfix_str(self.state())

    def state(self) -> str:
        """Counts and the time that is left.

        Returns:
            Text such as "2 running, 0 failed, about 5 min left".
        """
        counts = f"{self._running} running, {self.failed} failed"
        left = self._time_left()
        return counts if not left else f"{counts}, about {duration(left)} left"

    def _time_left(self) -> float | None:
        """What all runs that are left cost, without what they had already, side by side."""
        total = 0.0
        for name, task in self._left.items():
            cost = self._costs.epoch(task.config)
            if cost is None:
                return None
            since = self._since.get(name)
            spent = 0.0 if since is None else time.monotonic() - since
            total += max(0.0, cost * task.config.epochs - spent)
        return total / max(1, self._running)
