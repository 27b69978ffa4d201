"""The Lightning module: one epoch of any method, with everything random derived from the seed."""

import math
import time
from collections.abc import Iterable
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from mixreg._checks import dense_targets
from mixreg._errors import CheckpointError, MixregError
from mixreg._random import derive_seed, generator
from mixreg.data import Dataset, Split
from mixreg.losses import cross_entropy, two_class_logits
from mixreg.settings import TrainConfig
from mixreg.statistics import TrainingStatistics
from mixreg.training.load import training_targets
from mixreg.training.methods import METHODS, Ingredients, Objective
from mixreg.training.weights import misfit

SPLITS: tuple[Split, ...] = ("validation", "test")


class TrainingModule(lightning.LightningModule):
    """Train a network by SGD on the objective of a method.

    Order, augmentation, mixing and dropout of an epoch depend on the seed, the epoch and the rank
    alone, so that training resumed after any epoch continues as if it had never stopped. By
    default x̄ and ȳ are those of one augmented pass without mixing.
    """

    def __init__(
        self,
        net: nn.Module,
        config: TrainConfig,
        data: Dataset,
        stats: TrainingStatistics | None = None,
    ) -> None:
        super().__init__()
        self.net, self.config, self.data, self.stats = net, config, data, stats
        self.history: list[dict[str, float]] = []
        self._seconds_before = 0.0
        self._begin = time.monotonic()
        self.objective: Objective | None = None
        self.means = nn.ModuleDict({"objective": _mean()})
        classes = max(data.num_classes, 2)
        self.metrics = nn.ModuleDict()
        for split in self.splits:
            self.metrics[f"{split}_nll"] = _mean()
            self.metrics[f"{split}_accuracy"] = MulticlassAccuracy(classes, average="micro")

    @property
    def seconds(self) -> float:
        """How long the training has taken, with what it took before it was interrupted."""
        return self._seconds_before + time.monotonic() - self._begin

    def on_fit_start(self) -> None:
        """Measure x̄ and ȳ, each process its part of the data, unless a checkpoint held them."""
        if self.stats is None:
            self.stats = self._measure()

    def train_dataloader(self) -> Iterable[tuple[Tensor, Tensor]]:
        """This rank's training batches of the current epoch."""
        per_process = self.config.batch_size // self.trainer.world_size
        return self._epoch(self.current_epoch, per_process)

    def val_dataloader(self) -> list[Iterable[tuple[Tensor, Tensor]]]:
        """The validation and test batches; nothing is chosen by the latter."""
        place = {"rank": self.global_rank, "world_size": self.trainer.world_size}
        return [self.data.batches(split, 500, **place) for split in self.splits]

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that are not empty."""
        return tuple(split for split in SPLITS if self.data.size(split) > 0)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """SGD with a step size that falls at the milestones."""
        c = self.config
        optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=c.learning_rate,
            momentum=c.momentum,
            nesterov=c.nesterov,
            weight_decay=c.weight_decay,
        )
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(c.milestones), c.decay)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}

    def on_train_epoch_start(self) -> None:
        """Derive this epoch's random streams from the seed, the epoch and the rank."""
        where = (self.config.seed, self.current_epoch, self.global_rank)
        torch.manual_seed(derive_seed("network", *where))
        assert self.stats is not None
        c = self.config
        self.objective = METHODS[c.method].objective(
            Ingredients(
                loss=c.loss,
                law=c.law,
                stats=self.stats,
                generator=generator("mixing", *where),
                per=c.per,
                smoothing=c.smoothing,
                directions=c.directions,
                second_order=c.second_order,
            )
        )

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The objective of one batch of inputs and class indices."""
        assert self.objective is not None
        x, y = batch
        step = self.objective(self.net, x, self._targets(y))
        for name, value in {"objective": step.value, **step.terms}.items():
            if name not in self.means:
                self.means[name] = _mean().to(self.device)
            _metric(self.means, name).update(value.detach())
        return step.value

    def validation_step(
        self, batch: tuple[Tensor, Tensor], _: int, dataloader_idx: int = 0
    ) -> None:
        """Add one batch of inputs and class indices to the metrics of its split."""
        x, y = batch
        split = self.splits[dataloader_idx]
        logits = two_class_logits(self.net(x)).float()
        targets = dense_targets(y, logits.shape[1], dtype=logits.dtype)
        _metric(self.metrics, f"{split}_nll").update(cross_entropy(targets, logits))
        _metric(self.metrics, f"{split}_accuracy").update(logits, y)

    def on_train_epoch_end(self) -> None:
        """Enter the epoch into the history and log it; metrics that are not finite end it all."""
        entry = {"epoch": float(self.current_epoch + 1)}
        for name, metric in (*self.means.items(), *self.metrics.items()):
            entry[name] = _take(metric)
        for name, value in entry.items():
            if not math.isfinite(value):
                raise MixregError(
                    f"training diverged: {name} became {value} in epoch {self.current_epoch + 1}; "
                    "try a smaller --learning-rate, with another --output or after deleting this "
                    "run's directory, which belongs to the present settings"
                )
        self.history.append(entry)
        for logger in self.loggers:
            logger.log_metrics(entry | {"epoch": self.current_epoch}, self.global_step - 1)
            logger.save()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the history, the time it took, and the means with the weights."""
        assert self.stats is not None
        checkpoint["history"] = self.history
        checkpoint["seconds"] = self.seconds
        checkpoint["stats"] = vars(self.stats)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the stored history, and count the time from there."""
        if different := misfit(checkpoint["state_dict"], self.state_dict()):
            raise CheckpointError(
                f"the checkpoint in {self.config.directory} is of another network ({different}); "
                "delete it to train again from the start"
            )
        self.history = list(checkpoint["history"])
        self.stats = TrainingStatistics(**checkpoint["stats"])
        self._seconds_before = float(checkpoint["seconds"])
        self._begin = time.monotonic()

    def _measure(self) -> TrainingStatistics:
        batches, num_classes = self._epoch(0, batch_size=500), self.data.num_classes
        show = self.config.progress and self.global_rank == 0
        if self.config.loss == "cross_entropy":
            return TrainingStatistics.from_loader(batches, num_classes, progress=show)
        one_logit = [(x, self._targets(y)) for x, y in batches]
        return TrainingStatistics.from_loader(one_logit, progress=show)

    def _epoch(self, epoch: int, batch_size: int) -> Iterable[tuple[Tensor, Tensor]]:
        return self.data.train_batches(
            batch_size,
            seed=self.config.seed,
            epoch=epoch,
            rank=self.global_rank,
            world_size=self.trainer.world_size,
        )

    def _targets(self, y: Tensor) -> Tensor:
        return training_targets(y, self.config, self.data.num_classes)


def _mean() -> MeanMetric:
    return MeanMetric(nan_strategy="disable")


def _metric(group: nn.ModuleDict, name: str) -> Metric:
    metric = group[name]
    assert isinstance(metric, Metric)
    return metric


def _take(metric: Any) -> float:
    value = float(metric.compute())
    metric.reset()
    return value
