"""Equation 22 merged into the weights of a network, at no cost at prediction time."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixreg._checks import dims, fits, logits_of

Affine = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

_AGREEMENT = 1e-5
"""Largest error of a folded network in float64, as a part of the largest output."""


class FoldedLayer(nn.Module):
    """A layer whose input is moved by a constant, which no bias can hold.

    Padding makes the response to x̄ differ between the border and the middle, as a mean image of
    its own for each pixel does.
    """

    offset: Tensor

    def __init__(self, layer: Affine, offset: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("offset", offset)

    @property
    def weight(self) -> Tensor:
        """The weight of the layer, whose dtype some networks ask for."""
        weight: Tensor = self.layer.weight
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """The layer's response to its input plus the constant."""
        if not fits(x, self.offset):
            raise ValueError(
                f"the folded layer takes inputs of shape (n, {dims(self.offset)}), got "
                f"{tuple(x.shape)}; it holds for inputs of the size of the statistics alone: "
                "per-channel means (TrainingStatistics.per_channel) hold for every size"
            )
        response: Tensor = self.layer(x + self.offset)
        return response


class FoldedNormalisation(NamedTuple):
    """A network with another last layer alone, and the normalisation its inputs need.

    Args:
        net: the network, of the class and with the state keys of the given one.
        mean: what to subtract from the pixels of each channel.
        std: what to divide them by.
    """

    net: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


def fold(
    net: nn.Module,
    x_mean: Tensor,
    *,
    shrinkage: float,
    shift: Tensor,
    divisor: float,
    first: str | None = None,
    last: str | Sequence[str] | None = None,
    example: Tensor | None = None,
) -> nn.Module:
    """A copy of a network that itself predicts by equation 22 in evaluation mode.

    With W and b of the layer that takes the input, and V and c of the one that gives the output
    (of each, where the output is the mean of several):

        W → θ̄ W,  b → b + (1 − θ̄) W x̄,   V → V/θ̄,  c → (c − (1 − θ̄) ȳ)/θ̄.

    A network with x̄ constant on each channel and no zeros padded keeps its state keys, if its
    first layer has a bias or a batch norm behind it. Where (1 − θ̄) W x̄ differs between the
    positions of an output, the layer becomes a `FoldedLayer`, which adds (1 − θ̄)/θ̄ x̄ to its input.

    The layers are found by running the network, and the result is compared with equation 22 in
    float64 at random inputs around x̄, or at examples.

    Args:
        net: the trained network; it is not changed. One that was compiled is folded uncompiled.
        x_mean: x̄, on its device and in its dtype.
        shrinkage: 1 − θ̄ of the inputs; 0 leaves the first layer as it is.
        shift: what (22) subtracts: (1 − θ̄) ȳ, or (1 − θ̄)(2ȳ − 1) for `link="sigmoid"`.
        divisor: what (22) divides by: θ̄.
        first: name of the layer that takes the input; by default the first Linear or Conv called.
        last: name of the layer that gives the output, or names of those whose mean it is; by
            default the last Linear or Conv called, or all with as many outputs.
        example: inputs (n, ...) to compare at; needed where x̄ is of channels alone and the network
            takes no image of one pixel.

    Returns:
        The network, of the class of the given one, in the same modes.

    Raises:
        ValueError: the network does not begin and end with Linear or Conv layers, or the result
            does not predict by equation 22. `RescaledModel` itself is exact for every network.

    Source: Carratino et al., equation 22.

    Example:
        >>> x_mean, y_mean = torch.ones(3), torch.tensor([0.5, 0.5])
        >>> net = nn.Linear(3, 2, bias=False)
        >>> folded = fold(net, x_mean, shrinkage=0.25, shift=0.25 * y_mean, divisor=0.75)
        >>> expected = (net(torch.full((1, 3), 0.25)) - 0.25 * y_mean) / 0.75  # at x = 0
        >>> torch.allclose(folded(torch.zeros(1, 3)), expected)
        True
    """
    net = getattr(net, "_orig_mod", net)
    shift = shift.detach().to("cpu", torch.float64).reshape(-1)
    scales = divisor != 1 or bool(shift.any())
    try:
        with torch.no_grad():
            plan = _Plan(net, x_mean, example)
            heads = plan.heads(_names(last), shift, divisor) if scales else ()
            stem = plan.stem(first, shrinkage) if shrinkage else None
            whole = nn.Sequential(copy.deepcopy(net))  # gives the network itself a name
            _unshrink(whole, heads, shift, divisor)
            if stem is not None:
                _shrink(whole, stem)
    except _NotAffineError as error:
        raise ValueError(
            f"cannot fold equation 22 into the weights of this network: {error}; keep the "
            "RescaledModel, which is exact for every network"
        ) from error
    folded: nn.Module = whole[0]
    return folded


