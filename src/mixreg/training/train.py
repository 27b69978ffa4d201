"""Train one run, from the start or from where it stopped."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from mixreg import data as datasets
from mixreg import models
from mixreg._errors import ConfigurationError
from mixreg._files import write_bytes
from mixreg._random import derive_seed
from mixreg.training.checkpoints import AtomicCheckpointIO, Snapshots, weights_bytes
from mixreg.training.config import PAIRED_METHODS, TrainConfig
from mixreg.training.metrics_table import MetricsTable
from mixreg.training.module import TrainingModule
from mixreg.training.run_directory import RunDirectory
from mixreg.training.spectral import apply_spectral_norm


def train(config: TrainConfig) -> RunDirectory:
    """Train one run; a finished one is not trained again, an interrupted one is resumed.

    Args:
        config: the run.

    Returns:
        The run's directory, with weights, statistics and history.

    Raises:
        ConfigurationError: the directory holds a run with other settings, or the batches are too
            small for the method.
        DataError: the data set is missing or damaged.
        BusyError: another process works in the directory.
        MixregError: the training diverged.
    """
    run = RunDirectory(config.directory)
    if is_first_process() and run.finished:
        return _known(run, config)
    data = load_data(config)
    _check_batches(config, data)
    net = build_model(config, data)
    if not is_first_process():
        return _fit(run, config, data, net)
    _check_hardware(config)
    with run.lock():
        run.prepare(config)
        return _known(run, config) if run.finished else _fit(run, config, data, net)


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the one that writes its files.

    Returns:
        False in the further processes that data-parallel training starts.
    """
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def load_data(config: TrainConfig) -> datasets.Dataset:
    """The data set of a run.

    Args:
        config: the run.

    Returns:
        The data set, split by the run's seed.

    Raises:
        ConfigurationError: the data set cannot be split so.
        DataError: it is missing or damaged.
    """
    with _as_settings():
        return datasets.load(
            config.data,
            config.data_root,
            seed=config.seed,
            validation_fraction=config.validation_fraction,
            label_noise=config.label_noise,
            augment=config.augment,
            workers=config.workers,
            download=config.download,
        )


def build_model(config: TrainConfig, data: datasets.Dataset) -> nn.Module:
    """The untrained network of a run.

    Args:
        config: the run.
        data: its data set.

    Returns:
        The network, in channels-last layout where inputs are images.

    Raises:
        ConfigurationError: a logistic loss for more than two classes, or a model that does not
            exist or does not take such inputs.
    """
    if config.loss == "logistic" and data.num_classes != 2:
        raise ConfigurationError(
            f"loss='logistic' needs two classes, {config.data} has {data.num_classes}; "
            "use loss='cross_entropy'"
        )
    with _as_settings():
        net = models.build(
            config.model,
            input_shape=data.input_shape,
            num_outputs=1 if config.loss == "logistic" else data.num_classes,
            dropout=config.dropout if config.method == "dropout" else 0.0,
            seed=config.seed,
        )
    if config.method == "spectral":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("spectral norm", config.seed))
            net = apply_spectral_norm(net)
    is_image = len(data.input_shape) == 3
    return net.to(memory_format=torch.channels_last) if is_image else net


@contextmanager
def _as_settings() -> Iterator[None]:
    """What another part refuses of a run's settings as an error of the configuration."""
    try:
        yield
    except (ValueError, MisconfigurationException) as error:
        raise ConfigurationError(" ".join(str(error).split())) from error


def _check_hardware(config: TrainConfig) -> None:
    """Refuse an accelerator that is not there, or a precision it does not have."""
    with quiet(), _as_settings():
        lightning.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            precision=cast(Any, config.precision),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )


def _check_batches(config: TrainConfig, data: datasets.Dataset) -> None:
    """Refuse a last batch too small for methods that pair different examples of a batch."""
    per_process = config.batch_size // config.devices
    last = data.size("train") // config.devices % per_process
    if config.method in PAIRED_METHODS and (per_process < 3 or 0 < last < 3):
        raise ConfigurationError(
            f"method {config.method!r} pairs the examples of a batch and needs 3 in each, but "
            f"{data.size('train')} training samples in batches of {per_process} leave {last} for "
            "the last one; choose another --batch_size"
        )


def _known(run: RunDirectory, config: TrainConfig) -> RunDirectory:
    """A finished run, if it is this one and kept the weights that are asked for."""
    run.prepare(config)
    missing = [epoch for epoch in config.snapshots if not run.snapshot(epoch).is_file()]
    if missing:
        raise ConfigurationError(
            f"{run.path} is finished but did not keep its weights after the epochs {missing}; "
            "choose another --output, or delete that directory to train again"
        )
    return run


def _fit(
    run: RunDirectory, config: TrainConfig, data: datasets.Dataset, net: nn.Module
) -> RunDirectory:
    module = TrainingModule(net, config, data, run.statistics)
    with quiet(), _interruptible():
        trainer = _trainer(run, config)
        trainer.fit(module, ckpt_path=run.checkpoint if run.checkpoint.is_file() else None)
    if trainer.is_global_zero:
        write_bytes(run.weights, weights_bytes(net))
        run.write_result(module.history, module.seconds)
    trainer.strategy.barrier()
    return run


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C as a `KeyboardInterrupt`, where Lightning shuts down and ends the process itself."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from ended
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning without its announcements and without the warnings that are not about the user.

    Yields:
        Nothing.
    """
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            warnings.filterwarnings("ignore", message=".*dirpath has changed.*")
            yield
    finally:
        logger.setLevel(level)


def _trainer(run: RunDirectory, config: TrainConfig) -> lightning.Trainer:
    callbacks: list[Callback] = [
        Snapshots({epoch: run.snapshot(epoch) for epoch in config.snapshots}),
        ModelCheckpoint(
            run.checkpoint.parent,
            run.checkpoint.stem,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
    if config.progress:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    return lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        strategy="ddp" if config.devices > 1 else "auto",
        precision=cast(Any, config.precision),
        max_epochs=config.epochs,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=_loggers(run.path, config),
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=config.progress,
        log_every_n_steps=1,
    )


def _loggers(path: Path, config: TrainConfig) -> list[Logger]:
    made: list[Logger] = []
    if "csv" in config.loggers:
        made.append(MetricsTable(path / "csv"))
    if "tensorboard" in config.loggers:
        made.append(TensorBoardLogger(path, name="tensorboard", version=""))
    return made
