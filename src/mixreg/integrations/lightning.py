"""Mixup of any LightningModule by a callback, with raw and rescaled validation side by side."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassCalibrationError

from mixreg._checks import Place, split, split_one
from mixreg._errors import ConfigurationError
from mixreg._random import draw_seed, generator
from mixreg.integrations.torchmetrics import soft_accuracy
from mixreg.laws import MixingLaw
from mixreg.mixing import Mixup
from mixreg.pairing import Per
from mixreg.prediction import RescaledModel
from mixreg.recipes import Recipe, scheduled
from mixreg.statistics import TrainingStatistics

Schedule = Callable[[int], MixingLaw]


class MixupCallback(Callback):
    """Mixes the batches of `training_step` and logs what the rescaled prediction would do.

    The module stays as it is: its `training_step` gets mixed inputs and soft labels (n, c), on
    which `cross_entropy` of PyTorch is right. Its own accuracy on these is not: the callback logs
    `train_mixed_accuracy`. In validation it logs `val_raw_…` and `val_rescaled_…` of accuracy, nll
    and ece, by equation 22 with the law of the last epoch that mixed.

    x̄ and ȳ are averaged when the training starts, over one pass of the training loader as
    `training_step` would see it, by all processes, each with its part. They, and the seed, are in
    the checkpoint. Draws depend on the seed, the epoch and the process: a training that is resumed
    after an epoch goes on as if it had never stopped.

    Args:
        law: law of λ, or a function of the epoch, from 0, that gives it; λ = 1 does not mix.
        num_classes: number of classes c of the labels.
        net: name of the submodule that takes the inputs and returns logits (n, c); by default the
            module itself.
        per: as for `Mixup`.
        inputs: what of a batch is mixed, as for `Mixup`.
        labels: where its labels are, as for `Mixup`.
        seed: of the draws, by default from PyTorch's generator.

    Raises:
        TypeError: what `Mixup` refuses.
        ValueError: likewise.

    Source: Carratino et al., equations 4 and 22.
    """

    def __init__(
        self,
        law: MixingLaw | Schedule,
        num_classes: int,
        *,
        net: str = "",
        per: Per = "sample",
        inputs: Place | None = None,
        labels: Place | None = None,
        seed: int | None = None,
    ) -> None:
        self._law: Schedule = (lambda _: law) if isinstance(law, MixingLaw) else law
        self._mixup = functools.partial(
            Mixup, num_classes=num_classes, per=per, inputs=inputs, labels=labels
        )
        self._mixup(self._law(0))  # refuses what is wrong before anything is trained
        self.num_classes, self.net, self.seed = num_classes, net, seed
        self._inputs, self._labels = inputs, labels
        self.stats: TrainingStatistics | None = None
        self._epochs = 0
        self._seen: Tensor | None = None
        self._targets: Tensor | None = None
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        self._rescaled: RescaledModel | None = None
        self._errors: dict[tuple[str, int], MulticlassCalibrationError] = {}

    @property
    def recipe(self) -> Recipe:
        """The recipe of the epochs so far, for a `RescaledModel`; it warns as `scheduled` does."""
        return scheduled([self._law(epoch) for epoch in range(max(self._epochs, 1))])

    def state_dict(self) -> dict[str, Any]:
        """Seed, epochs and training means."""
        means = None if self.stats is None else vars(self.stats)
        return {"seed": self.seed, "epochs": self._epochs, "stats": means and dict(means)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a stored training."""
        self.seed, self._epochs = state_dict["seed"], state_dict["epochs"]
        means = state_dict["stats"]
        self.stats = None if means is None else TrainingStatistics(**means)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Average the training data, and put the mixing before `training_step`."""
        if self.seed is None:
            self.seed = draw_seed(None)
        self.seed = trainer.strategy.broadcast(self.seed)
        if self.stats is None:
            with isolate_rng():
                self.stats = self._measured(trainer, pl_module)
        self._hook = self._function(pl_module).register_forward_hook(self._see)
        step = pl_module.training_step

        @functools.wraps(step)
        def mixed_step(batch: Any, *rest: Any) -> Any:
            if not trainer.training:  # called by a validation_step
                return step(batch, *rest)
            mixed = self._mixing.transform(batch)
            self._seen, self._targets = None, split(mixed, self._inputs, self._labels)[1]
            return step(mixed, *rest)

        vars(pl_module)["training_step"] = mixed_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take this epoch's law and draws."""
        assert self.seed is not None
        epoch = trainer.current_epoch
        draws = generator("mixing", self.seed, epoch, trainer.global_rank)
        self._mixing = self._mixup(self._law(epoch), generator=draws)
        self._epochs = epoch + 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the accuracy on the mixed batch."""
        if self._seen is not None and self._targets is not None:
            accuracy = soft_accuracy(self._seen, self._targets)
            _log(pl_module, "train_mixed_accuracy", accuracy.float(), len(self._targets))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the module back as it was."""
        vars(pl_module).pop("training_step", None)
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._rescaled = self._seen = self._targets = None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the module back as it was."""
        self.on_train_end(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the rescaled prediction, outside of the module's own tree."""
        self._rescaled, self._errors = None, {}
        if self.stats is None or trainer.sanity_checking:
            return
        with warnings.catch_warnings(action="ignore"):
            recipe = self.recipe
        self._rescaled = RescaledModel(self._function(pl_module), self.stats, recipe)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log both predictions of one batch."""
        if self._rescaled is None:
            return
        x, y = split_one(batch, self._inputs, self._labels)
        both = {"raw": self._rescaled.net(x), "rescaled": self._rescaled(x)}
        for name, logits in both.items():
            _log(pl_module, f"val_{name}_accuracy", soft_accuracy(logits, y).float(), len(y))
            _log(pl_module, f"val_{name}_nll", functional.cross_entropy(logits.float(), y), len(y))
            error = self._errors.get((name, dataloader_idx))
            if error is None:
                error = MulticlassCalibrationError(self.num_classes, n_bins=15).to(logits.device)
                self._errors[name, dataloader_idx] = error
            error.update(torch.softmax(logits.float(), 1), y)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log calibration errors, over all processes."""
        for (name, index), error in self._errors.items():
            suffix = f"/dataloader_idx_{index}" if len(self._errors) > 2 else ""
            value = error.compute()
            pl_module.log(
                f"val_{name}_ece{suffix}", value, sync_dist=True, add_dataloader_idx=False
            )

    def _function(self, pl_module: LightningModule) -> nn.Module:
        try:
            return pl_module.get_submodule(self.net)
        except AttributeError as error:
            raise ConfigurationError(
                f"the module has no submodule {self.net!r}; net= names the one that takes inputs "
                "and returns logits"
            ) from error

    def _see(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Keep the first logits of a step."""
        if self._seen is None and isinstance(output, Tensor) and output.ndim == 2:
            self._seen = output.detach()

    def _measured(self, trainer: Trainer, pl_module: LightningModule) -> TrainingStatistics:
        """Means over the training loader, moved and transformed as for `training_step`."""

        def batches() -> Any:
            for batch in trainer.train_dataloader or ():
                batch = trainer.precision_plugin.convert_input(batch)
                batch = pl_module._on_before_batch_transfer(batch)
                yield trainer.strategy.batch_to_device(batch)

        return TrainingStatistics.from_loader(
            batches(), self.num_classes, inputs=self._inputs, labels=self._labels
        )


def _log(pl_module: LightningModule, name: str, value: Tensor, n: int) -> None:
    pl_module.log(name, value, on_step=False, on_epoch=True, batch_size=n, sync_dist=True)