def folded_normalisation(
    net: nn.Module,
    x_mean: Tensor,
    shrinkage: float,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> FoldedNormalisation:
    """With the m' and s' of (p − m')/s' = x̄ + θ̄ ((p − m)/s − x̄)."""
    x_mean = x_mean.detach().to("cpu", torch.float64)
    x_mean = x_mean.reshape(len(x_mean), -1)
    if bool((x_mean != x_mean[:, :1]).any()):
        raise ValueError(
            "a normalisation has one mean for each channel, these statistics one for each "
            "pixel; make the RescaledModel with stats.per_channel()"
        )
    if mean is None or std is None or not len(mean) == len(std) == len(x_mean):
        raise ValueError(
            f"into='normalisation' needs mean=... and std=... of the {len(x_mean)} channels, "
            f"got {mean} and {std}"
        )
    ratio = shrinkage / (1 - shrinkage)
    channels = zip(mean, std, x_mean[:, 0].tolist(), strict=True)
    moved = tuple(m - s * ratio * x for m, s, x in channels)
    return FoldedNormalisation(net, moved, tuple(s / (1 - shrinkage) for s in std))


class _NotAffineError(Exception):
    """The network does not begin or end with an affine layer of its own; the message says how."""


class _Call(NamedTuple):
    """One call of a layer."""

    name: str
    layer: nn.Module
    x: Tensor
    y: Tensor


class _Stem(NamedTuple):
    """The first layer, its input at x̄, 1 − θ̄, and the batch norm that takes its output alone."""

    name: str
    mean: Tensor
    shrinkage: float
    norm: str | None


class _Plan:
    """A network in float64, what it says at examples, and which of its layers to change."""

    def __init__(self, net: nn.Module, x_mean: Tensor, example: Tensor | None) -> None:
        self.whole = nn.Sequential(copy.deepcopy(net)).to("cpu", torch.float64).eval()
        mean = x_mean.detach().to("cpu", torch.float64)
        if example is None:
            draws = torch.Generator("cpu").manual_seed(0)
            d = torch.randn(2, *mean.shape, dtype=mean.dtype, device="cpu", generator=draws)
        elif not fits(example, mean):
            raise ValueError(
                f"example must hold inputs of shape (n, {dims(mean)}), got {tuple(example.shape)}"
            )
        else:
            d = example.detach().to("cpu", torch.float64) - mean
        self.mean = mean.expand(d.shape[1:])
        self.examples = (self.mean + d, self.mean - d)
        try:
            self.calls = _calls(self.whole, self.mean.unsqueeze(0))
            self.raw = self._outputs(self.whole, self.examples)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise _NotAffineError(
                f"it does not run on inputs of shape (n, {dims(self.mean)}) ({error}); give inputs "
                "that it takes by example=..."
            ) from error

    def heads(self, given: tuple[str, ...], shift: Tensor, divisor: float) -> tuple[str, ...]:
        """The layers that give the output, checked."""
        names = [call.name for call in self.calls if isinstance(call.layer, Affine)]
        wide = tuple(dict.fromkeys(n for n in names if _width(self.whole, n) == len(shift)))
        candidates = [given] if given else [wide[-1:] or tuple(names[-1:]), wide]
        reasons = []
        for heads in candidates:
            changed = copy.deepcopy(self.whole)
            _unshrink(changed, heads, shift, divisor)
            expected = [(u - shift.reshape(u.shape[1:])) / divisor for u in self.raw]
            reasons.append(self._difference(changed, expected))
            if not reasons[-1]:
                return heads
        if not candidates[0]:
            raise _NotAffineError("it calls no Linear or Conv layer")
        described = " and ".join(map(self._described, candidates[0]))
        raise _NotAffineError(
            f"its output is not that of {described} alone, as it came from it ({reasons[0]})"
        )

    def stem(self, given: str | None, shrinkage: float) -> _Stem:
        """The layer that takes the input, checked."""
        calls = [call for call in self.calls if isinstance(call.layer, Affine)]
        if given is not None:
            calls = [call for call in calls if call.name == _names(given)[0]]
        if not calls:
            named = "" if given is None else f" {given!r}"
            raise _NotAffineError(f"it calls no Linear or Conv layer{named}")
        name, _, x, y = calls[0]
        if len(x) != 1:
            raise _NotAffineError("it merges the batch with another axis before its first layer")
        norms = [c.name for c in self.calls if isinstance(c.layer, _BatchNorm) and c.x is y]
        stem = _Stem(name, x, shrinkage, norms[0] if norms else None)
        changed = copy.deepcopy(self.whole)
        _shrink(changed, stem)
        shrunk = [x.lerp(self.mean.expand_as(x), shrinkage) for x in self.examples]
        if reason := self._difference(changed, self._outputs(self.whole, shrunk)):
            raise _NotAffineError(
                f"its input does not go to {self._described(name)} alone, or this layer is used "
                f"elsewhere or computes its weights ({reason})"
            )
        return stem

    def _difference(self, changed: nn.Module, expected: Sequence[Tensor]) -> str:
        """How far a changed network is off, in words; none if it agrees."""
        found = torch.stack(self._outputs(changed, self.examples))
        wanted = torch.stack(list(expected))
        error, scale = float((found - wanted).abs().max()), float(wanted.abs().max())
        return "" if error <= _AGREEMENT * scale else f"off by {error:.2g} of {scale:.2g}"

    def _outputs(self, whole: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [logits_of(whole(x)) for x in inputs]

    def _described(self, name: str) -> str:
        return f"{type(self.whole.get_submodule(name)).__name__} {name.partition('.')[2]!r}"


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of layers in the network as names below the sequence that holds it."""
    names = (given,) if isinstance(given, str) else tuple(given or ())
    return tuple(f"0.{name}" if name else "0" for name in names)


def _calls(whole: nn.Module, x: Tensor) -> list[_Call]:
    """The affine layers and batch norms in the order in which they are called on a batch."""
    calls: list[_Call] = []
    handles = [
        module.register_forward_hook(
            lambda module, args, output, name=name: calls.append(
                _Call(name, module, args[0], output)
            )
        )
        for name, module in whole.named_modules()
        if isinstance(module, Affine | _BatchNorm)
    ]
    try:
        whole(x)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _unshrink(whole: nn.Module, heads: Sequence[str], shift: Tensor, divisor: float) -> None:
    """V/θ̄ and (c − (1 − θ̄) ȳ)/θ̄."""
    for name in heads:
        layer = _layer(whole, name)
        if len(shift) != len(layer.weight):
            raise _NotAffineError(
                f"its last layer has {len(layer.weight)} outputs, the statistics {len(shift)}"
            )
        bias = -shift if layer.bias is None else _exact(layer.bias) - shift
        _set(layer, _exact(layer.weight) / divisor, bias / divisor if bias.any() else None)


def _shrink(whole: nn.Module, stem: _Stem) -> None:
    """θ̄ W, and (1 − θ̄) W x̄ in the bias, in a batch norm, or as (1 − θ̄)/θ̄ x̄ before the layer."""
    layer = _layer(whole, stem.name)
    weight, theta_mean = _exact(layer.weight), 1 - stem.shrinkage
    constant = _constant(layer, stem.mean)
    _set(layer, theta_mean * weight, layer.bias)
    norm = whole.get_submodule(stem.norm) if stem.norm else None
    if constant is None:
        offset = (stem.shrinkage / theta_mean * _compact(stem.mean[0])).to(layer.weight)
        parent, _, name = stem.name.rpartition(".")
        setattr(whole.get_submodule(parent), name, FoldedLayer(layer, offset))
    elif layer.bias is None and isinstance(norm, _BatchNorm) and norm.running_mean is not None:
        norm.running_mean -= (stem.shrinkage * constant).to(norm.running_mean)
    else:
        bias = 0.0 if layer.bias is None else _exact(layer.bias)
        _set(layer, theta_mean * weight, bias + stem.shrinkage * constant)


def _constant(layer: Affine, mean: Tensor) -> Tensor | None:
    """W x̄ for each output channel, if x̄ is constant over positions and no padding changes it."""
    axis, groups = (-1, 1) if isinstance(layer, nn.Linear) else (1, layer.groups)
    linear = copy.deepcopy(layer).to("cpu", torch.float64)
    linear.bias = None
    pixels = mean.movedim(axis, 1)[0].reshape(mean.shape[axis], -1)
    response = linear(mean).movedim(axis, 1)[0].reshape(len(layer.weight), -1)
    taps = linear.weight.reshape(groups, len(layer.weight) // groups, len(pixels) // groups, -1)
    whole = torch.einsum("goik,gi->go", taps, pixels[:, 0].reshape(groups, -1)).reshape(-1, 1)
    same = (response - whole).abs().max() <= 1e-12 * whole.abs().max()
    return whole.flatten() if bool(same & (pixels == pixels[:, :1]).all()) else None


def _compact(mean: Tensor) -> Tensor:
    """A mean of one value a channel, where it is constant on each, for images of any size."""
    channels = mean[(slice(None), *(slice(1),) * (mean.ndim - 1))]
    return channels if bool((mean == channels).all()) else mean


def _layer(whole: nn.Module, name: str) -> Affine:
    """A layer by name, whose weights are its own."""
    described = name.partition(".")[2]
    try:
        layer = whole.get_submodule(name)
    except AttributeError as error:
        raise _NotAffineError(f"it has no layer {described!r}") from error
    kind = type(layer).__name__
    if not isinstance(layer, Affine):
        raise _NotAffineError(f"{kind} {described!r} is no Linear or Conv layer")
    if layer._parameters.get("weight") is None:
        raise _NotAffineError(
            f"the weight of {kind} {described!r} is computed from other parameters"
        )
    others = (module for module in whole.modules() if module is not layer)
    if any(p is layer.weight for module in others for p in module._parameters.values()):
        raise _NotAffineError(f"the weight of {kind} {described!r} is used by another layer too")
    return layer


def _width(whole: nn.Module, name: str) -> int:
    layer = whole.get_submodule(name)
    assert isinstance(layer, Affine)
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _exact(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float64)


def _set(layer: Affine, weight: Tensor, bias: Tensor | None) -> None:
    old = layer.weight
    values = {"weight": weight, "bias": bias}
    for name, value in values.items():
        new = None if value is None else nn.Parameter(value.detach().to(old), old.requires_grad)
        setattr(layer, name, new)
