"""Train one run, from the start or from where it stopped."""

import csv
import io
import logging
import signal
import subprocess
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, cast

import lightning
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LambdaCallback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from mixreg._errors import ConfigurationError, MixregError
from mixreg._files import write_bytes
from mixreg._lazy import is_function
from mixreg.data import Dataset, is_own
from mixreg.settings import TrainConfig
from mixreg.training.load import build_model, load_data
from mixreg.training.methods import METHODS
from mixreg.training.module import TrainingModule
from mixreg.training.run import RunDirectory, read_checkpoint, write_checkpoint, write_model

_SILENCED = (
    *("does not have many workers", "LeafSpec"),
    *("exists and is not empty", "dirpath has changed"),
)
_PATIENCE = 10.0
"""Seconds in which a data-parallel process that was killed is known to have ended."""


def train(config: TrainConfig) -> RunDirectory:
    """Train one run; a finished one is not trained again, an interrupted one is resumed.

    Args:
        config: the run.

    Returns:
        The run's directory, with model and history.

    Raises:
        ConfigurationError: the directory holds a run with other settings, the batches are too
            small for the method, or the hardware is not there.
        CheckpointError: a file of the run is damaged.
        DataError: the data set is missing or damaged.
        BusyError: another process works in the directory.
        MixregError: the training diverged, or one of its processes ended.
    """
    run = RunDirectory(config.directory)
    if is_first_process() and run.finished:
        return _known(run, config)
    if is_function(config.data) and is_own(config.data):
        raise ConfigurationError(
            f"the loaders of {config.data} have an order of their own, and a training could not be "
            "resumed to the same bits; they are for evaluate and diagnose"
        )
    data = load_data(config)
    _check_batches(config, data)
    module = TrainingModule(build_model(config, data), config, data)
    table = run.path / "metrics.csv" if "csv" in config.loggers else None
    trainer = _trainer(run, config, table)
    if not is_first_process():
        return _fit(run, module, trainer, table)
    with run.lock():
        run.prepare(config)
        return _known(run, config) if run.finished else _fit(run, module, trainer, table)


def is_first_process() -> bool:
    """Whether this is the only process of a run, or of several the one that writes its files."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning without its announcements and without the warnings that are not about the user."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _SILENCED:
                warnings.filterwarnings("ignore", message=f".*{message}.*")
            yield
    finally:
        logger.setLevel(level)


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's checkpoints, whole or not at all, and their history in a CSV file, if any."""

    def __init__(self, table: Path | None = None) -> None:
        self.table = table

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write one checkpoint; `storage_options` must be None."""
        assert storage_options is None
        write_checkpoint(Path(path), checkpoint)
        if self.table is not None:
            write_table(self.table, checkpoint["history"])

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read one checkpoint; `weights_only` is always taken as True."""
        del weights_only
        return read_checkpoint(Path(path), map_location)


class Termination(Callback):
    """SIGTERM ends the training and its processes at once; the last finished epoch is stored."""

    def __init__(self) -> None:
        self.before = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: lightning.Trainer, *_: object) -> None:
        """Take the signal back from Lightning, which waits for the end of a batch in all ranks."""

        def end(number: int, _: object) -> None:
            for process in _children(trainer):
                process.kill()
            signal.signal(number, self.before if trainer.is_global_zero else signal.SIG_DFL)
            signal.raise_signal(number)

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, end)


