"""Many runs side by side, each followed by what is to be measured of it; nothing is lost."""

import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from mixreg import _stored
from mixreg._errors import CheckpointError, ConfigurationError, MixregError
from mixreg.data.location import MissingDataError, data_root
from mixreg.experiments._backends import Backend, Task, open_backend
from mixreg.experiments.sweeping.damage import find_damage
from mixreg.settings import SweepSettings
from mixreg.training import BusyError, RunDirectory, TrainConfig, environment, load_data, train

DEATHS = 4
"""Workers that may die in a row at one run, with no epoch finished between, before it fails."""

_FORMAT = "mixreg.Sweep/1"
_POLL = 0.2

Finish = Callable[[RunDirectory, TrainConfig], None]


class Outcome(NamedTuple):
    """How a run ended in a worker, after how many seconds, and what was damaged before."""

    ending: str  # finished, failed, missing, busy, or lost with its worker
    message: str = ""
    seconds: float = 0.0
    remark: str = ""


def sweep(
    runs: Sequence[TrainConfig], finish: Finish, *, names: Sequence[str], settings: SweepSettings
) -> dict[str, str]:
    """Train all runs, a few at a time, and finish each in its worker.

    Args:
        runs: the runs; finished ones are not trained again, begun ones go on where they stopped.
        finish: called with a run's directory and settings, also if it was finished before.
        names: what to call each run.
        settings: where, how many at a time, and whether runs without data are left out.

    Returns:
        The names of the runs that were left out, each with what its data set lacks.

    Raises:
        ConfigurationError: two runs have the same name or directory, or several devices.
        MissingDataError: a data set is missing; nothing was trained.
        MixregError: a run failed, the others are kept; or another version swept in the folder.
    """
    if settings.backend != "local":
        runs = [_with_full_paths(run) for run in runs]
    _check_runs(names, runs)
    missing = {n: why for n, why in zip(names, missing_data(runs, fetch=True), strict=True) if why}
    if missing and not settings.skip_missing:
        raise MissingDataError(
            f"{len(missing)} of {len(runs)} runs cannot begin, and nothing was trained (with "
            "--skip-missing the others would be): " + "\n".join(dict.fromkeys(missing.values()))
        )
    left = {name: run for name, run in zip(names, runs, strict=True) if name not in missing}
    folders = list(dict.fromkeys(run.directory.parent for run in left.values()))
    for folder in folders:
        _claim(folder)
    if not left:
        return missing
    tasks = [Task(n, partial(execute, run, finish), *_resources(run)) for n, run in left.items()]
    with (
        _ended_by_sigterm(),
        closing(Progress(left)) as progress,
        open_backend(settings, tasks, folders[0] / "slurm") as backend,
    ):
        for name, why in missing.items():
            progress.say(f"{name}: left out: {why}")
        outcomes = complete(tasks, left, backend, progress)
    return missing | _conclude(outcomes, left, skip_missing=settings.skip_missing)


def _conclude(
    outcomes: Mapping[str, Outcome], runs: Mapping[str, TrainConfig], *, skip_missing: bool
) -> dict[str, str]:
    """The runs whose data were missing where they were executed; an error if others failed."""
    for name, outcome in outcomes.items():
        if outcome.remark:
            tqdm.write(f"{name}: {outcome.remark}")
    ended = {name: o.message for name, o in outcomes.items() if o.ending != "finished"}
    missing = {
        n: why for n, why in ended.items() if skip_missing and outcomes[n].ending == "missing"
    }
    if failed := {name: why for name, why in ended.items() if name not in missing}:
        raise MixregError(
            f"{len(failed)} of {len(outcomes)} runs failed; the others are kept.\n"
            + "\n".join(grouped(failed, runs))
        )
    return missing


def grouped(remarks: Mapping[str, str], runs: Mapping[str, TrainConfig]) -> Iterator[str]:
    """Remarks that differ in no more than the run's directory, once, with the runs' names."""
    names: dict[str, list[str]] = {}
    for name, remark in remarks.items():
        names.setdefault(remark.replace(str(runs[name].directory), ""), []).append(name)
    for first, *others in names.values():
        more = f" and {len(others)} more" if others else ""
        yield f"{first}{more}: {remarks[first]}"


