"""How far a sweep is, and how long the rest takes, learnt from the runs that are finished."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from operator import attrgetter
from statistics import fmean

from tqdm.auto import tqdm

from mixreg._errors import CheckpointError
from mixreg.training import RunDirectory, TrainConfig

kind = attrgetter(
    *("data", "training_fraction", "validation_fraction", "augment", "workers", "model", "loss"),
    *("method", "directions", "second_order", "per", "batch_size", "precision", "accelerator"),
)
"""What the time of an epoch depends on."""


class Costs:
    """Seconds an epoch takes, learnt from the finished ones of some runs."""

    def __init__(self, runs: Iterable[TrainConfig]) -> None:
        self._seconds: dict[object, list[float]] = {}
        for run in runs:
            self.learn(run)

    def learn(self, run: TrainConfig) -> None:
        """Remember how long a run took, if it is finished and says so."""
        with suppress(CheckpointError):
            seconds = RunDirectory(run.directory).read_result().seconds
            if isinstance(seconds, float):
                self._seconds.setdefault(kind(run), []).append(seconds / run.epochs)

    def of_kind(self, run: TrainConfig) -> tuple[float, str] | None:
        """The mean of the finished runs of a run's kind, and how many they are."""
        alike = self._seconds.get(kind(run))
        return (fmean(alike), f"from {len(alike)} finished") if alike else None

    def epoch(self, run: TrainConfig) -> float | None:
        """The mean of the run's kind, else of all kinds; None if nothing is finished."""
        alike = self._seconds.get(kind(run)) or [*map(fmean, self._seconds.values())]
        return fmean(alike) if alike else None


def duration(seconds: float) -> str:
    """A time in the unit that suits it, such as "41 s" or "2.5 h"."""
    if seconds < 90:
        return "<1 s" if seconds < 1 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


class Progress:
    """One line a run that ends, and a bar where somebody looks on."""

    def __init__(self, runs: Mapping[str, TrainConfig]) -> None:
        self._total, self._failed, self._queued = len(runs), 0, 0
        self._left = dict(runs)
        self._since: dict[str, float] = {}
        self._costs = Costs(runs.values())
        form = "{n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"
        self._bar = tqdm(total=len(runs), disable=None, bar_format=form)
        self.close = self._bar.close

    def begin(self, name: str) -> None:
        """A run was handed over."""
        self._since[name] = time.monotonic()
        self.refresh(0)

    def pause(self, name: str, why: str) -> None:
        """A run is no longer executed but will be again."""
        del self._since[name]
        self.say(f"{name}: {why}")

    def end(self, name: str, ending: str, seconds: float) -> None:
        """A run ended for good."""
        del self._since[name]
        self._costs.learn(self._left.pop(name))
        self._failed += ending == "failed"
        done, took = self._total - len(self._left), duration(seconds)
        self.say(f"[{done}/{self._total}] {name}: {ending} ({took}; {self.state()})")
        self._bar.update()

    def say(self, text: str) -> None:
        """Print a line."""
        tqdm.write(text)

    def refresh(self, queued: int) -> None:
        """Show the counts in the bar."""
        self._queued = queued
        self._bar.set_postfix_str(self.state())

    def state(self) -> str:
        """Counts and the time that is left, such as "2 running, 0 failed, about 5 min left"."""
        running = max(0, len(self._since) - self._queued)
        costs = [(name, run.epochs, self._costs.epoch(run)) for name, run in self._left.items()]
        total, now = 0.0, time.monotonic()
        for name, epochs, cost in costs:
            if cost is None:
                return f"{running} running, {self._failed} failed"
            total += max(0.0, cost * epochs - (now - self._since.get(name, now)))
        left = f", about {duration(total / max(1, running))} left" if costs else ""
        return f"{running} running, {self._failed} failed{left}"
