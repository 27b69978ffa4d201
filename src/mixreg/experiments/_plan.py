"""What a sweep would do, and what it would cost; nothing is written."""

import heapq
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple, cast

import lightning
import torch
from lightning.pytorch.callbacks import LambdaCallback

from mixreg._errors import MixregError
from mixreg.experiments._backends import cores, side_by_side, threads_each
from mixreg.experiments._progress import Costs, duration, kind
from mixreg.experiments._sweep import check_folder, grouped, missing_data
from mixreg.settings import SweepSettings
from mixreg.statistics import TrainingStatistics
from mixreg.training import RunDirectory, TrainConfig, build_model, load_data, quiet
from mixreg.training.load import training_targets
from mixreg.training.module import SPLITS, TrainingModule

_BUDGET, _WARM, _MOST = timedelta(seconds=2), 4, 60  # of the steps that are timed
_EVALUATION_BATCH = 500


class Planned(NamedTuple):
    """The state of a run, the epochs that are left, and what is in its way."""

    state: str
    epochs: int = 0
    remark: str = ""


def plan(runs: Sequence[TrainConfig], settings: SweepSettings) -> str:
    """The runs of a sweep with their states, and an estimate of what is left to pay."""
    names = [run.directory.name for run in runs]
    for folder in {run.directory.parent for run in runs}:
        check_folder(folder)
    missing = missing_data(runs, fetch=False)
    planned = [_examine(run, why) for run, why in zip(runs, missing, strict=True)]
    left = [run for run, p in zip(runs, planned, strict=True) if p.epochs]
    is_known = settings.backend == "local" or settings.jobs is not None
    slots = side_by_side(settings, len(left)) if is_known else 0
    seconds, sources = _estimate(left, Costs(runs), slots or cores())
    costs = [p.epochs * seconds.get(kind(r), 0.0) for r, p in zip(runs, planned, strict=True)]
    width = max(map(len, names))
    lines = [
        f"{name:<{width}}  {_cost_text(p, cost):>8}  {p.state}"
        for name, p, cost in zip(names, planned, costs, strict=True)
    ]
    remarks = {name: p.remark for name, p in zip(names, planned, strict=True) if p.remark}
    remarked = grouped(remarks, dict(zip(names, runs, strict=True)))
    return "\n".join([*lines, *remarked, _total(planned, costs, slots), *sources])


def _examine(run: TrainConfig, missing: str) -> Planned:
    directory = RunDirectory(run.directory)
    if damage := directory.corrupt():
        return Planned("damaged", run.epochs, f"{damage}; would be set aside")
    try:
        begun = directory.begun(run)
    except MixregError as error:
        return Planned("refused", 0, str(error))
    if directory.finished:
        return Planned("finished")
    if missing:
        return Planned("data missing", 0, missing)
    done = 0
    if begun and directory.checkpoint.is_file():
        stored = torch.load(directory.checkpoint, map_location="cpu", weights_only=True, mmap=True)
        done = len(stored["history"])
    state = f"begun, at epoch {done} of {run.epochs}" if done else "to do"
    return Planned(state, run.epochs - done)


def _estimate(
    runs: Sequence[TrainConfig], costs: Costs, slots: int
) -> tuple[dict[object, float], list[str]]:
    """Seconds an epoch of each kind takes, and in words where each of them comes from."""
    seconds: dict[object, float] = {}
    sources = ["Estimates are of the training alone:"]
    for run in runs:
        if (key := kind(run)) in seconds:
            continue
        try:
            learnt = costs.of_kind(run)
            seconds[key], source = learnt or _time_here(run, threads_each(slots))
            source = f"{seconds[key]:.2g} s an epoch, {source}"
        except Exception as error:
            seconds[key] = math.nan
            source = f"cannot be timed here ({type(error).__name__}: {error})"
        sources.append(f"  {run.data}, {run.model}, {run.method}: {source}")
    return seconds, sources if seconds else []


def _time_here(run: TrainConfig, threads: int) -> tuple[float, str]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seconds, steps = time_epoch(run)
    finally:
        torch.set_num_threads(before)
    on = f"{threads} thread{'' if threads == 1 else 's'}"
    return seconds, f"from {steps} training steps just made on this machine with {on}"


def time_epoch(run: TrainConfig) -> tuple[float, int]:
    """Seconds an epoch takes, put together from a few training steps, and their number."""
    data = load_data(run)
    training: list[float] = []
    evaluation: list[float] = []

    def clock(times: list[float]) -> Callable[..., None]:
        return lambda *_: times.append(time.perf_counter())

    with quiet():
        # The statistics of one batch take no less time to train with than those of all.
        x, y = next(iter(data.train_batches(run.batch_size, seed=run.seed, epoch=0)))
        targets = training_targets(y, run, data.num_classes)
        statistics = TrainingStatistics.from_tensors(x, targets)
        lightning.Trainer(
            accelerator=run.accelerator,
            devices=1,
            precision=cast(Any, run.precision),
            max_epochs=1,
            max_time=_BUDGET,
            limit_train_batches=_MOST,
            limit_val_batches=2,
            callbacks=[
                LambdaCallback(
                    on_train_epoch_start=clock(training),
                    on_train_batch_end=clock(training),
                    on_validation_batch_start=clock(evaluation),
                    on_validation_batch_end=clock(evaluation),
                )
            ],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        ).fit(TrainingModule(build_model(run, data), run, data, statistics))

    steps = [end - begin for begin, end in pairwise(training)]
    batches = [end - begin for begin, end in zip(evaluation[::2], evaluation[1::2], strict=True)]
    epoch = math.ceil(data.size("train") / run.batch_size) * median(steps[_WARM:] or steps)
    for split in SPLITS if batches else ():
        epoch += math.ceil(data.size(split) / _EVALUATION_BATCH) * median(batches)
    return epoch, len(steps)


def _cost_text(planned: Planned, cost: float) -> str:
    return "–" if planned.epochs == 0 else "?" if math.isnan(cost) else duration(cost)


def _total(planned: Sequence[Planned], costs: Sequence[float], slots: int) -> str:
    states = Counter(p.state.partition(",")[0] for p in planned)
    counted = ", ".join(f"{n} {state}" for state, n in states.items())
    known = [cost for cost in costs if cost and not math.isnan(cost)]
    unknown = sum(map(math.isnan, costs))
    text = f"{len(planned)} runs ({counted}): about {duration(sum(known))} of training"
    if slots > 1:
        text += f", {duration(_side_by_side(known, slots))} with {slots} at a time"
    return text + (f", and {unknown} runs of unknown cost" if unknown else "")


def _side_by_side(costs: Sequence[float], slots: int) -> float:
    """When the last run ends if each begins, in order, as soon as a place is free."""
    free = [0.0] * slots
    for cost in costs:
        heapq.heappush(free, heapq.heappop(free) + cost)
    return max(free)