def execute(run: TrainConfig, finish: Finish) -> Outcome:
    """In a worker: train a run and finish it; a damaged directory is set aside first."""
    begin, remark, ending, message = time.monotonic(), "", "failed", ""
    directory = RunDirectory(run.directory)
    try:
        with directory.lock():
            if damage := find_damage(directory):
                kept = quarantine(directory)
                remark = f"{damage}; {kept} keeps it, and the run begins anew"
            finish(train(run), run)
        ending = "finished"
    except BusyError as error:
        ending, message = "busy", str(error)
    except MissingDataError as error:
        ending, message = "missing", str(error)
    except MixregError as error:
        message = str(error)
    except Exception:
        message = traceback.format_exc()
    return Outcome(ending, message, time.monotonic() - begin, remark)


def complete(
    tasks: Iterable[Task],
    runs: Mapping[str, TrainConfig],
    backend: Backend,
    progress: "Progress",
) -> dict[str, Outcome]:
    """Hand tasks over until each has ended for good, and say how."""
    waiting, busy = deque(tasks), list[Task]()
    flying: dict[Any, Task] = {}
    lost: dict[str, list[int]] = {}
    outcomes: dict[str, Outcome] = {}
    while waiting or flying or busy:
        if waiting and (room := backend.slots() - len(flying)) > 0:
            with backend.batch():
                for task in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
                    progress.begin(task.name)
                    flying[_submit(backend, task)] = task
        progress.refresh(backend.queued(flying))
        done = [future for future in flying if future.done()]
        for future in done:
            task, outcome = flying.pop(future), _outcome(future)
            if outcome.ending == "lost":
                reached = lost.setdefault(task.name, [])
                reached.append(_reached(runs[task.name]))
                if reached[-DEATHS:] == [reached[-1]] * DEATHS:
                    told = f"{DEATHS} workers in a row died at it without finishing an epoch; "
                    outcome = Outcome("failed", told + outcome.message)
            if outcome.ending == "lost":
                told = f"its worker died and it is submitted again ({outcome.message})"
                waiting.appendleft(task)
                progress.pause(task.name, told)
            elif outcome.ending == "busy":
                busy.append(task)
                progress.pause(task.name, "another process is working on it; waiting for that")
            else:
                outcomes[task.name] = outcome
                progress.end(task.name, outcome)
        if not done:
            time.sleep(_POLL)
        free = [task for task in busy if _is_free(runs[task.name])]
        busy = [task for task in busy if task not in free]
        waiting += free
    return outcomes


def _submit(backend: Backend, task: Task) -> Any:
    try:
        return backend.submit(task)
    except Exception as error:
        future: Future[Outcome] = Future()
        future.set_exception(error)
        return future


