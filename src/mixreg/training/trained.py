"""A trained classifier with all that its predictions depend on, from a run or a bare checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from mixreg.data import Dataset
from mixreg.errors import CheckpointError, ConfigurationError
from mixreg.laws import MixingLaw
from mixreg.statistics import TrainingStatistics
from mixreg.training.config import TrainConfig
from mixreg.training.run_directory import RunDirectory
from mixreg.training.train import build_model, load_data


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
    data = load_data(config)
    net = load_weights(run.weights, build_model(config, data))
    return Trained(net.eval(), TrainingStatistics.load(run.statistics), config, data, run)


def load_bare(path: Path, config: TrainConfig) -> Trained:
    """A classifier from a file of weights trained elsewhere; x̄ and ȳ are measured on the data.

    Args:
        path: a state dict, .safetensors or PyTorch's .pt/.pth (read without executing code).
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
        path: a state dict, .safetensors or PyTorch's .pt/.pth.
        net: the network.

    Returns:
        The same network.

    Raises:
        CheckpointError: the file is missing, damaged or of another network.
    """
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            state = load_safetensors(path.read_bytes())
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            state = stored.get("state_dict", stored)
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable file of weights: {error}") from error
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit the model: {error}") from error
    return net