def write_table(file: Path, history: Sequence[dict[str, float]]) -> None:
    """Write a history as CSV, one row an epoch."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(dict.fromkeys(chain.from_iterable(history))))
    writer.writeheader()
    writer.writerows(history)
    write_bytes(file, table.getvalue().encode())


def _fit(
    run: RunDirectory, module: TrainingModule, trainer: lightning.Trainer, table: Path | None
) -> RunDirectory:
    with quiet(), _interruptible():
        try:
            trainer.fit(module, ckpt_path=run.checkpoint if run.checkpoint.is_file() else None)
        except RuntimeError as error:
            _explain(trainer, error)
    if trainer.is_global_zero:
        _write_model(run.weights, module)
        if table is not None:
            write_table(table, module.history)
        run.write_result(module.history, module.seconds)
    trainer.strategy.barrier()
    return run


def _write_model(file: Path, module: lightning.LightningModule) -> None:
    assert isinstance(module, TrainingModule)
    assert module.stats is not None
    write_model(file, module.net, module.stats, module.config)


def _known(run: RunDirectory, config: TrainConfig) -> RunDirectory:
    """A finished run, if it is this one and kept the weights that are asked for."""
    run.begun(config)
    missing = [epoch for epoch in config.snapshots if not run.snapshot(epoch).is_file()]
    if missing:
        raise ConfigurationError(
            f"{run.path} is finished but did not keep its weights after the epochs {missing}; "
            "choose another --output, or delete that directory to train again"
        )
    return run


def _check_batches(config: TrainConfig, data: Dataset) -> None:
    """Refuse a last batch too small for methods that pair different examples of a batch."""
    needed = METHODS[config.method].examples
    per_process = config.batch_size // config.devices
    last = data.size("train") // config.devices % per_process
    if per_process < needed or 0 < last < needed:
        raise ConfigurationError(
            f"method {config.method!r} pairs the examples of a batch and needs {needed} in each, "
            f"but {data.size('train')} training samples in batches of {per_process} leave {last} "
            "for the last one; choose another --batch-size"
        )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C as a `KeyboardInterrupt`, where Lightning shuts down and ends the process itself."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from ended
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _children(trainer: lightning.Trainer) -> list[subprocess.Popen[bytes]]:
    """The processes that this one started for the other devices."""
    return list(getattr(trainer.strategy.launcher, "procs", []))


def _explain(trainer: lightning.Trainer, error: RuntimeError) -> None:
    """Raise an error again; one that another process caused by ending, in words."""
    for process in _children(trainer):
        try:
            status = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        if status != 0:
            raise MixregError(
                f"a process of this data-parallel training ended with status {status}; run the "
                "same command to go on from the last finished epoch"
            ) from error
    raise error


def _trainer(run: RunDirectory, config: TrainConfig, table: Path | None) -> lightning.Trainer:
    """What trains, on an accelerator that is there and with a precision that it has."""
    checkpoints = ModelCheckpoint(
        run.checkpoint.parent,
        run.checkpoint.stem,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )

    def keep(trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch in config.snapshots and trainer.is_global_zero:
            _write_model(run.snapshot(epoch), module)

    callbacks = [Termination(), LambdaCallback(on_train_epoch_end=keep), checkpoints]
    loggers: list[Logger] = []
    if config.progress:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    if "tensorboard" in config.loggers:
        loggers.append(TensorBoardLogger(run.path, name="tensorboard", version=""))
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trainer = lightning.Trainer(
                accelerator=config.accelerator,
                devices=config.devices,
                precision=cast(Any, config.precision),
                strategy="ddp" if config.devices > 1 else "auto",
                max_epochs=config.epochs,
                callbacks=callbacks,
                plugins=[CheckpointFiles(table)],
                logger=loggers,
                num_sanity_val_steps=0,
                reload_dataloaders_every_n_epochs=1,
                use_distributed_sampler=False,
                enable_progress_bar=config.progress,
                enable_model_summary=False,
                log_every_n_steps=1,
            )
        except (ValueError, MisconfigurationException, ImportError) as error:
            raise ConfigurationError(
                f"--accelerator {config.accelerator}, --devices {config.devices} and --precision "
                f"{config.precision} are not to be had here: {' '.join(str(error).split())}"
            ) from error
    if trainer.precision == "bf16-mixed" and config.precision in {"16", "16-mixed"}:
        raise ConfigurationError(
            f"precision {config.precision!r} needs a GPU; on a CPU use 'bf16-mixed' or '32-true'"
        )
    return trainer
