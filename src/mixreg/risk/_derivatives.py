"""Dense derivatives of networks and losses, which the terms of Theorem 2 are made of.

The pseudo-inverse ℓ_uu⁺ leaves out what is too flat to be inverted:

- cross-entropy: classes with probability p_k at most the cut-off count as impossible, and the
  Hessian H = diag(p) − p pᵀ of the others has H⁺ = Π diag(1/p) Π, Π = I − 11ᵀ/c; as p tends to
  one-hot its rank tends to zero;
- logistic: outputs with v = s(1 − s) at most the cut-off are left out;
- squared error: ℓ_uu = I, nothing is left out;
- other losses: eigenvalues of ℓ_uu of modulus at most the cut-off times max(‖ℓ_uu‖, ‖ℓ_uy‖) are
  left out, which for scaled losses is invariant.

Derivatives of other losses are taken by reverse mode twice, and a loss that has none is refused.
One that is piecewise linear is told from a smooth one that happens to be flat at all samples; a
kink on top of a curved loss is not noticed.
"""

from typing import NamedTuple

import torch
from torch import Tensor, autograd
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixreg._checks import Network, SampleName, first_not_finite
from mixreg._errors import MixregError
from mixreg._random import generator
from mixreg.covariance import PerturbationCovariance
from mixreg.losses import CANONICAL, CanonicalLoss, LossFunction, check_values
from mixreg.risk._problem import check_outputs

_PROBES = (1.0, -1.0, 1e2, -1e2, 1e4, -1e4)
_BISECTIONS = 80

_REMEDY = (
    "Theorem 2 needs a loss that is twice differentiable in the outputs: use a smooth one, for "
    "example softplus for a hinge or sqrt(1 + (y - u)²) for |y - u|"
)


class Linearization(NamedTuple):
    """Outputs u in the shape the network gives them, and ∇f, shape (k, c, d); float64."""

    outputs: Tensor
    jacobian: Tensor


def linearize(net: Network, inputs: Tensor, name: SampleName) -> Linearization:
    """Outputs and Jacobians of k samples, by one backward pass for each of the c outputs."""
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
    """⟨Σ_xx(i), H_i⟩ with the Hessian H_i of Σ_c w_c f_c at x_i, exact, from products H_i v."""
    # With Σ_xx = Σ_r a_r a_rᵀ it is γ² Σ_r a_rᵀ H_i a_r + σ² d_iᵀ H_i d_i. One product with a
    # random direction in the range of Σ_xx comes first: where it is exactly zero, so is H_i on that
    # range, with probability one. So piecewise-linear networks cost one product.
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


class LossDerivatives(NamedTuple):
    """Derivatives of ℓ(y, u) at k samples, with outputs and labels as vectors.

    gradient: ℓ_u, shape (k, c). output_hessian: ℓ_uu, (k, c, c). mixed: ℓ_uy, (k, c, m).
    label_hessian: ℓ_yy, (k, m, m), or None where it vanishes. response: ℓ_uu⁺ ℓ_uy, (k, c, m), how
    the best output moves against the label, with the pseudo-inverse cut off.
    """

    gradient: Tensor
    output_hessian: Tensor
    mixed: Tensor
    label_hessian: Tensor | None
    response: Tensor


def loss_derivatives(
    loss: LossFunction,
    targets: Tensor,
    outputs: Tensor,
    *,
    curvature_cutoff: float,
    name: SampleName,
) -> LossDerivatives:
    """Derivatives of a loss, in closed form for the losses of the package, else by autograd."""
    canonical = CANONICAL.get(loss)
    if canonical is not None:
        y, u = (values.reshape(len(values), -1) for values in (targets, outputs))
        return _closed_form(canonical, y, u, curvature_cutoff)
    slope, hessian, mixed, labels = autograd_derivatives(loss, targets, outputs, name)
    response = _cut_inverse(hessian, mixed, curvature_cutoff) @ mixed
    return LossDerivatives(slope, hessian, mixed, labels, response)


def check_cutoff(curvature_cutoff: float) -> None:
    """Refuse a cut-off outside [0, 1)."""
    if not 0 <= curvature_cutoff < 1:
        raise ValueError(f"curvature_cutoff must lie in [0, 1), got {curvature_cutoff}")


def _closed_form(loss: CanonicalLoss, y: Tensor, u: Tensor, cutoff: float) -> LossDerivatives:
    """Corollaries 1 to 3."""
    p = loss.mean(u)
    w = loss.weight(u, p)
    kept = w > cutoff
    inverse = torch.diag_embed(torch.where(kept, 1 / w, 0))
    if loss.centred:
        both = (kept.unsqueeze(2) & kept.unsqueeze(1)).to(w.dtype)
        size = kept.sum(1).clamp_min(1).reshape(-1, 1, 1)
        projection = torch.diag_embed(kept.to(w.dtype)) - both / size
        inverse = (projection / torch.where(kept, w, 1).unsqueeze(1)) @ projection
    identity = torch.eye(y.shape[1], dtype=y.dtype, device=y.device).expand(len(y), -1, -1)
    labels = loss.label_curvature * identity if loss.label_curvature else None
    return LossDerivatives(p - y, loss.hessian(p, w), -identity, labels, -inverse)


def _cut_inverse(hessian: Tensor, mixed: Tensor, cutoff: float) -> Tensor:
    """Pseudo-inverse of symmetric matrices (k, c, c), small eigenvalues left out."""
    values, vectors = torch.linalg.eigh(hessian)
    size = torch.maximum(values.abs().amax(1), torch.linalg.matrix_norm(mixed))
    kept = values.abs() > cutoff * size.unsqueeze(1)
    inverse = torch.where(kept, 1 / torch.where(kept, values, 1), 0)
    return torch.matmul(vectors * inverse.unsqueeze(1), vectors.transpose(1, 2))


def autograd_derivatives(
    loss: LossFunction, targets: Tensor, outputs: Tensor, name: SampleName
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ℓ_u (k, c), ℓ_uu (k, c, c), ℓ_uy (k, c, m), ℓ_yy (k, m, m) by reverse mode applied twice."""
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
    return slope.detach().reshape(k, -1), hessian, mixed, label_hessian


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
