"""Derivatives of any loss ℓ(y, u) by reverse mode twice, and losses that have none refused.

A loss that is piecewise linear is told from a smooth one that happens to be flat at all samples; a
kink on top of a curved loss is not noticed.
"""

from typing import NamedTuple

import torch
from torch import Tensor, autograd

from mixreg._checks import SampleName, first_not_finite
from mixreg.losses import LossAlong, LossFunction, check_values, sum_outputs

_PROBES = (1.0, -1.0, 1e2, -1e2, 1e4, -1e4)
_BISECTIONS = 80

_REMEDY = (
    "Theorem 2 needs a loss that is twice differentiable in the outputs: use a smooth one, for "
    "example softplus for a hinge or sqrt(1 + (y - u)²) for |y - u|"
)


def along(loss: LossFunction, y: Tensor, u: Tensor, e: Tensor, du: Tensor) -> LossAlong:
    """ℓ_u and the second derivatives along (e, u̇), with a graph; value i depends on row i alone."""
    with torch.enable_grad():
        # Views, since u̇ and e may themselves be functions of u and y.
        y, u = (v.view_as(v) if v.requires_grad else v.detach().requires_grad_() for v in (y, u))
        slope_u, slope_y = _with_graph(loss(y, u).sum(), u, y)
        uu_du, yu_du = _with_graph((slope_u * du).sum(), u, y)
        (yy_e,) = _with_graph((slope_y * e).sum(), y)
    return LossAlong(slope_u, *(sum_outputs(v) for v in (uu_du * du, yu_du * e, yy_e * e)))


class AutogradDerivatives(NamedTuple):
    """ℓ_u (k, c), ℓ_uu (k, c, c), ℓ_uy (k, c, m) and ℓ_yy (k, m, m) of k samples."""

    gradient: Tensor
    output_hessian: Tensor
    mixed: Tensor
    label_hessian: Tensor


def autograd_derivatives(
    loss: LossFunction, targets: Tensor, outputs: Tensor, name: SampleName
) -> AutogradDerivatives:
    """First and second derivatives of a loss by reverse mode applied twice."""
    k = len(outputs)
    y, u = (v.detach().clone().requires_grad_() for v in (targets, outputs))
    # PyTorch gives zeros, and no error, where a backward pass was made without a graph. A weight
    # of each value shows it: the slopes must be their own derivatives in the weight.
    weight = torch.ones(k, dtype=u.dtype, device=u.device, requires_grad=True)
    with torch.enable_grad():
        values = loss(y, u)
        check_values(values, k)
        slope, label_slope = _gradients(values, (u, y), weight)
        if not slope.requires_grad:
            raise ValueError(f"the loss has no derivative in the outputs; {_REMEDY}")
        try:
            hessian, mixed, through = _jacobians(slope, (u, y, weight))
            label_hessian, _ = _jacobians(label_slope, (y, weight))
        except RuntimeError as error:
            raise ValueError(f"the loss cannot be differentiated twice: {error}; {_REMEDY}") from (
                error
            )
    if not torch.allclose(through, slope.reshape(through.shape), equal_nan=True):
        raise ValueError(f"the loss cannot be differentiated twice; {_REMEDY}")
    for what, derivative in (("first", slope), ("second", hessian), ("mixed", mixed)):
        row = first_not_finite(derivative)
        if row is not None:
            raise ValueError(f"the {what} derivative of the loss is NaN or infinite at {name(row)}")
    if not hessian.any():
        _check_no_jump(loss, targets, outputs)
    return AutogradDerivatives(slope.detach().reshape(k, -1), hessian, mixed, label_hessian)


def _gradients(values: Tensor, wrt: tuple[Tensor, ...], weight: Tensor) -> tuple[Tensor, ...]:
    """Gradients of Σ weight·values with their graph; zeros without one where there is none."""
    found: tuple[Tensor | None, ...] = (None,) * len(wrt)
    if values.requires_grad:
        found = autograd.grad(values, wrt, weight, create_graph=True, allow_unused=True)
    zeros = (torch.zeros_like(v, requires_grad=False) for v in wrt)
    return tuple(z if g is None else g for g, z in zip(found, zeros, strict=True))


def _jacobians(slopes: Tensor, wrt: tuple[Tensor, ...]) -> list[Tensor]:
    """Jacobians (k, c, ·) of slopes (k, c), one backward pass for each of the c columns."""
    k = len(slopes)
    columns = slopes.reshape(k, -1).T
    if not slopes.requires_grad:
        return [v.new_zeros(k, len(columns), v[0].numel()) for v in wrt]
    rows = [
        autograd.grad(column.sum(), wrt, retain_graph=True, materialize_grads=True)
        for column in columns
    ]
    return [torch.stack(parts, 1).reshape(k, len(columns), -1) for parts in zip(*rows, strict=True)]


def _check_no_jump(loss: LossFunction, targets: Tensor, outputs: Tensor) -> None:
    """Refuse a loss whose slope changes along a line while its curvature is zero all along."""
    # The interval in which the slope goes through half of its change is halved again and again: a
    # smooth loss shows some curvature there.
    width = outputs[0].numel()
    alternating = 1.0 - 2 * (torch.arange(width, device=outputs.device) % 2)
    growing = alternating * torch.linspace(1, 2, width, device=outputs.device)
    direction = growing.to(outputs).reshape(outputs.shape[1:])
    start = _slopes(loss, targets, outputs)
    for probe in _PROBES:
        changes = (_slopes(loss, targets, outputs + probe * direction) - start).abs().amax(1)
        if changes.any():
            row = int(changes.argmax())
            y, u, slope = targets[row : row + 1], outputs[row : row + 1], start[row]
            low, high = 0.0, probe
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                at = u + middle * direction
                if _is_curved(loss, y, at):
                    return
                change = (_slopes(loss, y, at)[0] - slope).abs().max()
                low, high = (middle, high) if change < changes[row] / 2 else (low, middle)
            raise ValueError(
                "the loss is piecewise linear in the outputs, its slope jumps while its curvature "
                f"is zero; {_REMEDY}"
            )


def _slopes(loss: LossFunction, targets: Tensor, outputs: Tensor) -> Tensor:
    return _graph(loss, targets, outputs)[1].detach().reshape(len(outputs), -1)


def _is_curved(loss: LossFunction, targets: Tensor, outputs: Tensor) -> bool:
    u, slope = _graph(loss, targets, outputs)
    return bool(_jacobians(slope, (u,))[0].any())


def _graph(loss: LossFunction, targets: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs as a leaf, and ℓ_u with its graph."""
    u = outputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = _gradients(loss(targets, u), (u,), u.new_ones(len(u)))
    return u, slope


def _with_graph(value: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients with a graph; zeros where the value does not depend on an input."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(v) for v in inputs)
    return autograd.grad(value, inputs, create_graph=True, materialize_grads=True)
