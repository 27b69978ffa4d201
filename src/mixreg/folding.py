"""Equation 22 merged into the weights of a network, at no cost at prediction time."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

Affine = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

# Operations that move entries without changing or reordering them, in any framework of calls.
_MOVING_MODULES = (nn.Identity, nn.Flatten, nn.Unflatten)
_MOVING_METHODS = {"flatten", "unflatten", "view", "reshape", "squeeze", "contiguous"}
_MOVING_FUNCTIONS = {torch.flatten, torch.unflatten, torch.reshape, torch.squeeze}
_SIZE_METHODS = {"size", "dim", "ndimension"}
_SIZE_ATTRIBUTES = {"shape", "ndim", "dtype", "device"}


class FoldedLayer(nn.Module):
    """A layer with a constant for each position of its output, which no bias can hold.

    Padding makes the response to x̄ differ between the border and the middle, as a mean image of
    its own for each pixel does; so it is added as a map.
    """

    offset: Tensor

    def __init__(self, layer: nn.Module, offset: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output plus the constant."""
        response: Tensor = self.layer(x)
        if response.shape[1:] != self.offset.shape:
            raise ValueError(
                f"the folded layer gives outputs of shape (n, {_dims(self.offset)}), got "
                f"{tuple(response.shape)}; it holds for inputs of the size of the statistics alone"
            )
        return response + self.offset


def fold(
    net: nn.Module, x_mean: Tensor, *, shrinkage: float, shift: Tensor, divisor: float
) -> nn.Module:
    """A copy of a network that itself predicts by equation 22.

    With W and b of the layer that takes the input, and V and c of the linear layer that gives the
    output:

        W → θ̄ W,  b → b + (1 − θ̄) W x̄,   V → V/θ̄,  c → (c − (1 − θ̄) ȳ)/θ̄.

    Where (1 − θ̄) W x̄ differs between the positions of an output (a convolution with padding, or
    with a mean image that is not constant on each channel) the layer becomes a `FoldedLayer`, for
    inputs of one size; else the result holds no class of this library.

    Args:
        net: the trained network; it is not changed.
        x_mean: x̄, on its device and in its dtype.
        shrinkage: 1 − θ̄ of the inputs; 0 leaves the first layer as it is.
        shift: what (22) subtracts: (1 − θ̄) ȳ, or (1 − θ̄)(2ȳ − 1) for `link="sigmoid"`.
        divisor: what (22) divides by: θ̄.

    Returns:
        The network, of the class of the given one, in the same modes.

    Raises:
        ValueError: the network does not begin with one Linear or Conv layer and end with one
            Linear layer of its own. `RescaledModel` itself is exact for every network.

    Source: Carratino et al., equation 22.

    Example:
        >>> x_mean, y_mean = torch.ones(3), torch.tensor([0.5, 0.5])
        >>> net = nn.Linear(3, 2, bias=False)
        >>> folded = fold(net, x_mean, shrinkage=0.25, shift=0.25 * y_mean, divisor=0.75)
        >>> expected = (net(torch.full((1, 3), 0.25)) - 0.25 * y_mean) / 0.75  # at x = 0
        >>> torch.allclose(folded(torch.zeros(1, 3)), expected)
        True
    """
    whole = nn.Sequential(copy.deepcopy(net))  # gives the network itself a name
    try:
        ends = _affine_ends(whole)
        first, last = whole.get_submodule(ends.first), whole.get_submodule(ends.last)
        with torch.no_grad():
            _absorb_unshrinking(last, shift, divisor)
            if shrinkage == 0:
                return whole[0]
            folded = _absorb_shrinking(first, x_mean, shrinkage, whole)
    except _NotAffineError as error:
        raise ValueError(
            f"cannot fold equation 22 into the weights of this network: {error}; keep the "
            "RescaledModel, which is exact for every network"
        ) from error
    parent, _, name = ends.first.rpartition(".")
    setattr(whole.get_submodule(parent), name, folded)
    return whole[0]


def _absorb_unshrinking(layer: nn.Module, shift: Tensor, divisor: float) -> None:
    """V/θ̄ and (c − (1 − θ̄) ȳ)/θ̄."""
    assert isinstance(layer, nn.Linear)
    shift = shift.double().reshape(-1)
    if len(shift) != layer.out_features:
        raise _NotAffineError(
            f"its last layer has {layer.out_features} outputs, the statistics {len(shift)}"
        )
    bias = 0 if layer.bias is None else layer.bias.double()
    _set(layer, layer.weight.double() / divisor, (bias - shift) / divisor)


def _absorb_shrinking(
    layer: nn.Module, x_mean: Tensor, shrinkage: float, whole: nn.Module
) -> nn.Module:
    """θ̄ W, and (1 − θ̄) W x̄ in the bias or beside it."""
    assert isinstance(layer, Affine)
    mean = _layer_input(layer, whole, x_mean.unsqueeze(0)).double()
    if len(mean) != 1:
        raise _NotAffineError("it merges the batch with another axis before its first layer")
    linear = copy.deepcopy(layer).double()
    linear.bias = None
    response = (shrinkage * linear(mean))[0]
    weight = (1 - shrinkage) * linear.weight
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