def _outcome(future: Any) -> Outcome:
    """What the worker returned; one that was told to end is lost like one that died."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        error = cancelled
    if error is None:
        outcome: Outcome = future.result()
        return outcome
    return Outcome("lost", str(error).partition("\n")[0] or repr(error))


def _reached(run: TrainConfig) -> int:
    """Something that changes with every finished epoch, and with the end of the training."""
    directory = RunDirectory(run.directory)
    files = (directory.checkpoint, directory.path / "result.json")
    return max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)


def _is_free(run: TrainConfig) -> bool:
    try:
        with RunDirectory(run.directory).lock():
            return True
    except BusyError:
        return False


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM as an exception, so that workers are stopped on the way out."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def quarantine(run: RunDirectory) -> Path:
    """Move the files of a locked run to NAME.corrupt-1, or the next number that is free."""
    numbered = (run.path.with_name(f"{run.path.name}.corrupt-{k}") for k in count(1))
    place = next(path for path in numbered if not path.exists())
    place.mkdir()
    files = [file for file in run.path.iterdir() if file.suffix != ".lock"]
    # The settings move last, so that a move that is interrupted is seen the next time.
    for file in sorted(files, key=lambda file: file.name == "config.json"):
        file.rename(place / file.name)
    return place


def missing_data(runs: Sequence[TrainConfig], *, fetch: bool) -> list[str]:
    """For each run what its data set lacks, or an empty text; each data set is looked for once."""
    known: dict[tuple[object, ...], str] = {}
    for run in runs:
        place = run.data, run.data_root
        if place not in known and not RunDirectory(run.directory).finished:
            try:
                load_data(run if fetch else replace(run, download=False))
                known[place] = ""
            except MissingDataError as error:
                known[place] = str(error)
    return [
        "" if RunDirectory(run.directory).finished else known[run.data, run.data_root]
        for run in runs
    ]


def complete_seeds(
    runs: Sequence[TrainConfig], missing: Sequence[str]
) -> tuple[list[TrainConfig], tuple[str, ...]]:
    """The runs of the seeds that miss none (of each run: why, or nothing); a word on the others."""
    gaps: dict[int, str] = {}
    for run, why in zip(runs, missing, strict=True):
        if why:
            gaps.setdefault(run.seed, why)
    whole = [run for run in runs if run.seed not in gaps]
    if not whole:
        raise MissingDataError("nothing is left to report: " + next(iter(gaps.values())))
    return whole, tuple(f"seed {k} is left out: {why}" for k, why in gaps.items())


def check_folder(folder: Path) -> bool:
    """Whether a folder says that this version swept in it; another version's is refused."""
    file = folder / "sweep.json"
    if not file.is_file():
        return False
    remedy = "if this version of mixreg made the runs beside it, delete it, else choose another"
    stored = _stored.decode(file, dict[str, Any], remedy=f"{remedy} --output")
    if stored.get("format") != _FORMAT:
        raise MixregError(
            f"{folder} holds a sweep in the format {stored.get('format')!r} of another version of "
            f"mixreg ({stored.get('mixreg')}); this one reads and writes {_FORMAT!r}. Nothing was "
            "changed. To go on with it, use that version. To migrate, choose another --output and "
            "move the run directories into the same place there: those that this version can read "
            "are kept, and the others are named"
        )
    return True


def _claim(folder: Path) -> None:
    if not check_folder(folder):
        folder.mkdir(parents=True, exist_ok=True)
        version = environment()["packages"]["mixreg"]
        _stored.write(folder / "sweep.json", {"format": _FORMAT, "mixreg": version})


def _check_runs(names: Sequence[str], runs: Sequence[TrainConfig]) -> None:
    values = {"name": list(names), "directory": [str(run.directory) for run in runs]}
    for what, given in values.items():
        if twice := sorted({value for value in given if given.count(value) > 1}):
            raise ConfigurationError(f"runs of a sweep have the same {what}: {', '.join(twice)}")
    if any(run.devices > 1 for run in runs):
        raise ConfigurationError(
            "the runs of a sweep go side by side on one device each; train a run with several "
            "--devices by itself, with `mixreg train`"
        )


def _with_full_paths(run: TrainConfig) -> TrainConfig:
    """The run as a process sees it that works in another directory, with another environment."""
    root = data_root(run.data_root).absolute()
    return replace(run, output=run.directory.absolute(), data_root=root)


def _resources(run: TrainConfig) -> tuple[int, int]:
    """One core and those of the processes that load images; a GPU where one is asked for."""
    loaders = run.workers if run.data == "imagenet" else 0
    return 1 + loaders, int(run.accelerator in {"gpu", "cuda"})


kind = attrgetter(
    *("data", "validation_fraction", "augment", "workers", "model", "loss", "method", "directions"),
    *("second_order", "per", "batch_size", "precision", "accelerator"),
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

    def end(self, name: str, outcome: Outcome) -> None:
        """A run ended for good."""
        del self._since[name]
        self._costs.learn(self._left.pop(name))
        self._failed += outcome.ending == "failed"
        done, took = self._total - len(self._left), duration(outcome.seconds)
        self.say(f"[{done}/{self._total}] {name}: {outcome.ending} ({took}; {self.state()})")
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
