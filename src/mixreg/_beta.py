"""What the Beta laws need: the two numbers of the symmetric one, Gauss rules and draws.

The central binomial ratio q = 4^(−α) Γ(2α+1) / Γ(α+1)² = Γ(α+½) / (√π Γ(α+1)) is taken by the
recurrence q(α+1)/q(α) = (α+½)/(α+1), applied at α and at 0, which moves the argument to α+16;
there, with w = α + 16 + ¼, log q = −½ log(πw) + Σ_m E_2m / (m 4^(2m+1) w^(2m)) with the Euler
numbers E_2m. Differences to α = 0, where log q = 0, are taken term by term by log1p and expm1, so
that nothing cancels for α near 0, and no log-gamma cancels for huge α.

Sources: Golub and Welsch, "Calculation of Gauss quadrature rules", 1969; Marsaglia and Tsang, "A
simple method for generating gamma variables", 2000, section 6.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SHIFT = 16
_TINY = 1e-300
_EULER_NUMBERS = {2: -1, 4: 5, 6: -61, 8: 1385, 10: -50521, 12: 2702765}


def log_central_binomial_ratio(alpha: float) -> float:
    """Log q, to full relative precision."""
    w = _SHIFT + 0.25
    growth = math.log1p(alpha / w)
    recurrence = [math.log1p(-alpha / (2 * (k + 1) * (k + 0.5 + alpha))) for k in range(_SHIFT)]
    asymptotic = [
        2 * euler / (power * 4 ** (power + 1)) * w**-power * math.expm1(-power * growth)
        for power, euler in _EULER_NUMBERS.items()
    ]
    return math.fsum([-growth / 2, *recurrence, *asymptotic])


def folded_beta_moments(alpha: float) -> tuple[float, float]:
    """(1 − q)/2 and (1/(2α+1) − q²)/4, the mean and variance of 1 − θ, to full precision."""
    log_q = log_central_binomial_ratio(alpha)
    if alpha < 1:
        variance = (-2 * alpha / (2 * alpha + 1) - math.expm1(2 * log_q)) / 4
    else:
        variance = (1 / (2 * alpha + 1) - math.exp(2 * log_q)) / 4
    return -math.expm1(log_q) / 2, variance


def gauss_jacobi(a: float, b: float, order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss rule of the Beta(a, b) law on [0, 1] by the eigenvalues of its Jacobi matrix."""
    total = a + b
    n = np.arange(1, order, dtype=np.float64)
    means = (a - b) * (total - 2) / ((2 * n + total - 2) * (2 * n + total))
    n = n[1:]
    squares = 4 * n * (n + a - 1) * (n + b - 1) * (n + total - 2)
    squares /= (2 * n + total - 2) ** 2 * (2 * n + total - 1) * (2 * n + total - 3)
    first = 4 * (a / total) * (b / total) / (total + 1)
    off_diagonal = np.sqrt(np.concatenate([[first], squares])[: order - 1])
    matrix = np.diag(np.concatenate([[(a - b) / total], means])) + np.diag(off_diagonal, -1)
    nodes, vectors = np.linalg.eigh(matrix)
    weights = vectors[0] ** 2
    if a == b:
        nodes, weights = (nodes - nodes[::-1]) / 2, (weights + weights[::-1]) / 2
    return np.clip((1 + nodes) / 2, 0, 1), weights / weights.sum()


def beta_distribution(alpha: float, x: float) -> float:
    """P(λ ≤ x) of Beta(α, α), by the continued fraction of the incomplete Beta function (Lentz)."""
    if x > 0.5:
        return 1 - beta_distribution(alpha, 1 - x)
    if x <= 0:
        return 0.0
    log_front = alpha * math.log(x * (1 - x)) + math.lgamma(2 * alpha) - 2 * math.lgamma(alpha)
    c, d = 1.0, 1 / (1 - 2 * alpha * x / (alpha + 1))
    fraction = d
    for m in range(1, 10_000):
        even = m * (alpha - m) * x / ((alpha + 2 * m - 1) * (alpha + 2 * m))
        odd = -(alpha + m) * (2 * alpha + m) * x / ((alpha + 2 * m) * (alpha + 2 * m + 1))
        before = fraction
        for term in (even, odd):
            c, d = 1 + term / c, 1 / (1 + term * d)
            fraction *= c * d
        if abs(fraction - before) <= 1e-16 * abs(fraction):
            break
    return math.exp(log_front) * fraction / alpha


def beta_variates(a: float, b: float, n: int, generator: torch.Generator | None) -> Tensor:
    """G₁/(G₁ + G₂) of Gamma(a) and Gamma(b) draws: log G(a) = log G(a+1) + log(U)/a."""
    device = torch.device("cpu") if generator is None else generator.device
    shapes = torch.tensor([[a], [b]], dtype=torch.float64, device=device)
    concentration = (shapes + 1).expand(2, n).contiguous()
    log_boosted = torch._standard_gamma(concentration, generator=generator).log()
    log_unit = torch.log1p(
        -torch.rand(2, n, generator=generator, dtype=torch.float64, device=device)
    )
    if max(a, b) < _TINY:  # log(U)/a would overflow for both
        return torch.sigmoid((log_unit[0] - log_unit[1]) / a + (log_boosted[0] - log_boosted[1]))
    log_g = log_boosted + log_unit / shapes
    return torch.sigmoid(log_g[0] - log_g[1])
