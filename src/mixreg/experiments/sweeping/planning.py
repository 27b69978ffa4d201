"""What a sweep would do, and what it would cost; nothing is written."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mixreg._errors import MixregError
from mixreg.experiments.sweeping.backends import BackendName, BackendSettings
from mixreg.experiments.sweeping.costs import Costs, Kind, duration, kind_of
from mixreg.experiments.sweeping.damage import find_damage
from mixreg.experiments.sweeping.folders import check_folder, folders_of
from mixreg.experiments.sweeping.local import cores, threads_each
from mixreg.experiments.sweeping.missing import find_missing
from mixreg.experiments.sweeping.timing import time_epoch
from mixreg.training import RunDirectory, TrainConfig


@dataclass(frozen=True)
class _Planned:
    name: str
    run: TrainConfig
    state: str
    epochs: int = 0
    remark: str = ""


def plan(
    runs: Sequence[TrainConfig],
    *,
    names: Sequence[str],
    jobs: int | None = None,
    backend: BackendSettings | BackendName = "local",
) -> str:
    """List the runs of a sweep with their state, and estimate what is left to pay.

    The time of an epoch is that of finished runs of the same kind among these, where there are any,
    and otherwise of a few training steps made here and now.

    Args:
        runs: the runs.
        names: what to call each.
        jobs: runs at a time; None for one for each core.
        backend: where they would be executed.

    Returns:
        The list, the total, and where the estimates come from.

    Raises:
        MixregError: another version of this package made the directory.
    """
    for folder in folders_of(runs):
        check_folder(folder)
    place = BackendSettings(backend) if isinstance(backend, str) else backend
    planned = [
        _examine(name, run, missing)
        for name, run, missing in zip(names, runs, find_missing(runs, fetch=False), strict=True)
    ]
    slots = _slots(place, jobs, sum(p.epochs > 0 for p in planned))
    epochs, sources = _estimate(planned, Costs(runs), slots)
    width = max(len(p.name) for p in planned)
    lines = [f"{p.name:<{width}}  {_shown_cost(p, epochs):>8}  {p.state}" for p in planned]
    remarks = _grouped([(p.name, p.remark) for p in planned if p.remark])
    return "\n".join([*lines, *remarks, _total(planned, epochs, slots), *sources])


def _grouped(remarks: Sequence[tuple[str, str]]) -> list[str]:
    """Each remark once, with the names of the runs that it is about."""
    names: dict[str, list[str]] = {}
    for name, remark in remarks:
        names.setdefault(remark, []).append(name)
    return [
        f"{about[0]}{f' and {len(about) - 1} more' if len(about) > 1 else ''}: {remark}"
        for remark, about in names.items()
    ]


def _examine(name: str, run: TrainConfig, missing: str) -> _Planned:
    directory = RunDirectory(run.directory)
    if damage := find_damage(directory):
        return _Planned(name, run, "damaged", run.epochs, f"{damage}; would be set aside")
    try:
        begun = directory.begun(run)
    except MixregError as error:
        return _Planned(name, run, "refused", remark=str(error))
    if directory.finished:
        return _Planned(name, run, "finished")
    if missing:
        return _Planned(name, run, "data missing", remark=missing)
    done = _epochs_done(directory) if begun else 0
    if done:
        return _Planned(name, run, f"begun, at epoch {done} of {run.epochs}", run.epochs - done)
    return _Planned(name, run, "to do", run.epochs)


def _epochs_done(run: RunDirectory) -> int:
    if not run.checkpoint.is_file():
        return 0
    stored = torch.load(run.checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return len(stored["history"])


def _slots(place: BackendSettings, jobs: int | None, count: int) -> int | None:
    """Runs at a time; None for as many as a cluster turns out to take."""
    if jobs is None and place.name != "local":
        return None
    return max(1, min(jobs or cores(), count))


def _estimate(
    planned: Sequence[_Planned], costs: Costs, slots: int | None
) -> tuple[dict[Kind, float], list[str]]:
    """Seconds an epoch of each kind takes, and in words where each of them comes from."""
    epochs: dict[Kind, float] = {}
    told: dict[Kind, str] = {}
    for p in planned:
        kind = kind_of(p.run)
        if p.epochs == 0 or kind in told:
            continue
        known = costs.epoch(p.run)
        if count := costs.known(p.run):
            assert known is not None
            epochs[kind], source = known, f"from {count} finished"
        else:
            try:
                epochs[kind], source = _time_here(p.run, slots)
            except Exception as error:
                source = f"cannot be timed here ({type(error).__name__}: {error})"
        what = f"{p.run.data}, {p.run.model}, {p.run.method}"
        cost = f"{epochs[kind]:.2g} s an epoch, " if kind in epochs else ""
        told[kind] = f"{what}: {cost}{source}"
    if not told:
        return epochs, []
    return epochs, ["Estimates are of the training alone:", *(f"  {t}" for t in told.values())]


def _time_here(run: TrainConfig, slots: int | None) -> tuple[float, str]:
    before, threads = torch.get_num_threads(), threads_each(slots or cores())
    torch.set_num_threads(threads)
    try:
        timing = time_epoch(run)
    finally:
        torch.set_num_threads(before)
    unit = "thread" if threads == 1 else "threads"
    source = f"from {timing.steps} training steps just made on this machine with {threads} {unit}"
    return timing.epoch, source


def _shown_cost(planned: _Planned, epochs: dict[Kind, float]) -> str:
    if planned.epochs == 0:
        return "–"
    epoch = epochs.get(kind_of(planned.run))
    return "?" if epoch is None else duration(epoch * planned.epochs)


def _total(planned: Sequence[_Planned], epochs: dict[Kind, float], slots: int | None) -> str:
    states = Counter(p.state.partition(",")[0] for p in planned)
    counted = ", ".join(f"{n} {state}" for state, n in states.items())
    left = [(p.epochs, epochs.get(kind_of(p.run))) for p in planned if p.epochs > 0]
    known = [count * epoch for count, epoch in left if epoch is not None]
    text = f"{len(planned)} runs ({counted}): about {duration(sum(known))} of training"
    if slots is not None and slots > 1:
        text += f", {duration(_side_by_side(known, slots))} with {slots} at a time"
    unknown = len(left) - len(known)
    return text + (f", and {unknown} runs of unknown cost" if unknown else "")


def _side_by_side(costs: Sequence[float], slots: int) -> float:
    """When the last run ends if each begins, in order, as soon as a place is free."""
    free = [0.0] * slots
    for cost in costs:
        heapq.heappush(free, heapq.heappop(free) + cost)
    return max(free)
