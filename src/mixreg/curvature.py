"""Second derivatives of ℓ(y, f(x)) along one direction, by forward mode (Annex A.3).

For G(x, y) = ℓ(y, f(x)), a direction (d, e), u = f(x), u̇ = ∇f·d and f̈ = d²/dt² f(x + t d):

    Q(d, e) = ½ u̇ᵀ ℓ_uu u̇ + eᵀ ℓ_yu u̇ + ½ eᵀ ℓ_yy e + ½ ℓ_u · f̈

is half the second derivative of G along (d, e). No Jacobian and no Hessian is formed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, autograd, func, nn
from torch.autograd import forward_ad

from mixreg._checks import Network
from mixreg._errors import MixregError
from mixreg._forward_mode import forward_rules, make_dual, unpack_dual
from mixreg.losses import CANONICAL, Loss, LossAlong, LossFunction, resolve_loss, sum_outputs

_NO_TANGENT = (
    "the outputs of the model carry no forward-mode derivative with respect to its inputs; the "
    "model detaches them, does not use them, or runs under torch.inference_mode() (use "
    "torch.no_grad() for evaluation)"
)

_jvp: Callable[..., Any] = func.jvp


class DirectionalDerivatives(NamedTuple):
    """Outputs u, their derivative u̇ along a direction, and f̈, each of the shape of u.

    `second` is None where it was not asked for.
    """

    outputs: Tensor
    first: Tensor
    second: Tensor | None


class Curvature(NamedTuple):
    """The four parts of Q(d, e), each of shape (n,).

    quadratic: ½ u̇ᵀ ℓ_uu u̇. cross: eᵀ ℓ_yu u̇. label: ½ eᵀ ℓ_yy e. second_order: ½ ℓ_u · f̈.
    Averaged over the perturbations, quadratic + cross gives R1 + R3 of Theorem 2, label gives R4
    and second_order gives R2.
    """

    quadratic: Tensor
    cross: Tensor
    label: Tensor
    second_order: Tensor

    @property
    def total(self) -> Tensor:
        """Q(d, e)."""
        return self.quadratic + self.cross + self.label + self.second_order


def directional_curvature(
    net: Network,
    x: Tensor,
    y: Tensor,
    input_direction: Tensor,
    target_direction: Tensor,
    loss: Loss,
    *,
    second_order: bool = True,
) -> Curvature:
    """Q(d, e) for every example: half the second derivative of ℓ(y, f(x)) along (d, e).

    Args:
        net: f, (n, ...) → (n, c) or (n,).
        x: inputs, floating point, shape (n, ...).
        y: targets, floating point, the shape of the outputs.
        input_direction: d, the shape of `x`.
        target_direction: e, the shape of `y`.
        loss: ℓ by name, or a callable (y, u) → (n,).
        second_order: with f̈; without, the second-order part is zero, which is exact almost
            everywhere for piecewise-linear networks.

    Returns:
        The four parts of Q.

    Source: Carratino et al., equations 11 and 32.

    Example:
        >>> x, d = torch.tensor([[2.0]]), torch.tensor([[1.0]])
        >>> y, e = torch.tensor([[0.0]]), torch.tensor([[3.0]])
        >>> q = directional_curvature(lambda x: x**2, x, y, d, e, "squared_error")
        >>> [part.item() for part in q], q.total.item()  # of t ↦ ½ (3t − (2 + t)²)², at t = 0
        ([8.0, -12.0, 4.5, 4.0], 4.5)
    """
    at = directional_derivatives(net, x, input_direction, second_order=second_order)
    return loss_curvature(loss, y, at.outputs, target_direction, at.first, at.second)


def directional_derivatives(
    net: Network,
    x: Tensor,
    direction: Tensor,
    *,
    second_order: bool = False,
    update_buffers: bool = True,
) -> DirectionalDerivatives:
    """Outputs u = f(x), u̇ = ∇f·d and, if asked for, f̈, from one evaluation in forward mode."""
    # Random layers draw once, so that all belong to one dropout mask. Batch normalization in
    # training mode is differentiated through the whole batch: u̇ is then the derivative along the
    # joint direction of all examples, and running statistics are updated once, from the values.
    with forward_rules(nested=second_order):
        if second_order:
            return _nested(net, x, direction, update_buffers)
        if isinstance(net, nn.Module) and not update_buffers:
            return _single(lambda z: _on_copied_buffers(net, z)[0], x, direction)
        return _single(net, x, direction)


def loss_curvature(
    loss: Loss,
    targets: Tensor,
    outputs: Tensor,
    target_direction: Tensor,
    first: Tensor,
    second: Tensor | None = None,
) -> Curvature:
    """The parts of Q from the derivatives of the network: second derivatives of ℓ alone."""
    function = resolve_loss(loss)
    canonical = CANONICAL.get(function)
    derivatives = partial(_along, function) if canonical is None else canonical.along
    at = derivatives(targets, outputs, target_direction, first)
    second_order = torch.zeros_like(at.uu)
    if second is not None:
        second_order = sum_outputs(at.slope * second) / 2
    return Curvature(at.uu / 2, at.yu, at.yy / 2, second_order)


def _along(loss: LossFunction, y: Tensor, u: Tensor, e: Tensor, du: Tensor) -> LossAlong:
    """ℓ_u and the second derivatives along (e, u̇), with a graph; value i depends on row i alone."""
    with torch.enable_grad():
        # Views, since u̇ and e may themselves be functions of u and y.
        y, u = (v.view_as(v) if v.requires_grad else v.detach().requires_grad_() for v in (y, u))
        slope_u, slope_y = _with_graph(loss(y, u).sum(), u, y)
        uu_du, yu_du = _with_graph((slope_u * du).sum(), u, y)
        (yy_e,) = _with_graph((slope_y * e).sum(), y)
    return LossAlong(slope_u, *(sum_outputs(v) for v in (uu_du * du, yu_du * e, yy_e * e)))


def _with_graph(value: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients with a graph; zeros where the value does not depend on an input."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(v) for v in inputs)
    return autograd.grad(value, inputs, create_graph=True, materialize_grads=True)


def _single(net: Network, x: Tensor, direction: Tensor) -> DirectionalDerivatives:
    with forward_ad.dual_level():
        dual = _checked(net(make_dual(x, direction)))
        outputs, first = unpack_dual(dual)
    if first is None:
        raise MixregError(_NO_TANGENT)
    return DirectionalDerivatives(outputs, first, None)


def _nested(
    net: Network, x: Tensor, direction: Tensor, update_buffers: bool
) -> DirectionalDerivatives:
    """Forward mode over forward mode, on copies of the buffers, which it could not change."""

    def along(z: Tensor) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        def evaluate(z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return _on_copied_buffers(net, z)

        try:
            outputs, first, buffers = _jvp(evaluate, (z,), (direction,), has_aux=True, strict=True)
        except RuntimeError as error:
            if "strict=True" not in str(error):
                raise
            raise MixregError(_NO_TANGENT) from error
        return (outputs, first), buffers

    (outputs, first), (_, second), buffers = _jvp(along, (x,), (direction,), has_aux=True)
    if isinstance(net, nn.Module) and update_buffers:
        with torch.no_grad():
            for name, buffer in net.named_buffers():
                buffer.copy_(buffers[name])
    return DirectionalDerivatives(outputs, first, second)


def _on_copied_buffers(net: Network, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    if not isinstance(net, nn.Module):
        return _checked(net(z)), {}
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    return _checked(func.functional_call(net, buffers, (z,))), buffers


def _checked(outputs: Tensor) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the model must return one tensor of outputs, got {type(outputs).__name__}; wrap it "
            "in a function that picks the logits"
        )
    return outputs
