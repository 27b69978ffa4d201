"""Derivatives of a network in its inputs: Jacobians, and traces of its Hessian in a metric."""

from typing import NamedTuple

import torch
from torch import Tensor, autograd
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixreg._errors import MixregError
from mixreg._random import generator
from mixreg.covariance import PerturbationCovariance
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
    net: Network,
    inputs: Tensor,
    weights: Tensor,
    jacobian: Tensor,
    covariance: PerturbationCovariance,
    i: Tensor,
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
        jacobian: ∇f(x_i), shape (k, c, d), against which the second differentiation is checked.
        covariance: Σ_xx(i).
        i: the samples that the rows are, shape (k,).

    Returns:
        Shape (k,), float64.

    Raises:
        MixregError: an operation of the network cannot be differentiated twice.
    """
    data = covariance.left
    source = generator("second order")
    random = torch.randn(data.rank, generator=source, dtype=torch.float64, device="cpu")
    try:
        graph = _SlopeGraph.build(net, inputs, weights)
        product = graph.checked_product(data.vectors(random.to(data.scale)), jacobian)
        if not product.any():
            return torch.zeros(len(inputs), dtype=torch.float64, device=inputs.device)
        own = graph.curvature(data.vectors(data.scores[i]))
        axes = (data.basis * data.scale).T
        shared = torch.stack([graph.curvature(axis) for axis in axes]).sum(0)
    except RuntimeError as error:
        raise MixregError(
            f"net cannot be differentiated twice in its inputs ({error}); second_order=False "
            "leaves out R2"
        ) from error
    return covariance.theta_variance * own + covariance.gamma_squared * shared


class _SlopeGraph(NamedTuple):
    """Leaves x and w, and the gradient of Σ_c w_c f_c(x) in x with its graph."""

    x: Tensor
    weights: Tensor
    slope: Tensor

    @classmethod
    def build(cls, net: Network, inputs: Tensor, weights: Tensor) -> "_SlopeGraph":
        x = inputs.detach().clone().requires_grad_()
        # The fused attention kernels have no second derivative.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            outputs = net(x).reshape(len(x), -1)
            w = weights.to(outputs.dtype).detach().requires_grad_()
            (slope,) = autograd.grad((w * outputs).sum(), x, create_graph=True)
        return cls(x, w, slope)

    def checked_product(self, direction: Tensor, jacobian: Tensor) -> Tensor:
        # PyTorch gives zeros, and no error, where a backward pass was made without a graph. The
        # derivative of vᵀ slope in w shows it: it must be ∇f·v.
        product, through = autograd.grad(
            self.slope,
            (self.x, self.weights),
            self._directions(direction),
            retain_graph=True,
            materialize_grads=True,
        )
        expected = jacobian @ direction
        tolerance = torch.finfo(through.dtype).eps ** 0.5 * (1 + expected.abs().max())
        if (through.double() - expected).abs().max() > tolerance:
            raise RuntimeError("a backward pass was made without a graph")
        return product

    def curvature(self, directions: Tensor) -> Tensor:
        """vᵀ H_i v, shape (k,), for directions (k, d) or one direction (d,)."""
        (product,) = autograd.grad(
            self.slope,
            self.x,
            self._directions(directions),
            retain_graph=True,
            materialize_grads=True,
        )
        return (product.reshape(len(product), -1).double() * directions).sum(1)

    def _directions(self, directions: Tensor) -> Tensor:
        v = directions.to(self.x.dtype)
        return v.expand(len(self.x), -1).reshape(self.x.shape)
