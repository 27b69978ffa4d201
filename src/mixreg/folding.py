"""Equation 22 merged into the weights of a network, at no cost at prediction time."""

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mixreg._affine_ends import Affine, NotAffineError, affine_ends, layer_input

if TYPE_CHECKING:
    from mixreg.prediction import RescaledModel


class FoldedLayer(nn.Module):
    """A layer with a constant for each position of its output, which no bias can hold.

    Padding makes the response to x̄ differ between the border and the middle, as a mean image of
    its own for each pixel does; so it is added as a map.

    Args:
        layer: the layer, with its weights already scaled.
        offset: what is added, the shape of one output.
    """

    offset: Tensor

    def __init__(self, layer: nn.Module, offset: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output plus the constant.

        Args:
            x: inputs of the size of the training statistics.

        Returns:
            The sum.

        Raises:
            ValueError: inputs of another size.
        """
        response: Tensor = self.layer(x)
        if response.shape[1:] != self.offset.shape:
            raise ValueError(
                f"the folded layer gives outputs of shape (n, {_dims(self.offset)}), got "
                f"{tuple(response.shape)}; it holds for inputs of the size of the statistics alone"
            )
        return response + self.offset


def fold(model: "RescaledModel") -> nn.Module:
    """A copy of the inner network that itself predicts by equation 22.

    With W and b of the layer that takes the input, and V and c of the linear layer that gives the
    output:

        W → θ̄ W,  b → b + (1 − θ̄) W x̄,   V → V/θ̄,  c → (c − (1 − θ̄) ȳ)/θ̄

    with 2ȳ − 1 in the place of ȳ for `link="sigmoid"`. Where (1 − θ̄) W x̄ differs between the
    positions of an output (a convolution with padding, or with a mean image that is not constant
    on each channel) the layer becomes a `FoldedLayer`, for inputs of one size; else the result
    holds no class of this library. The warning about the range of the inputs is gone.

    Args:
        model: the rescaled model; it is not changed.

    Returns:
        The network, of the class of the inner one, in the same modes.

    Raises:
        ValueError: the network does not begin with one Linear or Conv layer and end with one
            Linear layer of its own. `RescaledModel` itself is exact for every network.

    Source: Carratino et al., equation 22.

    Example:
        >>> from mixreg import Beta, RescaledModel, TrainingStatistics
        >>> x, y = torch.randn(9, 3), torch.arange(9) % 2
        >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
        >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> model = RescaledModel(net, stats, Beta(1.0))
        >>> torch.allclose(model.fold()(x), model(x), atol=1e-5)
        True
    """
    whole = nn.Sequential(copy.deepcopy(model.net))  # gives the network itself a name
    try:
        ends = affine_ends(whole)
        first, last = whole.get_submodule(ends.first), whole.get_submodule(ends.last)
        with torch.no_grad():
            _absorb_unshrinking(last, model)
            folded = _absorb_shrinking(first, model, whole)
    except NotAffineError as error:
        raise ValueError(
            f"cannot fold equation 22 into the weights of this network: {error}; keep the "
            "RescaledModel, which is exact for every network"
        ) from error
    parent, _, name = ends.first.rpartition(".")
    setattr(whole.get_submodule(parent), name, folded)
    return whole[0]


def _absorb_unshrinking(layer: nn.Module, model: "RescaledModel") -> None:
    """V/θ̄ and (c − (1 − θ̄) ȳ)/θ̄."""
    assert isinstance(layer, nn.Linear)
    law, y_mean = model.law, model.y_mean.double().reshape(-1)
    if len(y_mean) != layer.out_features:
        raise NotAffineError(
            f"its last layer has {layer.out_features} outputs, the statistics {len(y_mean)}"
        )
    offset = 2 * y_mean - 1 if model.link == "sigmoid" else y_mean
    bias = 0 if layer.bias is None else layer.bias.double()
    _set(
        layer,
        layer.weight.double() / law.theta_mean,
        (bias - law.shrinkage * offset) / law.theta_mean,
    )


def _absorb_shrinking(layer: nn.Module, model: "RescaledModel", whole: nn.Module) -> nn.Module:
    """θ̄ W, and (1 − θ̄) W x̄ in the bias or beside it."""
    assert isinstance(layer, Affine)
    mean = layer_input(layer, whole, model.x_mean.unsqueeze(0)).double()
    if len(mean) != 1:
        raise NotAffineError("it merges the batch with another axis before its first layer")
    linear = copy.deepcopy(layer).double()
    linear.bias = None
    response = (model.law.shrinkage * linear(mean))[0]
    weight = model.law.theta_mean * linear.weight
    own = None if layer.bias is None else layer.bias.double()
    constant = _constant(response, layer, mean[0])
    if constant is not None:
        _set(layer, weight, constant if own is None else own + constant)
        return layer
    _set(layer, weight, own)
    return FoldedLayer(layer, response.to(layer.weight.dtype))


def _constant(response: Tensor, layer: Affine, mean: Tensor) -> Tensor | None:
    """The response for each output channel, if it is the same at all positions."""
    if isinstance(layer, nn.Linear):
        return response if response.ndim == 1 else None
    pixels = mean.flatten(1)
    unpadded = layer.padding == "valid" or not any(layer.padding)
    if bool((pixels == pixels[:, :1]).all()) and (unpadded or layer.padding_mode != "zeros"):
        return response.flatten(1)[:, 0]
    return None


def _set(layer: Affine, weight: Tensor, bias: Tensor | None) -> None:
    dtype, learned = layer.weight.dtype, layer.weight.requires_grad
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=learned)
    layer.bias = None if bias is None else nn.Parameter(bias.to(dtype), requires_grad=learned)


def _dims(offset: Tensor) -> str:
    return ", ".join(map(str, offset.shape))
