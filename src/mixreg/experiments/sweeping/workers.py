"""What every place that executes tasks is able to do."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mixreg.experiments.sweeping.tasks import Outcome, Task


class Ended(NamedTuple):
    """A task that is no longer being executed.

    Args:
        task: the task.
        outcome: what the worker returned; None if the worker died.
        death: how it died.
    """

    task: Task
    outcome: Outcome | None
    death: str = ""


class Workers(Protocol):
    """Processes that execute tasks, each one at a time."""

    @property
    def capacity(self) -> int:
        """How many tasks may be with the workers at a time."""

    @property
    def running(self) -> int:
        """How many of the tasks handed over are being executed."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Hand tasks over.

        Args:
            tasks: no more than there is capacity for.
        """

    def ended(self, timeout: float) -> list[Ended]:
        """Wait for tasks to end.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Those that ended since the last call.
        """
