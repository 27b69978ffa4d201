"""A trained classifier with all that its predictions depend on, from a run or a bare checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.data import Dataset
from mixreg.laws import MixingLaw
from mixreg.statistics import TrainingStatistics
from mixreg.training.config import TrainConfig
from mixreg.training.run_directory import RunDirectory
from mixreg.training.train import build_model, load_data

Stored = TypeVar("Stored")

_PREFIX = "net."
_SAVE = "save net.state_dict() with torch.save or safetensors"
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Trained:
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
    def law(self) -> MixingLaw:
        """The law of λ it was trained with, or that its evaluation assumes."""
        return self.config.law

    @property
    def class_means(self) -> Tensor:
        """ȳ over the classes, shape (c,), also where the network has one logit."""
        mean = self.stats.y_mean
        if self.config.loss == "logistic":
            return torch.cat([1 - mean, mean])
        return mean


def load_run(path: Path, overrides: dict[str, Any]) -> Trained:
    """The classifier of a finished run.

    Args:
        path: the run's directory, or a file in it.
        overrides: settings that replace stored ones, such as where the data lie.

    Returns:
        The classifier.

    Raises:
        CheckpointError: there is no finished run, or a file of it is damaged.
        ConfigurationError: the stored settings are not of this version.
    """
    run = RunDirectory(path)
    stored = run.read_config()
    if not run.finished:
        raise CheckpointError(f"{path} is not finished; run the same `mixreg train` to finish it")
    try:
        config = TrainConfig(**{**stored, "output": path, **overrides})
    except TypeError as error:
        raise ConfigurationError(
            f"{path} has settings this version does not know: {error}"
        ) from error
    state = _read_stored(run, run.weights, _read_weights)
    stats = _read_stored(run, run.statistics, TrainingStatistics.load)
    data = load_data(config)
    net = _put(run.weights, state, build_model(config, data))
    return Trained(net.eval(), stats, config, data, run)


def load_bare(path: Path, config: TrainConfig) -> Trained:
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
    return Trained(net.eval(), stats, config, data, None)


def load_weights(path: Path, net: nn.Module) -> nn.Module:
    """Put stored weights into a network.

    Args:
        path: a state dict, .safetensors or PyTorch's .pt/.pth, or the checkpoint of a run.
        net: the network.

    Returns:
        The same network.

    Raises:
        CheckpointError: the file is missing, damaged or of another network.
    """
    return _put(path, _read_weights(path), net)


def _read_stored(run: RunDirectory, file: Path, read: Callable[[Path], Stored]) -> Stored:
    """Read a file of a finished run, or say how to make it again."""
    try:
        return read(file)
    except (CheckpointError, FileNotFoundError) as error:
        reason = f"{file} is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise CheckpointError(
            f"{reason}; delete {run.path / 'result.json'}, and {file.name} if it is there, and run "
            "the same `mixreg train` again, which goes on from its checkpoint"
        ) from error


def _read_weights(path: Path) -> Mapping[str, Any]:
    """The state dict in a file, also if it is an entry beside others."""
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            stored = load_safetensors(path.read_bytes())
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable file of weights: {error}") from error
    except Exception as error:
        # torch's own message advises to execute what the file holds.
        raise CheckpointError(
            f"{path} is not a readable file of weights: it is damaged, or holds pickled objects "
            f"and not only tensors; {_SAVE}"
        ) from error
    state = stored.get("state_dict", stored) if isinstance(stored, Mapping) else stored
    if not _is_state(state):
        raise CheckpointError(f"{path} is not a readable file of weights: no state dict; {_SAVE}")
    return state


def _is_state(state: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a mapping from names to, at least among others, tensors."""
    return (
        isinstance(state, Mapping)
        and all(isinstance(key, str) for key in state)
        and any(isinstance(value, Tensor) for value in state.values())
    )


def _put(path: Path, state: Mapping[str, Any], net: nn.Module) -> nn.Module:
    """Load a state dict, whose keys may begin with the `net.` of a run's checkpoint."""
    wanted = net.state_dict()
    if all(f"{_PREFIX}{key}" in state for key in wanted):
        inner = {key: value for key, value in state.items() if key.startswith(_PREFIX)}
        state = {key.removeprefix(_PREFIX): value for key, value in inner.items()}
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        found = _differences(state, wanted) or " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit the model: {found}") from error
    return net


def _differences(state: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> str:
    """The first few keys that are missing, unexpected or of another shape, on one line."""
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
        f"{len(keys)} {name}: {', '.join(keys[:_SHOWN])}{', ...' if len(keys) > _SHOWN else ''}"
        for name, keys in groups.items()
        if keys
    )
