"""The theory written straight from its formulas: slow, dense, in float64; the tests' oracle.

Every function loops over samples and pairs, forms the matrices that the fast paths avoid, and takes
derivatives by automatic differentiation. The expectation over θ of a quadratic function needs the
mean and the variance of θ only, so equations 9 and 10 are enumerated over the two-point law θ̄ ± σ,
which has both.

Arguments are the same everywhere: `net` f maps a batch (n, ...) to (n, c) or (n,); `x` and `y` are
inputs and floating-point targets (n, ...); `loss` ℓ by name or a callable; `law` the law of λ; `i`
a sample; eigenvalues at most the fraction `cutoff` of the largest count as zero in the inverses.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import functional

from mixreg._checks import Network
from mixreg.laws import MixingLaw
from mixreg.losses import Loss, resolve_loss

_hessian: Callable[..., Any] = functional.hessian
_jacobian: Callable[..., Any] = functional.jacobian
_invert: Callable[..., Tensor] = torch.linalg.pinv


class Moments(NamedTuple):
    """Second moments of (δ_i, ε_i): E δδᵀ (d, d), E δεᵀ (d, m) and E εεᵀ (m, m)."""

    xx: Tensor
    xy: Tensor
    yy: Tensor


class Derivatives(NamedTuple):
    """Derivatives at one modified sample, inputs, outputs and labels taken as vectors.

    value: ℓ. loss_u (c,), loss_uu (c, c), loss_uy (c, m), loss_yy (m, m). jacobian: ∇f (c, d).
    second: ∇²f (c, d, d).
    """

    value: Tensor
    loss_u: Tensor
    loss_uu: Tensor
    loss_uy: Tensor
    loss_yy: Tensor
    jacobian: Tensor
    second: Tensor


class Terms(NamedTuple):
    """The terms of Theorem 2; `r1_plus_r3` is the form of equation 33 before the square."""

    modified: float
    r1: float
    r2: float
    r3: float
    r4: float
    r1_plus_r3: float


def mixup_risk(
    net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw, *, order: int = 32
) -> float:
    """(1/n²) Σ_i Σ_j E_λ ℓ(λ y_i + (1 − λ) y_j, f(λ x_i + (1 − λ) x_j)) (equation 4)."""
    point = _loss_at(net, loss)
    nodes, weights = law.quadrature(order)
    parts = [
        (w * point(lam * x[i] + (1 - lam) * x[j], lam * y[i] + (1 - lam) * y[j])).item()
        for i in range(len(x))
        for j in range(len(x))
        for lam, w in zip(nodes, weights, strict=True)
    ]
    return math.fsum(parts) / len(x) ** 2


def modified(x: Tensor, y: Tensor, law: MixingLaw) -> tuple[Tensor, Tensor]:
    """x̃ = x̄ + θ̄ (x − x̄) and ỹ = ȳ + θ̄ (y − ȳ) (equation 5)."""
    x_bar, y_bar, theta_bar = x.mean(0), y.mean(0), law.theta_mean
    return x_bar + theta_bar * (x - x_bar), y_bar + theta_bar * (y - y_bar)


def perturbation(values: Tensor, law: MixingLaw, theta: float, i: int, j: int) -> Tensor:
    """(θ − θ̄) x_i + (1 − θ) x_j − (1 − θ̄) x̄, for inputs δ_i, for targets ε_i (equation 6)."""
    theta_bar = law.theta_mean
    own, other, mean = values[i], values[j], values.mean(0)
    return (theta - theta_bar) * own + (1 - theta) * other - (1 - theta_bar) * mean


def covariances(x: Tensor, y: Tensor, law: MixingLaw, i: int) -> Moments:
    """Σ_xx(i), Σ_xy(i) and Σ_yy(i) as the paper prints them, from the modified data (8)."""
    x_tilde, y_tilde = (values.reshape(len(x), -1) for values in modified(x, y, law))
    a, b = x_tilde - x_tilde.mean(0), y_tilde - y_tilde.mean(0)

    def printed(left: Tensor, right: Tensor) -> Tensor:
        own, shared = torch.outer(left[i], right[i]), left.T @ right / len(x)
        sigma_squared, gamma_squared = law.theta_variance, law.gamma_squared
        return (sigma_squared * own + gamma_squared * shared) / law.theta_mean**2

    return Moments(printed(a, a), printed(a, b), printed(b, b))


def enumerated_moments(x: Tensor, y: Tensor, law: MixingLaw, i: int) -> Moments:
    """E δ_i δ_iᵀ, E δ_i ε_iᵀ and E ε_i ε_iᵀ, averaged over j and θ ∈ {θ̄ − σ, θ̄ + σ} (9)."""
    draws = [
        (perturbation(x, law, theta, i, j).flatten(), perturbation(y, law, theta, i, j).flatten())
        for theta in _two_points(law)
        for j in range(len(x))
    ]
    delta, epsilon = (torch.stack(parts) for parts in zip(*draws, strict=True))
    return Moments(
        *(a.T @ b / len(draws) for a, b in ((delta, delta), (delta, epsilon), (epsilon, epsilon)))
    )


def quadratic_risk(net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw) -> float:
    """The approximate Mixup risk by its definition, the mean of Taylor polynomials (10, 30)."""
    # G(x, y) = ℓ(y, f(x)) is expanded to second order at each (x̃_i, ỹ_i) by automatic
    # differentiation, and the polynomial is averaged over j and θ ∈ {θ̄ − σ, θ̄ + σ}.
    point, (x_tilde, y_tilde) = _loss_at(net, loss), modified(x, y, law)
    parts = []
    for i in range(len(x)):
        at = torch.cat([x_tilde[i].flatten(), y_tilde[i].flatten()])

        def joint(v: Tensor) -> Tensor:
            d = x[0].numel()
            return point(v[:d].reshape(x[0].shape), v[d:].reshape(y[0].shape))

        value, slope, second = joint(at), _jacobian(joint, at), _hessian(joint, at)
        for theta in _two_points(law):
            for j in range(len(x)):
                delta, epsilon = (perturbation(v, law, theta, i, j) for v in (x, y))
                v = torch.cat([delta.flatten(), epsilon.flatten()])
                parts.append((value + slope @ v + v @ second @ v / 2).item())
    return math.fsum(parts) / len(parts)


def derivatives(
    net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw, i: int
) -> Derivatives:
    """Value and derivatives of ℓ and f at (x̃_i, ỹ_i) (equation 32)."""
    x_tilde, y_tilde = modified(x, y, law)
    at_x, at_y = x_tilde[i].flatten(), y_tilde[i].flatten()
    shape = net(x[:1]).shape[1:]

    def f(v: Tensor) -> Tensor:
        return net(v.reshape(1, *x.shape[1:])).flatten()

    def ell(w: Tensor, u: Tensor) -> Tensor:
        return resolve_loss(loss)(w.reshape(1, *y.shape[1:]), u.reshape(1, *shape))[0]

    u = f(at_x)
    (loss_yy, loss_yu), (_, loss_uu) = _hessian(ell, (at_y, u))
    return Derivatives(
        ell(at_y, u),
        _jacobian(ell, (at_y, u))[1],
        loss_uu,
        loss_yu.T,
        loss_yy,
        _jacobian(f, at_x),
        torch.stack([_hessian(lambda v, k=k: f(v)[k], at_x) for k in range(len(u))]),
    )


def regression_jacobian(
    net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw, i: int, *, cutoff: float = 1e-10
) -> Tensor:
    """J(i) = −ℓ_uu⁺ ℓ_uy Σ_yx(i) Σ_xx(i)⁺ (equation 13)."""
    at, sigma = derivatives(net, x, y, loss, law, i), covariances(x, y, law, i)
    return _regression_jacobian(at, sigma, cutoff)


def approximate_mixup_risk(
    net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw, *, cutoff: float = 1e-10
) -> Terms:
    """The terms of Theorem 2, each from its formula (equations 12, 33 and 35)."""
    rows = []
    for i in range(len(x)):
        at, sigma = derivatives(net, x, y, loss, law, i), covariances(x, y, law, i)
        J = _regression_jacobian(at, sigma, cutoff)
        explained = sigma.xy.T @ _pinv(sigma.xx, cutoff) @ sigma.xy
        inverse = at.loss_uy.T @ _pinv(at.loss_uu, cutoff) @ at.loss_uy
        square = (at.jacobian - J).T @ at.loss_uu @ (at.jacobian - J)
        form = at.jacobian.T @ at.loss_uu @ at.jacobian
        second = torch.einsum("c,cij->ij", at.loss_u, at.second)
        rows.append(
            Terms(
                at.value.item(),
                float((sigma.xx * square).sum()) / 2,
                float((sigma.xx * second).sum()) / 2,
                -float((explained * inverse).sum()) / 2,
                float((sigma.yy * at.loss_yy).sum()) / 2,
                float(
                    (sigma.xx * form).sum() / 2 + (sigma.xy.T * (at.loss_uy.T @ at.jacobian)).sum()
                ),
            )
        )
    return Terms(*(math.fsum(parts) / len(rows) for parts in zip(*rows, strict=True)))


def equation_19_as_printed(
    weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, law: MixingLaw
) -> float:
    """Equation 19 as the paper prints it, up to its constant; see `linear_mixup_risk`."""
    # (2σ² + 2θ̄² + (1 − θ̄)²) (1/2n) Σ_i ½‖y_i − W x_i − b̄‖² + ‖b − b̄‖². Equation 37 drops the ½ of
    # the loss for θ̄² and b, and the sum of squares of equation 36 is read as one of losses. The
    # difference from the exact risk is not a constant.
    best_bias = y.mean(0) - weight @ x.mean(0)
    losses = (y - x @ weight.T - best_bias).square().sum(1) / 2
    factor = 2 * law.theta_variance + 2 * law.theta_mean**2 + (1 - law.theta_mean) ** 2
    return (factor * losses.mean() / 2 + (bias - best_bias).square().sum()).item()


def _regression_jacobian(at: Derivatives, sigma: Moments, cutoff: float) -> Tensor:
    return -_pinv(at.loss_uu, cutoff) @ at.loss_uy @ sigma.xy.T @ _pinv(sigma.xx, cutoff)


def _loss_at(net: Network, loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """G(x, y) = ℓ(y, f(x)) of one sample."""
    function = resolve_loss(loss)
    return lambda x, y: function(y.unsqueeze(0), net(x.unsqueeze(0)))[0]


def _two_points(law: MixingLaw) -> tuple[float, float]:
    sigma = law.theta_variance**0.5
    return law.theta_mean - sigma, law.theta_mean + sigma


def _pinv(matrix: Tensor, cutoff: float) -> Tensor:
    return _invert(matrix, rtol=cutoff, hermitian=True)
