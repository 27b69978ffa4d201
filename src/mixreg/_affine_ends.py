"""The affine layers through which a network takes its input and gives its output."""

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


class AffineEnds(NamedTuple):
    """Names of the first and the last layer, which may be the same."""

    first: str
    last: str


class NotAffineError(Exception):
    """The network does not begin or end with an affine layer of its own; the message says how."""


def affine_ends(net: nn.Module) -> AffineEnds:
    """Find the layers by symbolic tracing in evaluation mode.

    Args:
        net: the network.

    Returns:
        The names of the layers in `net`.

    Raises:
        NotAffineError: there are no such layers, or they have a second use.
    """
    tracer = _Tracer()
    modes = {module: module.training for module in net.modules()}
    try:
        graph = tracer.trace(net.eval())
    except Exception as error:
        raise NotAffineError(f"the network cannot be traced symbolically ({error})") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    trace = _Trace(net, graph)
    ends = AffineEnds(trace.first(), trace.last())
    if not isinstance(net.get_submodule(ends.last), nn.Linear):
        raise NotAffineError(f"its last operation is {trace.described(ends.last)}, not Linear")
    for name in set(ends):
        trace.check_own(name)
    return ends


def layer_input(layer: nn.Module, net: nn.Module, x: Tensor) -> Tensor:
    """What a layer receives when the network is evaluated on one batch.

    Args:
        layer: a layer of the network.
        net: the network.
        x: the batch.

    Returns:
        The input of the layer.
    """
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
                raise NotAffineError(f"its input goes to {names}, not to one layer")
            node = users[0]
            if self._is_affine(node):
                return str(node.target)
            if not self._moves(node):
                raise NotAffineError(
                    f"its first operation is {self.described(node)}, not Linear or Conv"
                )

    def last(self) -> str:
        node = self.nodes[-1].args[0]
        while isinstance(node, fx.Node) and self._moves(node):
            node = node.args[0]
        if isinstance(node, fx.Node) and self._is_affine(node):
            return str(node.target)
        name = self.described(node) if isinstance(node, fx.Node) else f"a {type(node).__name__}"
        raise NotAffineError(f"its last operation is {name}, not Linear")

    def check_own(self, name: str) -> None:
        """Refuse a layer whose weights are used twice, computed, or watched by hooks."""
        layer = self.net.get_submodule(name)
        described = self.described(name)
        calls = [n for n in self.nodes if n.op == "call_module" and self._module(n) is layer]
        reads = [n for n in self.nodes if n.op == "get_attr" and n.target.startswith(f"{name}.")]
        if type(layer).forward not in {kind.forward for kind in Affine.__args__}:
            raise NotAffineError(f"{described} has a forward method of its own")
        if layer._parameters.get("weight") is None:
            raise NotAffineError(f"the weight of {described} is computed from other parameters")
        if len(calls) > 1 or reads or self._is_tied(layer):
            raise NotAffineError(f"{described} is used more than once")
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise NotAffineError(f"{described} has forward hooks")

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
