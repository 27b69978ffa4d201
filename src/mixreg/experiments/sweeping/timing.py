"""How long an epoch of a run takes on this machine, from a few real training steps."""

import math
import time
from statistics import median
from typing import Any, NamedTuple, cast

import lightning
from lightning.pytorch.callbacks import Callback

from mixreg.data import Dataset
from mixreg.statistics import TrainingStatistics
from mixreg.training import TrainConfig, build_model, load_data, quiet
from mixreg.training.load import training_targets
from mixreg.training.module import SPLITS, TrainingModule

_BUDGET = 1.5
_FEWEST, _MOST = 4, 60
_EVALUATION_BATCH = 500


class Timing(NamedTuple):
    """Seconds an epoch takes, and the training steps that were timed."""

    epoch: float
    steps: int


def time_epoch(run: TrainConfig) -> Timing:
    """Train a run for a few steps, and put an epoch together from them.

    Nothing is kept: what the training writes goes to a temporary directory.

    Args:
        run: the run.

    Returns:
        The time of its training steps, and of the epoch's evaluation.
    """
    data = load_data(run)
    with quiet():
        statistics = _some_statistics(run, data)
        warm = _Clock.run(run, data, statistics, steps=_FEWEST)
        steps = min(max(int(_BUDGET / warm.step), _FEWEST), _MOST)
        clock = _Clock.run(run, data, statistics, steps=steps)
    training = math.ceil(data.size("train") / run.batch_size)
    evaluation = sum(math.ceil(data.size(split) / _EVALUATION_BATCH) for split in SPLITS)
    return Timing(training * clock.step + evaluation * clock.evaluation, len(clock.training))


def _some_statistics(run: TrainConfig, data: Dataset) -> TrainingStatistics:
    """Of one batch, which take no less time to train with than those of the whole data set."""
    x, y = next(iter(data.train_batches(run.batch_size, seed=run.seed, epoch=0)))
    return TrainingStatistics.from_tensors(x, training_targets(y, run, data.num_classes))


class _Clock(Callback):
    """The seconds between the ends of batches."""

    def __init__(self) -> None:
        self.training: list[float] = []
        self.evaluating: list[float] = []
        self._last = 0.0

    @classmethod
    def run(
        cls, run: TrainConfig, data: Dataset, statistics: TrainingStatistics, *, steps: int
    ) -> "_Clock":
        """Train a new network."""
        clock = cls()
        trainer = lightning.Trainer(
            accelerator=run.accelerator,
            devices=1,
            precision=cast(Any, run.precision),
            max_epochs=1,
            limit_train_batches=steps,
            limit_val_batches=2,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        trainer.fit(TrainingModule(build_model(run, data), run, data, statistics))
        return clock

    @property
    def step(self) -> float:
        """Seconds of a training step."""
        return median(self.training)

    @property
    def evaluation(self) -> float:
        """Seconds of evaluating one batch."""
        return median(self.evaluating) if self.evaluating else 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        """The first step begins."""
        self._last = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        """A step ends."""
        self.training.append(self._lap())

    def on_validation_batch_start(self, *_: object) -> None:
        """An evaluation begins."""
        self._last = time.perf_counter()

    def on_validation_batch_end(self, *_: object) -> None:
        """An evaluation ends."""
        self.evaluating.append(self._lap())

    def _lap(self) -> float:
        before, self._last = self._last, time.perf_counter()
        return self._last - before
