"""`build`: a model by its name, with weights that depend on the seed only."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from mixreg._errors import unknown_name
from mixreg._random import derive_seed
from mixreg.models.external import LIBRARIES, build_external
from mixreg.models.lenet import LeNet
from mixreg.models.mlp import MLP
from mixreg.models.random_features import RandomFourierFeatures
from mixreg.models.resnet import resnet20, resnet34, resnet50

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "lenet": LeNet,
    "random-fourier-features": RandomFourierFeatures,
    "resnet20": resnet20,
    "resnet34": resnet34,
    "resnet50": resnet50,
}

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
        name: one of `MODELS`, or "torchvision/NAME" or "timm/NAME" for a network of theirs.
        input_shape: shape of one input, without the batch.
        num_outputs: number of outputs c; the model maps (n, *input_shape) to (n, c).
        dropout: probability of dropping a unit; where, each model says.
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
    library, slash, external = name.partition("/")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "weights"))
        if name in _BUILDERS:
            return _BUILDERS[name](input_shape, num_outputs, dropout=dropout)
        if slash and library in LIBRARIES:
            return build_external(library, external, input_shape, num_outputs, dropout=dropout)
    known = [*MODELS, *(f"{library}/NAME" for library in LIBRARIES)]
    raise ValueError(str(unknown_name("model", name, known)))
