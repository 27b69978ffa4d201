"""One run of a sweep, as it is handed to a worker and comes back."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mixreg.errors import MixregError
from mixreg.training import RunDirectory, TrainConfig, train

Finish = Callable[[RunDirectory, TrainConfig], None]


@dataclass(frozen=True)
class Task:
    """A run, what is to be done when its training has ended, and on how many threads."""

    name: str
    config: TrainConfig
    finish: Finish
    threads: int


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    name: str
    failure: str | None
    seconds: float


def execute(task: Task) -> Outcome:
    """Train one run and finish it; an error is returned, not raised.

    Args:
        task: the run.

    Returns:
        How it ended.
    """
    begin, threads_before = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(task.threads)
    failure = None
    try:
        task.finish(train(task.config), task.config)
    except MixregError as error:
        failure = str(error)
    except Exception:
        failure = traceback.format_exc()
    finally:
        torch.set_num_threads(threads_before)
    return Outcome(task.name, failure, time.monotonic() - begin)
