"""What the symmetric Beta law needs: its two numbers, its Gauss rule and its draws.

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


def gauss_jacobi(alpha: float, order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss rule of the Beta(α, α) law on [0, 1] by the eigenvalues of its Jacobi matrix."""
    n = np.arange(2, order, dtype=np.float64)
    off_diagonal = n * (n - 2 + 2 * alpha) / ((2 * n + 2 * alpha - 1) * (2 * n + 2 * alpha - 3))
    squares = np.concatenate([[1 / (2 * alpha + 1)], off_diagonal])[: order - 1]
    matrix = np.diag(np.sqrt(squares), -1)
    nodes, vectors = np.linalg.eigh(matrix)
    weights = vectors[0] ** 2
    nodes, weights = (nodes - nodes[::-1]) / 2, (weights + weights[::-1]) / 2
    return (1 + nodes) / 2, weights / weights.sum()


def beta_variates(alpha: float, n: int, generator: torch.Generator | None) -> Tensor:
    """G₁/(G₁ + G₂) of Gamma(α) draws in log space: log G(α) = log G(α+1) + log(U)/α."""
    device = torch.device("cpu") if generator is None else generator.device
    concentration = torch.full((2, n), alpha + 1, dtype=torch.float64, device=device)
    log_boosted = torch._standard_gamma(concentration, generator=generator).log()
    log_unit = torch.log1p(
        -torch.rand(2, n, generator=generator, dtype=torch.float64, device=device)
    )
    if alpha < _TINY:  # log(U)/α would overflow for both
        return torch.sigmoid(
            (log_unit[0] - log_unit[1]) / alpha + (log_boosted[0] - log_boosted[1])
        )
    log_g = log_boosted + log_unit / alpha
    return torch.sigmoid(log_g[0] - log_g[1])
