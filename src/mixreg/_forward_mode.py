"""Exact tangents of layers whose forward-mode derivative PyTorch gets wrong, lacks or overpays.

As of PyTorch 2.14, when a forward-mode derivative is itself differentiated backward:

- batch, instance and layer normalization give wrong gradients, without any sign of it: their
  tangent formulas treat the saved mean and scale as constants;
- softmax, log-sum-exp and what is built on them overwrite a tensor that the backward pass needs;
- gated linear units and the hard sigmoid have tangents that have no gradient;
- so do norms, distances and standard deviations, where forward mode is nested;
- a layer with constant weights is evaluated on a tangent of zeros as well, a third convolution
  where two are enough, and the backward pass goes through it;
- the tangent of ReLU is recorded as a function of the output, whose derivative, zero everywhere,
  is materialised and added.

Every rule takes the arguments of the function it stands for. Those of `FIRST_ORDER` use fused
kernels where there are any; those of `NESTED` consist of operations that are right to any order.

The tangent of batch normalization is one fused kernel, with a gradient in closed form. For one
channel with m values p, mean μ, scale s = (var + eps)^(−½) and p̂ = s (p − μ), the Jacobian of
p ↦ p̂ is symmetric:

    J t = s (t − mean t − c p̂)        with c = mean(p̂ t),

so the kernel of the backward pass applies it. The tangent is w J t; for a gradient G of it,

    ∂t: w J G        ∂w: s A        ∂p: −w s J(c G + (B/m) t) − w s² (A/m) p̂

with A = Σ G (t − mean t − c p̂) and B = Σ G p̂, since the derivative of s along dp is
−s² mean(p̂ dp) and that of p̂ is J dp.
"""

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import BaseTorchDispatchMode

from mixreg._errors import MixregError

Function = Callable[..., Any]

_MACHINERY = ("torch.autograd.", "torch._functorch.", "torch.func", "mixreg.")
_saved_tensors_hooks: Callable[..., Any] = torch._C._autograd._top_saved_tensors_default_hooks
_UNSUPPORTED = re.compile(r"forward AD with (\S+) that does not support it")

make_dual: Callable[[Tensor, Tensor], Tensor] = forward_ad.make_dual
unpack_dual: Callable[[Tensor], tuple[Tensor, Tensor | None]] = forward_ad.unpack_dual

# A mode that changes nothing, but while it watches PyTorch's tangent formulas overwrite nothing.
_observing: Callable[[], AbstractContextManager[Any]] = BaseTorchDispatchMode


def _observed(function: Function) -> Function:
    def rule(*args: Any, **kwargs: Any) -> Any:
        with _observing():
            return function(*args, **kwargs)

    return rule


