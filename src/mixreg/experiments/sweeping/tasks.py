"""One run of a sweep, as it is handed to a worker and comes back."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from mixreg._errors import MixregError
from mixreg.data.location import MissingDataError
from mixreg.experiments.sweeping.damage import find_damage, set_aside
from mixreg.training import BusyError, RunDirectory, TrainConfig, train

Finish = Callable[[RunDirectory, TrainConfig], None]
Ending = Literal["finished", "failed", "missing", "busy"]


@dataclass(frozen=True)
class Task:
    """A run, and what is to be done when its training has ended.

    Args:
        name: what to call it.
        config: the run.
        finish: called with its directory when the training has ended.
    """

    name: str
    config: TrainConfig
    finish: Finish

    @property
    def cores(self) -> int:
        """What a cluster is asked for: one core, and one for each process that loads images."""
        return 1 + (self.config.workers if self.config.data == "imagenet" else 0)

    @property
    def gpus(self) -> int:
        """What a cluster is asked for."""
        return int(self.config.accelerator in {"gpu", "cuda"})


@dataclass(frozen=True)
class Outcome:
    """How a run ended in a worker.

    Args:
        ending: "busy" if another process is working in its directory.
        message: the error, or what is missing, or who is busy.
        seconds: how long it took.
        remark: what was found damaged, and where it is now.
    """

    ending: Ending
    message: str = ""
    seconds: float = 0.0
    remark: str = ""

    @classmethod
    def failed(cls, message: str) -> Self:
        """A run that could not be executed.

        Args:
            message: the error.

        Returns:
            The outcome.
        """
        return cls("failed", message)


def execute(task: Task) -> Outcome:
    """Train one run and finish it; an error is returned, not raised.

    A damaged run directory is set aside first. The directory is locked all the while.

    Args:
        task: the run.

    Returns:
        How it ended.
    """
    begin = time.monotonic()
    ending: Ending = "finished"
    message = remark = ""
    run = RunDirectory(task.config.directory)
    try:
        with run.lock():
            if damage := find_damage(run):
                remark = f"{damage}; {set_aside(run)} keeps it, and the run begins anew"
            task.finish(train(task.config), task.config)
    except BusyError as error:
        ending, message = "busy", str(error)
    except MissingDataError as error:
        ending, message = "missing", str(error)
    except MixregError as error:
        ending, message = "failed", str(error)
    except Exception:
        ending, message = "failed", traceback.format_exc()
    return Outcome(ending, message, time.monotonic() - begin, remark)
