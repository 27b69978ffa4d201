"""The tangent of batch normalization as one fused kernel, with a gradient in closed form.

For one channel with m values p, mean μ, scale s = (var + eps)^(−½) and p̂ = s (p − μ), the Jacobian
of p ↦ p̂ is symmetric:

    J t = s (t − mean t − c p̂)        with c = mean(p̂ t),

so the kernel of the backward pass applies it. The tangent is w J t; for a gradient G of it,

    ∂t: w J G        ∂w: s A        ∂p: −w s J(c G + (B/m) t) − w s² (A/m) p̂

with A = Σ G (t − mean t − c p̂) and B = Σ G p̂, since the derivative of s along dp is
−s² mean(p̂ dp) and that of p̂ is J dp.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


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
