"""Models by name, for the data sets of `mixreg.data`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mixreg._errors import ConfigurationError, check_name, require
from mixreg._lazy import call, is_function
from mixreg._random import derive_seed
from mixreg.models import huggingface
from mixreg.models.networks import (
    MLP,
    LeNet,
    RandomFourierFeatures,
    check_sizes,
    resnet20,
    resnet34,
    resnet50,
)

__all__ = ["MLP", "MODELS", "LeNet", "RandomFourierFeatures", "build"]

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "lenet": LeNet,
    "random-fourier-features": RandomFourierFeatures,
    "resnet20": resnet20,
    "resnet34": resnet34,
    "resnet50": resnet50,
}
_AUXILIARY_OUTPUTS = {"googlenet", "inception_v3"}  # more than one output while they train

MODELS = tuple(_BUILDERS)


def build(
    name: str,
    *,
    input_shape: Sequence[int],
    num_outputs: int,
    dropout: float = 0.0,
    seed: int = 0,
) -> nn.Module:
    """Build a model by its name.

    Args:
        name: one of `MODELS`; "torchvision/NAME" or "timm/NAME" for a network of theirs, or
            "hf:FOLDER" for the image classifier of a Hugging Face configuration, all without
            pretrained weights; or "package.module:function" of a user's own, which is called with
            input_shape and num_outputs if it has such arguments, and returns the network.
        input_shape: shape of one input, without the batch.
        num_outputs: number of outputs c; the model maps (n, *input_shape) to (n, c).
        dropout: probability of dropping a unit: of the MLP a hidden one, of LeNet one before a
            fully connected layer, of timm one before the last layer; 0 for others' networks.
        seed: seed of the initial weights, and of fixed random features. PyTorch's global
            generator is left as it was.

    Returns:
        The model, on the CPU, in training mode.

    Raises:
        ValueError: unknown name, or sizes that do not fit the model.
        ConfigurationError: the library that has the model is not installed.

    Example:
        >>> model = build("mlp", input_shape=(1, 8, 8), num_outputs=10, seed=1)
        >>> model(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    library, _, external = name.partition(":" if name.startswith("hf:") else "/")
    own = is_function(name) and library != "hf"
    if name not in _BUILDERS and not own and not (external and library in _EXTERNAL):
        check_name("model", name, (*MODELS, "torchvision/NAME", "timm/NAME", "hf:FOLDER"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "weights"))
        if name in _BUILDERS:
            return _BUILDERS[name](input_shape, num_outputs, dropout=dropout)
        check_sizes(input_shape, num_outputs, dropout)
        make, called = (_own, name) if own else (_EXTERNAL[library], external)
        model: nn.Module = make(called, input_shape, num_outputs, dropout)
        _check_outputs(name, model, input_shape, num_outputs)
    return model


def _torchvision(name: str, _shape: Sequence[int], num_outputs: int, dropout: float) -> Any:
    purpose = f"model torchvision/{name}"
    models = require("torchvision.models", extra="cli", purpose=purpose, error=ConfigurationError)
    names = set(models.list_models(module=models)) - _AUXILIARY_OUTPUTS
    check_name("torchvision model", name, sorted(names))
    _refuse_dropout(f"torchvision/{name}", dropout)
    return models.get_model(name, weights=None, num_classes=num_outputs)


def _timm(name: str, shape: Sequence[int], num_outputs: int, dropout: float) -> Any:
    timm = require("timm", extra="timm", purpose=f"model timm/{name}", error=ConfigurationError)
    check_name("timm model", name.partition(".")[0], timm.list_models())
    sizes = {"num_classes": num_outputs, "in_chans": shape[0], "drop_rate": dropout}
    return timm.create_model(name, pretrained=False, **sizes)


def _huggingface(folder: str, _shape: Sequence[int], num_outputs: int, dropout: float) -> Any:
    _refuse_dropout(f"hf:{folder}", dropout)
    return huggingface.build(Path(folder), num_outputs)


def _own(name: str, shape: Sequence[int], num_outputs: int, dropout: float) -> Any:
    _refuse_dropout(name, dropout)
    sizes = {"input_shape": tuple(shape), "num_outputs": num_outputs}
    model = call(name, error=ConfigurationError, **sizes)
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"{name} returned {type(model).__name__}, expected a torch.nn.Module"
        )
    return model


def _refuse_dropout(name: str, dropout: float) -> None:
    if dropout > 0:
        raise ValueError(
            f"{name} takes no dropout from here, got {dropout}; a model of timm does, as timm/NAME"
        )


_EXTERNAL: dict[str, Callable[..., nn.Module]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _huggingface,
}


def _check_outputs(
    name: str, model: nn.Module, input_shape: Sequence[int], num_outputs: int
) -> None:
    """Try the model on one input of zeros."""
    training = model.training
    try:
        with torch.no_grad():
            outputs = model.eval()(torch.zeros(1, *input_shape))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        raise ValueError(
            f"{name} takes no inputs of shape {tuple(input_shape)}: {error}"
        ) from error
    model.train(training)
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (1, num_outputs):
        what = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs)
        raise ValueError(f"{name} gives {what} for one input, expected shape (1, {num_outputs})")