def _affine(layer: Function) -> Function:
    """A layer with constant weights: the tangent goes through the same layer without its bias."""

    def rule(
        values: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        primal, tangent = unpack_dual(values)
        if tangent is None or _is_dual(weight) or _is_dual(bias):
            return layer(values, weight, bias, *args, **kwargs)
        output = layer(primal, weight, bias, *args, **kwargs)
        return make_dual(output, layer(tangent, weight, None, *args, **kwargs))

    return rule


def _relu(values: Tensor, inplace: bool = False) -> Tensor:
    """ReLU: the tangent passes where the output is positive."""
    primal, tangent = unpack_dual(values)
    if tangent is None or inplace:
        return torch.relu_(values) if inplace else torch.relu(values)
    output = torch.relu(primal)
    passed: Tensor = torch.ops.aten.threshold_backward(tangent, output.detach(), 0)
    return make_dual(output, passed)


def _batch_norm(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    fused: bool,
) -> Tensor:
    """Normalization by the batch, fused with its tangent by `BatchNormTangent`."""
    if not training:
        return functional.batch_norm(values, running_mean, running_var, weight, bias, eps=eps)
    if fused and _alone_is_dual(values, weight, bias):
        primal, tangent = unpack_dual(values)
        output, mean, scale = torch.native_batch_norm(
            primal, weight, bias, running_mean, running_var, True, momentum, eps
        )
        return make_dual(output, BatchNormTangent.apply(tangent, primal, weight, mean, scale))
    if running_mean is not None:
        functional.batch_norm(
            values.detach(), running_mean, running_var, None, None, True, momentum, eps
        )
    dims = [d for d in range(values.ndim) if d != 1]
    return _scaled_channels(_normalized(values, dims, eps), weight, bias)


def _instance_norm(
    values: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return functional.batch_norm(values, running_mean, running_var, weight, bias, eps=eps)
    if running_mean is not None:
        functional.instance_norm(
            values.detach(), running_mean, running_var, None, None, True, momentum, eps
        )
    return _scaled_channels(_normalized(values, list(range(2, values.ndim)), eps), weight, bias)


def _layer_norm(
    values: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    fused: bool,
) -> Tensor:
    """Normalization of each example; its Jacobian is symmetric, the backward kernel applies it."""
    mixed = weight is not None and weight.dtype != values.dtype
    if fused and not mixed and _alone_is_dual(values, weight, bias):
        primal, tangent = unpack_dual(values)
        shape = list(normalized_shape)
        output, mean, scale = torch.native_layer_norm(primal, shape, weight, bias, eps)
        passed, _, _ = torch.ops.aten.native_layer_norm_backward(
            tangent, primal, shape, mean, scale, None, None, [True, False, False]
        )
        return make_dual(output, passed if weight is None else passed * weight)
    output = _normalized(values, list(range(-len(normalized_shape), 0)), eps)
    output = output if weight is None else output * weight
    return output if bias is None else output + bias


def _glu(values: Tensor, dim: int = -1) -> Tensor:
    passed, gate = values.chunk(2, dim)
    return passed * torch.sigmoid(gate)


def _hardsigmoid(values: Tensor, inplace: bool = False) -> Tensor:
    if inplace:
        return values.add_(3).clamp_(0, 6).div_(6)
    return (values + 3).clamp(0, 6) / 6


def _normalize(
    values: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    if p != 2.0 or out is not None:
        return functional.normalize(values, p, dim, eps, out)
    norm = values.square().sum(dim, keepdim=True).sqrt()
    return values / norm.clamp_min(eps)


def _norm(norm: Function) -> Function:
    """A Euclidean norm as the root of a sum of squares; other norms are left as they are."""

    def rule(
        values: Tensor, order: Any = None, dim: Any = None, keepdim: bool = False, **options: Any
    ) -> Tensor:
        order = options.pop("p", options.pop("ord", order))
        options = {name: value for name, value in options.items() if value is not None}
        spectral = norm is torch.linalg.norm and order == 2 and not isinstance(dim, int)
        if options or spectral or order not in (None, 2, "fro"):
            kind = () if order is None else (order,)
            other: Tensor = norm(values, *kind, dim=dim, keepdim=keepdim, **options)
            return other
        return values.square().sum(dim, keepdim=keepdim).sqrt()

    return rule


def _std(values: Tensor, *args: Any, **options: Any) -> Tensor:
    return torch.var(values, *args, **options).sqrt()


def _std_mean(values: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(values, *args, **options)
    return variance.sqrt(), mean


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    norms = (x.square().sum(dim).sqrt().clamp_min(eps) for x in (x1, x2))
    return (x1 * x2).sum(dim) / math.prod(norms)


def _pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    if p != 2.0:
        return functional.pairwise_distance(x1, x2, p, eps, keepdim)
    return (x1 - x2 + eps).square().sum(-1, keepdim=keepdim).sqrt()


def _normalized(values: Tensor, dims: list[int], eps: float) -> Tensor:
    centred = values - values.mean(dims, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dims, keepdim=True) + eps)


def _scaled_channels(values: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = [1, -1, *[1] * (values.ndim - 2)]
    values = values if weight is None else values * weight.reshape(shape)
    return values if bias is None else values + bias.reshape(shape)


def _is_dual(tensor: Tensor | None) -> bool:
    return tensor is not None and unpack_dual(tensor)[1] is not None


def _alone_is_dual(values: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    return _is_dual(values) and not _is_dual(weight) and not _is_dual(bias)


_LAYERS: tuple[Function, ...] = (
    *(functional.linear, torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)
_SOFT = ("softmax", "log_softmax", "logsumexp")
_EXPONENTIALS: tuple[Function, ...] = (
    *(getattr(place, name) for place in (torch, torch.special, Tensor) for name in _SOFT),
    *(functional.softmax, functional.softmin, functional.log_softmax, functional.gumbel_softmax),
    *(functional.scaled_dot_product_attention, functional.multi_head_attention_forward),
    *(torch.logcumsumexp, Tensor.logcumsumexp),
)
_NORMS: tuple[Function, ...] = (
    *(torch.norm, Tensor.norm, torch.linalg.norm, torch.linalg.vector_norm),
)
_COMMON: dict[Function, Function] = {
    **{layer: _affine(layer) for layer in _LAYERS},
    functional.instance_norm: _instance_norm,
    functional.glu: _glu,
    functional.hardsigmoid: _hardsigmoid,
}
FIRST_ORDER: dict[Function, Function] = {
    **_COMMON,
    **{function: _observed(function) for function in (*_EXPONENTIALS, *_NORMS)},
    **dict.fromkeys((functional.relu, torch.relu, Tensor.relu), _relu),
    functional.batch_norm: partial(_batch_norm, fused=True),
    functional.layer_norm: partial(_layer_norm, fused=True),
}
NESTED: dict[Function, Function] = {
    **_COMMON,
    functional.batch_norm: partial(_batch_norm, fused=False),
    functional.layer_norm: partial(_layer_norm, fused=False),
    functional.normalize: _normalize,
    **{norm: _norm(norm) for norm in _NORMS},
    **dict.fromkeys((torch.std, Tensor.std), _std),
    torch.std_mean: _std_mean,
    functional.cosine_similarity: _cosine_similarity,
    functional.pairwise_distance: _pairwise_distance,
}
REFUSED: frozenset[Function] = frozenset({torch.batch_norm, torch.instance_norm, torch.layer_norm})


class _Sums(NamedTuple):
    """w J v, Σ p̂ v and Σ v of each channel."""

    passed: Tensor
    projected: Tensor
    total: Tensor


class BatchNormTangent(torch.autograd.Function):
    """w J t, for `apply(t, p, w or None, mean, scale)`."""

    @staticmethod
    def forward(
        ctx: Any,
        tangent: Tensor,
        primal: Tensor,
        weight: Tensor | None,
        mean: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Apply the Jacobian; keep what its gradient needs."""
        at = _apply_jacobian(tangent, primal, weight, mean, scale)
        ctx.save_for_backward(tangent, primal, weight, mean, scale, at.projected, at.total)
        return at.passed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        """The gradients of the docstring of the module."""
        tangent, primal, weight, mean, scale, projected, total = ctx.saved_tensors
        along = _apply_jacobian(gradient, primal, weight, mean, scale)
        dims = [d for d in range(primal.ndim) if d != 1]
        m = primal.numel() // primal.shape[1]
        product = (gradient * tangent).sum(dims, dtype=scale.dtype)
        c, b = projected / m, along.projected
        a = product - total / m * along.total - c * b
        w = torch.ones_like(scale) if weight is None else weight.to(scale.dtype)
        mixed = torch.addcmul(_channels(c, gradient) * gradient, _channels(b / m, tangent), tangent)
        inner = _apply_jacobian(mixed, primal, None, mean, scale).passed
        outer = -w * scale**2 * a / m * scale
        through = inner * _channels(-w * scale, inner)
        through = through + _channels(outer, primal) * (primal - _channels(mean, primal))
        return along.passed, through, None if weight is None else scale * a, None, None


def _apply_jacobian(
    values: Tensor, primal: Tensor, weight: Tensor | None, mean: Tensor, scale: Tensor
) -> _Sums:
    return _Sums(
        *torch.ops.aten.native_batch_norm_backward(
            values, primal, weight, None, None, mean, scale, True, 0.0, [True, True, True]
        )
    )


def _channels(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape([1, -1, *[1] * (like.ndim - 2)])


@contextmanager
def forward_rules(*, nested: bool = False) -> Iterator[None]:
    """Evaluate a network on dual tensors by the rules, and name what cannot be differentiated."""
    # Attention runs in elementary operations, since the fused kernels have no tangents.
    load_tangent_formulas()
    try:
        with _Rules(NESTED if nested else FIRST_ORDER), sdpa_kernel(SDPBackend.MATH):
            yield
    except (NotImplementedError, RuntimeError) as error:
        name = _undifferentiable(error)
        if name is None:
            raise
        raise MixregError(_no_derivative(name)) from error


@cache
def load_tangent_formulas() -> None:
    """Let PyTorch load its formulas, which warns of PyTorch's own use of a deprecated function."""
    zero = torch.zeros(1, device="cpu")
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        make_dual(zero, zero)


class _Rules(TorchFunctionMode):
    """Calls the rule of a function in its place."""

    def __init__(self, rules: Mapping[Function, Function]) -> None:
        super().__init__()
        self.rules = rules

    def __torch_function__(
        self,
        func: Function,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        _refuse_checkpoints()
        if func in REFUSED:
            raise MixregError(_no_derivative(f"torch.{func.__name__}"))
        rule = self.rules.get(func)
        if rule is None:
            return func(*args, **kwargs)
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        return rule(*args, **kwargs)


def _refuse_checkpoints() -> None:
    """Refuse checkpointed activations, recomputed in the backward pass without their tangents."""
    hooks = _saved_tensors_hooks(False)
    if hooks is not None and hooks[0].__module__ == torch.utils.checkpoint.__name__:
        raise MixregError(
            "the model runs under torch.utils.checkpoint, which recomputes it without the "
            "forward-mode derivatives that the approximate Mixup risk needs; switch checkpointing "
            "of activations off, or train with mixreg.Mixup"
        )


def _no_derivative(name: str) -> str:
    return (
        f"{name} has no usable forward-mode derivative, which the approximate Mixup risk needs "
        "from every operation of the model; replace it in the model (functions of torch.nn."
        "functional have one more often than those of torch), give it a jvp if it is your own, or "
        "train with mixreg.Mixup, which needs none"
    )


def _undifferentiable(error: Exception) -> str | None:
    """The operation that has no forward-mode derivative, if that is what the error is about."""
    message = str(error)
    if match := _UNSUPPORTED.search(message):
        return match[1]
    if "autograd.Function" in message and ("jvp" in message or "setup_context" in message):
        return _custom_function(error)
    return None


def _custom_function(error: Exception) -> str:
    """The `torch.autograd.Function` without tangent, as far as it is known, and who applied it."""
    trace, name, place = error.__traceback__, "a torch.autograd.Function", ""
    while trace is not None:
        frame = trace.tb_frame
        function = getattr(frame.f_locals.get("self"), "_forward_cls", None)
        if function is not None:
            name = function.__name__
        if not frame.f_globals.get("__name__", "").startswith(_MACHINERY):
            code = frame.f_code
            place = f" (in {code.co_qualname}, {code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return name + place
