"""Any classifier of torchvision or timm by its name, without pretrained weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mixreg._errors import ConfigurationError, check_name, require
from mixreg.models.shapes import check_sizes

LIBRARIES = ("torchvision", "timm")
# These return more than one output while they train.
AUXILIARY_OUTPUTS = {"googlenet", "inception_v3"}


def build_external(
    library: str, name: str, input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Module:
    """A network of another library.

    Args:
        library: "torchvision" or "timm".
        name: the name of the network there.
        input_shape: shape of one input.
        num_outputs: number of outputs.
        dropout: timm's drop rate before the classifier; torchvision's networks have none in
            common, so that only 0 is taken for them.

    Returns:
        The network, randomly initialised.

    Raises:
        ValueError: unknown network, dropout for torchvision, or inputs of this shape do not give
            outputs of shape (n, num_outputs).
        MixregError: the library is not installed (`ConfigurationError`).
    """
    check_name("library of models", library, LIBRARIES)
    check_sizes(input_shape, num_outputs, dropout)
    if library == "timm":
        model: nn.Module = _build_timm(name, input_shape, num_outputs, dropout)
    else:
        model = _build_torchvision(name, num_outputs, dropout)
    _check_outputs(f"{library}/{name}", model, input_shape, num_outputs)
    return model


def _build_torchvision(name: str, num_outputs: int, dropout: float) -> Any:
    purpose = f"model torchvision/{name}"
    models = require(
        "torchvision.models", extra="vision", purpose=purpose, error=ConfigurationError
    )
    names = set(models.list_models(module=models)) - AUXILIARY_OUTPUTS
    check_name("torchvision model", name, sorted(names))
    if dropout > 0:
        raise ValueError(
            f"torchvision/{name} takes no dropout from here, got {dropout}; "
            "a model of timm does, as timm/NAME"
        )
    return models.get_model(name, weights=None, num_classes=num_outputs)


def _build_timm(name: str, input_shape: Sequence[int], num_outputs: int, dropout: float) -> Any:
    timm = require("timm", extra="vision", purpose=f"model timm/{name}", error=ConfigurationError)
    check_name("timm model", name.partition(".")[0], timm.list_models())
    return timm.create_model(
        name,
        pretrained=False,
        num_classes=num_outputs,
        in_chans=input_shape[0],
        drop_rate=dropout,
    )


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
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs)
        raise ValueError(f"{name} gives {found} for one input, expected shape (1, {num_outputs})")
