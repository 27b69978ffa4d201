"""Models by name, for the data sets of `mixreg.data`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from mixreg._errors import ConfigurationError, check_name, require
from mixreg._random import derive_seed
from mixreg.models.resnet import resnet20, resnet34, resnet50
from mixreg.models.small import MLP, LeNet, RandomFourierFeatures, check_sizes

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
        name: one of `MODELS`, or "torchvision/NAME" or "timm/NAME" for a network of theirs,
            without pretrained weights.
        input_shape: shape of one input, without the batch.
        num_outputs: number of outputs c; the model maps (n, *input_shape) to (n, c).
        dropout: probability of dropping a unit: of the MLP a hidden one, of LeNet one before a
            fully connected layer, else one before the last layer; 0 for "torchvision/NAME".
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
    library, _, external = name.partition("/")
    if name not in _BUILDERS and not (external and library in _EXTERNAL):
        check_name("model", name, (*MODELS, *(f"{known}/NAME" for known in _EXTERNAL)))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "weights"))
        if name in _BUILDERS:
            return _BUILDERS[name](input_shape, num_outputs, dropout=dropout)
        check_sizes(input_shape, num_outputs, dropout)
        model: nn.Module = _EXTERNAL[library](external, input_shape, num_outputs, dropout)
        _check_outputs(name, model, input_shape, num_outputs)
    return model


def _torchvision(name: str, _shape: Sequence[int], num_outputs: int, dropout: float) -> Any:
    purpose = f"model torchvision/{name}"
    models = require("torchvision.models", extra="cli", purpose=purpose, error=ConfigurationError)
    names = set(models.list_models(module=models)) - _AUXILIARY_OUTPUTS
    check_name("torchvision model", name, sorted(names))
    if dropout > 0:
        raise ValueError(
            f"torchvision/{name} takes no dropout from here, got {dropout}; "
            "a model of timm does, as timm/NAME"
        )
    return models.get_model(name, weights=None, num_classes=num_outputs)


def _timm(name: str, shape: Sequence[int], num_outputs: int, dropout: float) -> Any:
    timm = require("timm", extra="timm", purpose=f"model timm/{name}", error=ConfigurationError)
    check_name("timm model", name.partition(".")[0], timm.list_models())
    sizes = {"num_classes": num_outputs, "in_chans": shape[0], "drop_rate": dropout}
    return timm.create_model(name, pretrained=False, **sizes)


_EXTERNAL: dict[str, Callable[..., nn.Module]] = {"torchvision": _torchvision, "timm": _timm}


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
