"""Data, networks and trained classifiers as settings, runs and files of weights describe them."""

import dataclasses
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from mixreg import data as datasets
from mixreg import models
from mixreg._checks import dense_targets
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg._files import read_tensors
from mixreg._random import derive_seed
from mixreg.data import Dataset
from mixreg.laws import MixingLaw
from mixreg.prediction import RescaledModel
from mixreg.recipes.recipe import Recipe
from mixreg.settings import TrainConfig
from mixreg.statistics import TrainingStatistics
from mixreg.training.methods import METHODS
from mixreg.training.run import RunDirectory, read_model, rescaled
from mixreg.training.spectral import apply_spectral_norm

_PREFIX = "net."
_SAVE = "save net.state_dict() with torch.save or safetensors"
_LISTED = 3
_HALVES = {"torch.float16", "torch.bfloat16"}


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A trained classifier.

    Args:
        net: the network, in evaluation mode.
        stats: x̄ and ȳ of its training data.
        config: how it was trained.
        data: its data set.
        run: its directory, None for a bare checkpoint.
    """

    net: nn.Module
    stats: TrainingStatistics
    config: TrainConfig
    data: Dataset
    run: RunDirectory | None

    @property
    def recipe(self) -> Recipe:
        """How its training shrank inputs and labels, or what its evaluation assumes."""
        return METHODS[self.config.method].learned(self.config.law)

    @property
    def law(self) -> MixingLaw:
        """The law of λ that its labels were shrunk by, or that its evaluation assumes."""
        return self.recipe.label_law

    @property
    def class_means(self) -> Tensor:
        """ȳ over the classes, shape (c,), also where the network has one logit."""
        mean = self.stats.y_mean
        if self.config.loss == "logistic":
            return torch.cat([1 - mean, mean])
        return mean


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
    return rescaled(_put(path, stored.weights, net), stats, config).eval()


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
    net = _put(run.weights, model.weights, build_model(config, data))
    return TrainedClassifier(net.eval(), model.stats, config, data, run)


def load_bare(path: Path, config: TrainConfig) -> TrainedClassifier:
    """A classifier from a file of weights trained elsewhere; x̄ and ȳ are measured on the data.

    Args:
        path: a state dict, .safetensors or PyTorch's .pt/.pth (read without executing code), or
            the checkpoint of a run.
        config: model, data and law to assume.

    Returns:
        The classifier.

    Raises:
        CheckpointError: the file is missing, damaged or of another network.
    """
    data = load_data(config)
    net = load_weights(path, build_model(config, data))
    batches = data.train_batches(500, seed=config.seed, epoch=0)
    stats = TrainingStatistics.from_loader(batches, data.num_classes, progress=config.progress)
    return TrainedClassifier(net.eval(), stats, config, data, None)


def load_weights(path: Path, net: nn.Module) -> nn.Module:
    """Put the weights in a file, also one of a run, into a network, which is returned."""
    return _put(path, _read_weights(path), net)


def load_data(config: TrainConfig) -> Dataset:
    """The data set of a run, split by its seed."""
    with as_settings():
        return datasets.load(
            config.data,
            config.data_root,
            seed=config.seed,
            validation_fraction=config.validation_fraction,
            training_fraction=config.training_fraction,
            class_order=config.class_order,
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
def as_settings(*kinds: type[Exception]) -> Iterator[None]:
    """What another part refuses of a run's settings as an error of the configuration."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (ValueError, *kinds)):
            raise
        raise ConfigurationError(" ".join(str(error).split())) from error


def misfit(state: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> str:
    """The first few tensors that are missing, unexpected or of another shape, in one line."""
    groups = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": sorted(key for key in state if key not in wanted),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
            for key, value in wanted.items()
            if isinstance(state.get(key), Tensor) and state[key].shape != value.shape
        ],
    }
    return "; ".join(
        f"{len(keys)} {name}: {', '.join(keys[:_LISTED])}{', ...' if len(keys) > _LISTED else ''}"
        for name, keys in groups.items()
        if keys
    )


def _finished(path: Path) -> tuple[RunDirectory, TrainConfig]:
    run = RunDirectory(path)
    config = run.read_config()
    if not run.finished:
        raise CheckpointError(f"{path} is not finished; run the same `mixreg train` to finish it")
    return run, config


def _build(config: TrainConfig, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    change = METHODS[config.method].change
    with as_settings():
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


def _read_weights(path: Path) -> Mapping[str, Any]:
    """The state dict in a file, also if it is an entry beside others."""
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if zipfile.is_zipfile(path) and (entry := zipfile.ZipFile(path).testzip()):
            raise CheckpointError(f"{path} is damaged: the checksum of {entry} is wrong")
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable file of weights: {error}") from error
    except CheckpointError:
        raise
    except Exception as error:
        # torch's own message advises to execute what the file holds.
        raise CheckpointError(
            f"{path} is not a readable file of weights: it is damaged, or holds pickled objects "
            f"and not only tensors; {_SAVE}"
        ) from error
    entries = stored if isinstance(stored, Mapping) else {}
    state = entries.get("state_dict", stored)
    states = {str(name): value for name, value in entries.items() if _is_state(value)}
    if not _is_state(state):
        held = f" named state_dict among {', '.join(states)}" if states else ""
        raise CheckpointError(
            f"{path} is not a readable file of weights: no state dict{held}; {_SAVE}"
        )
    others = [name for name, value in states.items() if len(value) >= len(state)]
    if len(others) > 1:
        warnings.warn(
            f"{path} holds {' and '.join(others)}; the weights of state_dict are taken",
            stacklevel=5,
        )
    return state


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file; in one that this package wrote every bit is checked."""
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    if "mixreg" in about:
        return read_tensors(path, kind="trained model", remedy="take another copy of it")[0]
    return load_safetensors(path.read_bytes())


def _is_state(state: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a mapping from names to, at least among others, tensors."""
    return (
        isinstance(state, Mapping)
        and all(isinstance(key, str) for key in state)
        and any(isinstance(value, Tensor) for value in state.values())
    )


def _put(path: Path, state: Mapping[str, Any], net: nn.Module) -> nn.Module:
    """Load a state dict, whose keys may begin with the `net.` of a run's files."""
    wanted = net.state_dict()
    if all(f"{_PREFIX}{key}" in state for key in wanted):
        inner = {key: value for key, value in state.items() if key.startswith(_PREFIX)}
        state = {key.removeprefix(_PREFIX): value for key, value in inner.items()}
    if wrong := [key for key, value in wanted.items() if not _is_castable(state.get(key), value)]:
        kinds = ", ".join(f"{key} {state[key].dtype}" for key in wrong[:_LISTED])
        raise CheckpointError(f"{path} holds no floating-point weights for the model: {kinds}")
    halves = {str(v.dtype) for v in state.values() if isinstance(v, Tensor)} & _HALVES
    if halves and not any(str(value.dtype) in halves for value in wanted.values()):
        warnings.warn(
            f"{path} holds weights of {', '.join(sorted(halves))}, rounded to fewer digits than "
            "the model's; it is evaluated with the rounded values",
            stacklevel=3,
        )
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = misfit(state, wanted) or " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit the model: {reason}") from error
    return net


def _is_castable(value: Any, wanted: Tensor) -> bool:
    """False for integer and complex values in the place of real ones."""
    is_real = not isinstance(value, Tensor) or value.is_floating_point()
    return is_real or not wanted.is_floating_point()