class _AffineEnds(NamedTuple):
    """Names of the first and the last layer, which may be the same."""

    first: str
    last: str


class _NotAffineError(Exception):
    """The network does not begin or end with an affine layer of its own; the message says how."""


def _affine_ends(net: nn.Module) -> _AffineEnds:
    """Find the layers by symbolic tracing in evaluation mode."""
    tracer = _Tracer()
    modes = {module: module.training for module in net.modules()}
    try:
        graph = tracer.trace(net.eval())
    except Exception as error:
        raise _NotAffineError(f"the network cannot be traced symbolically ({error})") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    trace = _Trace(net, graph)
    ends = _AffineEnds(trace.first(), trace.last())
    if not isinstance(net.get_submodule(ends.last), nn.Linear):
        raise _NotAffineError(f"its last operation is {trace.described(ends.last)}, not Linear")
    for name in set(ends):
        trace.check_own(name)
    return ends


def _layer_input(layer: nn.Module, net: nn.Module, x: Tensor) -> Tensor:
    """What a layer receives when the network is evaluated on one batch."""
    seen: list[Tensor] = []
    modes = {module: module.training for module in net.modules()}
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        net.eval()(x)
    finally:
        handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return seen[0]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Affine) or super().is_leaf_module(m, module_qualified_name)


class _Trace:
    """A traced network, followed from its input and back from its output."""

    def __init__(self, net: nn.Module, graph: fx.Graph) -> None:
        self.net = net
        self.nodes = list(graph.nodes)

    def first(self) -> str:
        node = self.nodes[0]
        while True:
            users = [user for user in node.users if not _is_size(user)]
            if len(users) != 1:
                names = ", ".join(self.described(user) for user in users) or "nothing"
                raise _NotAffineError(f"its input goes to {names}, not to one layer")
            node = users[0]
            if self._is_affine(node):
                return str(node.target)
            if not self._moves(node):
                raise _NotAffineError(
                    f"its first operation is {self.described(node)}, not Linear or Conv"
                )

    def last(self) -> str:
        node = self.nodes[-1].args[0]
        while isinstance(node, fx.Node) and self._moves(node):
            node = node.args[0]
        if isinstance(node, fx.Node) and self._is_affine(node):
            return str(node.target)
        name = self.described(node) if isinstance(node, fx.Node) else f"a {type(node).__name__}"
        raise _NotAffineError(f"its last operation is {name}, not Linear")

    def check_own(self, name: str) -> None:
        """Refuse a layer whose weights are used twice, computed, or watched by hooks."""
        layer = self.net.get_submodule(name)
        described = self.described(name)
        calls = [n for n in self.nodes if n.op == "call_module" and self._module(n) is layer]
        reads = [n for n in self.nodes if n.op == "get_attr" and n.target.startswith(f"{name}.")]
        if type(layer).forward not in {kind.forward for kind in Affine.__args__}:
            raise _NotAffineError(f"{described} has a forward method of its own")
        if layer._parameters.get("weight") is None:
            raise _NotAffineError(f"the weight of {described} is computed from other parameters")
        if len(calls) > 1 or reads or self._is_tied(layer):
            raise _NotAffineError(f"{described} is used more than once")
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise _NotAffineError(f"{described} has forward hooks")

    def described(self, node: fx.Node | str) -> str:
        """An operation as the user wrote it."""
        if isinstance(node, fx.Node) and node.op == "output":
            return "the output"
        if isinstance(node, fx.Node) and node.op != "call_module":
            return getattr(node.target, "__name__", str(node.target))
        name = node if isinstance(node, str) else str(node.target)
        return f"{type(self.net.get_submodule(name)).__name__} {name.partition('.')[2]!r}"

    def _is_affine(self, node: fx.Node) -> bool:
        return node.op == "call_module" and isinstance(self._module(node), Affine)

    def _moves(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return type(self._module(node)) in _MOVING_MODULES
        if node.op == "call_method":
            return node.target in _MOVING_METHODS
        return node.op == "call_function" and node.target in _MOVING_FUNCTIONS

    def _is_tied(self, layer: nn.Module) -> bool:
        own = {id(parameter) for parameter in layer.parameters()}
        others = (module for module in self.net.modules() if module is not layer)
        return any(
            id(parameter) in own for module in others for parameter in module._parameters.values()
        )

    def _module(self, node: fx.Node) -> nn.Module:
        return self.net.get_submodule(str(node.target))


def _is_size(node: fx.Node) -> bool:
    """Whether a node reads the size of a tensor rather than its entries."""
    if node.op == "call_method":
        return node.target in _SIZE_METHODS
    arguments: tuple[Any, ...] = node.args
    reads_attribute = node.op == "call_function" and node.target is getattr
    return reads_attribute and arguments[1] in _SIZE_ATTRIBUTES
