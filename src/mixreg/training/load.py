"""Data, networks and trained classifiers as settings, runs and files of weights describe them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixreg import data as datasets
from mixreg import models
from mixreg._checks import dense_targets
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg._random import derive_seed
from mixreg.data import Dataset
from mixreg.laws import Constant, MixingLaw
from mixreg.prediction import RescaledModel
from mixreg.recipes.recipe import Recipe
from mixreg.settings import TrainConfig
from mixreg.statistics import TrainingStatistics
from mixreg.training.methods import METHODS
from mixreg.training.run import RunDirectory, read_model, rescaled
from mixreg.training.spectral import apply_spectral_norm
from mixreg.training.weights import Stored, read_weights


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A trained classifier.

    Args:
        net: the network, in evaluation mode.
        stats: x̄ and ȳ of its training data.
        config: how it was trained.
        data: its data set.
        run: its directory, None for a bare checkpoint.
        notes: what was chosen where a bare checkpoint leaves a choice.
        assumed: what another program's settings amount to; None for the law of the config.
    """

    net: nn.Module
    stats: TrainingStatistics
    config: TrainConfig
    data: Dataset
    run: RunDirectory | None
    notes: tuple[str, ...] = ()
    assumed: Recipe | None = None

    @property
    def recipe(self) -> Recipe:
        """How its training shrank inputs and labels, or what its evaluation assumes."""
        return self.assumed or METHODS[self.config.method].learned(self.config.law)

    @property
    def law(self) -> MixingLaw:
        """The law of λ that its labels were shrunk by, or that its evaluation assumes."""
        return self.recipe.label_law

    @property
    def class_means(self) -> Tensor:
        """What labels were shrunk towards by `output_law`, shape (c,): ȳ but for smoothing."""
        mean = self.stats.y_mean
        if self.config.loss == "logistic":
            mean = torch.cat([1 - mean, mean])
        if self.recipe.label_smoothing == 0:
            return mean
        s, shrinkage = self.recipe.label_smoothing, self.law.shrinkage
        blend = shrinkage * (1 - s) * mean + s / len(mean)
        return blend / (shrinkage * (1 - s) + s)

    @property
    def output_law(self) -> MixingLaw:
        """The law by which labels were shrunk in all: smoothing by s leaves (1 − s) θ̄ of them."""
        if self.recipe.label_smoothing == 0:
            return self.law
        return Constant((1 - self.recipe.label_smoothing) * self.law.theta_mean)

    def assuming(self, alpha: float) -> "TrainedClassifier":
        """The classifier as if it had been trained with this α."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, alpha=alpha))


def load(path: str | Path) -> RescaledModel:
    """The trained network of a run, asked for predictions as mixup taught it (equation 22).

    No data are needed. A network of this package is built by the settings that its file holds;
    any other one takes the same file by `RescaledModel.load_state_dict`. After a method that does
    not mix, the predictions are those of the network itself.

    Args:
        path: a run's directory, its `model.safetensors`, or a snapshot.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: there is no such file, or it is damaged or not of this version.
    """
    path = Path(path)
    if path.is_dir():
        path = _finished(path)[0].weights
    stored = read_model(path, remedy="train again, or give the directory of a finished run")
    config, stats = stored.config, stored.stats
    net = _build(config, tuple(stats.x_mean.shape), stats.y_mean.numel())
    Stored(path, {"": stored.weights}, is_own=True).put(net)
    return rescaled(net, stats, config).eval()


def load_run(path: Path, overrides: Mapping[str, Any] | None = None) -> TrainedClassifier:
    """The classifier of a finished run.

    Args:
        path: the run's directory.
        overrides: settings that replace stored ones, such as where the data lie.

    Returns:
        The classifier.

    Raises:
        CheckpointError: there is no finished run, or a file of it is damaged.
        ConfigurationError: the overrides do not fit.
    """
    run, stored = _finished(path)
    config = dataclasses.replace(stored, output=path, **(overrides or {}))
    model = read_model(
        run.weights,
        remedy=f"delete {path / 'result.json'}, and {run.weights.name} if it is there, and run the "
        "same `mixreg train` again, which goes on from its checkpoint",
    )
    data = load_data(config)
    net = build_model(config, data)
    Stored(run.weights, {"": model.weights}, is_own=True).put(net)
    return TrainedClassifier(net.eval(), model.stats, config, data, run)


def load_bare(
    weights: Path | Stored | None,
    config: TrainConfig,
    *,
    name: str | None = None,
    build: Callable[[Dataset], nn.Module] | None = None,
    assumed: Recipe | None = None,
) -> TrainedClassifier:
    """A classifier from a file of weights trained elsewhere; x̄ and ȳ are measured on the data.

    Args:
        weights: a file, .safetensors or PyTorch's .pt/.pth (read without executing code), or the
            checkpoint of a run; what was read of one; None for those that are built in.
        config: model, data and law to assume.
        name: entry or prefix of the weights in a file that holds several.
        build: makes the network for the data; by default the config does.
        assumed: the recipe of its training; by default the law of the config.

    Returns:
        The classifier.

    Raises:
        CheckpointError: the file is missing, damaged or of another network.
    """
    stored = read_weights(weights) if isinstance(weights, Path) else weights
    data = load_data(config)
    net = build_model(config, data) if build is None else build(data)
    notes = [] if stored is None else stored.put(net, name)
    batches = data.train_batches(500, seed=config.seed, epoch=0)
    stats = TrainingStatistics.from_loader(batches, data.num_classes, progress=config.progress)
    return TrainedClassifier(net.eval(), stats, config, data, None, tuple(notes), assumed)


def load_data(config: TrainConfig) -> Dataset:
    """The data set of a run, split by its seed."""
    with _as_settings():
        return datasets.load(
            config.data,
            config.data_root,
            seed=config.seed,
            validation_fraction=config.validation_fraction,
            training_fraction=config.training_fraction,
            class_order=config.class_order,
            label=config.label,
            standardise=config.standardise,
            preprocessing=config.preprocessing,
            label_noise=config.label_noise,
            augment=config.augment,
            workers=config.workers,
            download=config.download,
        )


def build_model(config: TrainConfig, data: Dataset) -> nn.Module:
    """The untrained network of a run, in channels-last layout where inputs are images."""
    if config.loss == "logistic" and data.num_classes != 2:
        raise ConfigurationError(
            f"loss='logistic' needs two classes, {config.data} has {data.num_classes}; "
            "use loss='cross_entropy'"
        )
    outputs = 1 if config.loss == "logistic" else data.num_classes
    return _build(config, data.input_shape, outputs)


def training_targets(y: Tensor, config: TrainConfig, num_classes: int) -> Tensor:
    """Class indices (n,) as targets of the loss: one-hot vectors (n, c), or 0 and 1 as (n, 1)."""
    if config.loss == "logistic":
        return y.float().unsqueeze(1)
    return dense_targets(y, num_classes, dtype=torch.float32)


@contextmanager
def _as_settings() -> Iterator[None]:
    """What another part refuses of a run's settings as an error of the configuration."""
    try:
        yield
    except ValueError as error:
        raise ConfigurationError(" ".join(str(error).split())) from error


def _finished(path: Path) -> tuple[RunDirectory, TrainConfig]:
    run = RunDirectory(path)
    config = run.read_config()
    if not run.finished:
        raise CheckpointError(f"{path} is not finished; run the same `mixreg train` to finish it")
    return run, config


def _build(config: TrainConfig, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    change = METHODS[config.method].change
    with _as_settings():
        net = models.build(
            config.model,
            input_shape=input_shape,
            num_outputs=outputs,
            dropout=config.dropout if change == "dropout" else 0.0,
            seed=config.seed,
        )
    if change == "spectral":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("spectral norm", config.seed))
            net = apply_spectral_norm(net)
    is_image = len(input_shape) == 3
    return net.to(memory_format=torch.channels_last) if is_image else net
