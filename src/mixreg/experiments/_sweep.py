"""Many runs side by side, each followed by what is to be measured of it; nothing is lost."""

import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from mixreg import _stored
from mixreg._errors import ConfigurationError, MixregError
from mixreg._files import failure_text
from mixreg.data.published import MissingDataError, data_root
from mixreg.experiments._backends import Backend, Task, open_backend
from mixreg.experiments._progress import Progress
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
    """Train all runs and finish each in its worker; those left out, with what their data lack."""
    # A finished run is not trained again, a begun one goes on where it stopped.
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
    """In a worker: train a run and finish it; damaged files go into quarantine first."""
    begin, remark, ending, message = time.monotonic(), "", "failed", ""
    directory = RunDirectory(run.directory)
    try:
        with directory.lock():
            if damage := directory.corrupt():
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
    except OSError as error:
        message = failure_text(error)
    except Exception:
        message = traceback.format_exc()
    return Outcome(ending, message, time.monotonic() - begin, remark)


def complete(
    tasks: Iterable[Task],
    runs: Mapping[str, TrainConfig],
    backend: Backend,
    progress: Progress,
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
                progress.end(task.name, outcome.ending, outcome.seconds)
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
        place = run.data, run.data_root, run.download
        if place not in known and not RunDirectory(run.directory).finished:
            try:
                load_data(run if fetch else replace(run, download=False))
                known[place] = ""
            except MissingDataError as error:
                known[place] = str(error)
    return [
        "" if RunDirectory(run.directory).finished else known[run.data, run.data_root, run.download]
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
