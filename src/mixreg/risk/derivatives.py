"""Derivatives of a network in its inputs: Jacobians, and traces of its Hessian in a metric."""

from typing import NamedTuple

import torch
from torch import Tensor, autograd
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixreg.covariance import PerturbationCovariance
from mixreg.errors import MixregError
from mixreg.randomness import generator
from mixreg.risk.network import Network, SampleName, check_outputs, first_not_finite


class Linearization(NamedTuple):
    """Outputs u in the shape the network gives them, and ∇f, shape (k, c, d); float64."""

    outputs: Tensor
    jacobian: Tensor


def linearize(net: Network, inputs: Tensor, name: SampleName) -> Linearization:
    """Outputs and Jacobians of k samples, by one backward pass for each of the c outputs.

    Args:
        net: f, whose row i depends on input i only.
        inputs: shape (k, ...), taken as vectors of length d.
        name: words for row k, for messages.

    Returns:
        f(x_i) and ∇f(x_i).

    Raises:
        MixregError: a derivative is NaN or infinite.
    """
    x = inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        outputs = net(x)
        check_outputs(outputs, len(x), name)
        if not outputs.requires_grad:
            raise MixregError(
                "the outputs of net carry no derivative in its inputs; it must not detach them or "
                "compute them outside PyTorch"
            )
        rows = [
            autograd.grad(column.sum(), x, retain_graph=True, materialize_grads=True)[0]
            for column in outputs.reshape(len(x), -1).T
        ]
    jacobian = torch.stack([row.reshape(len(x), -1) for row in rows], 1).double()
    row = first_not_finite(jacobian)
    if row is not None:
        raise MixregError(f"the derivative of net is NaN or infinite at {name(row)}")
    return Linearization(outputs.detach().double(), jacobian)


def hessian_trace(
    net: Network, inputs: Tensor, weights: Tensor, covariance: PerturbationCovariance, i: Tensor
) -> Tensor:
    """⟨Σ_xx(i), H_i⟩ with the Hessian H_i of Σ_c w_c f_c at x_i, exact, from products H_i v.

    With Σ_xx = Σ_r a_r a_rᵀ it is γ² Σ_r a_rᵀ H_i a_r + σ² d_iᵀ H_i d_i: rank + 1 products by
    reverse mode applied twice, on one graph. One product with a random direction in the range of
    Σ_xx comes first: where it is exactly zero, so is H_i on that range, with probability one. So
    piecewise-linear networks cost one product.

    Args:
        net: f, whose row i depends on input i only.
        inputs: shape (k, ...), taken as vectors of length d.
        weights: w, shape (k, c).
        covariance: Σ_xx(i).
        i: the samples that the rows are, shape (k,).

    Returns:
        Shape (k,), float64.

    Raises:
        MixregError: an operation of the network cannot be differentiated twice.
    """
    data = covariance.left
    random = torch.randn(data.rank, generator=generator("second order"), dtype=torch.float64)
    try:
        x, slope = _slope(net, inputs, weights)
        if not _hessian_product(x, slope, data.vectors(random.to(data.scale))).any():
            return torch.zeros(len(x), dtype=torch.float64, device=x.device)
        own = _curvature(x, slope, data.vectors(data.scores[i]))
        axes = (data.basis * data.scale).T
        shared = torch.stack([_curvature(x, slope, axis) for axis in axes]).sum(0)
    except RuntimeError as error:
        raise MixregError(
            f"net cannot be differentiated twice in its inputs ({error}); second_order=False "
            "leaves out R2"
        ) from error
    return covariance.theta_variance * own + covariance.gamma_squared * shared


def _slope(net: Network, inputs: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs as a leaf, and the gradient of Σ_c w_c f_c with its graph."""
    x = inputs.detach().clone().requires_grad_()
    # The fused attention kernels have no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        outputs = net(x).reshape(len(x), -1)
        weighted = (weights.to(outputs.dtype) * outputs).sum()
        (slope,) = autograd.grad(weighted, x, create_graph=True, materialize_grads=True)
    return x, slope


def _hessian_product(x: Tensor, slope: Tensor, directions: Tensor) -> Tensor:
    """H_i v in float64, shape (k, d), for directions (k, d) or one direction (d,)."""
    if not slope.requires_grad:
        return torch.zeros(len(x), x[0].numel(), dtype=torch.float64, device=x.device)
    v = directions.to(x.dtype).expand(len(x), -1).reshape(x.shape)
    (product,) = autograd.grad(slope, x, v, retain_graph=True, materialize_grads=True)
    return product.reshape(len(x), -1).double()


def _curvature(x: Tensor, slope: Tensor, directions: Tensor) -> Tensor:
    """vᵀ H_i v, shape (k,)."""
    return (_hessian_product(x, slope, directions) * directions).sum(1)
