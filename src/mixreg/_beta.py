"""What the symmetric Beta law needs: its central binomial ratio, Gauss rule and Gamma draws."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SHIFT = 16
_EULER_NUMBERS = {2: -1, 4: 5, 6: -61, 8: 1385, 10: -50521, 12: 2702765}


def log_central_binomial_ratio(alpha: float) -> float:
    """Log q for q = 4^(−α) Γ(2α+1) / Γ(α+1)² = Γ(α+½) / (√π Γ(α+1)), to full relative precision.

    The recurrence q(α+1)/q(α) = (α+½)/(α+1), applied at α and at 0, moves the argument to α+16;
    there, with w = α + 16 + ¼, log q = −½ log(πw) + Σ_m E_2m / (m 4^(2m+1) w^(2m)) with the Euler
    numbers E_2m. Differences to α = 0, where log q = 0, are taken term by term by log1p and expm1,
    so that nothing cancels for α near 0, and no log-gamma cancels for huge α.

    Args:
        alpha: shape α ≥ 0.

    Returns:
        log q, at most 0.
    """
    w = _SHIFT + 0.25
    growth = math.log1p(alpha / w)
    recurrence = [math.log1p(-alpha / (2 * (k + 1) * (k + 0.5 + alpha))) for k in range(_SHIFT)]
    asymptotic = [
        2 * euler / (power * 4 ** (power + 1)) * w**-power * math.expm1(-power * growth)
        for power, euler in _EULER_NUMBERS.items()
    ]
    return math.fsum([-growth / 2, *recurrence, *asymptotic])


def gauss_jacobi(alpha: float, order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss rule of the Beta(α, α) law on [0, 1] by the eigenvalues of its Jacobi matrix.

    Args:
        alpha: shape α > 0.
        order: number of nodes.

    Returns:
        Nodes in [0, 1], exactly symmetric about ½, and weights that sum to one.

    Source: Golub and Welsch, "Calculation of Gauss quadrature rules", 1969.
    """
    n = np.arange(2, order, dtype=np.float64)
    off_diagonal = n * (n - 2 + 2 * alpha) / ((2 * n + 2 * alpha - 1) * (2 * n + 2 * alpha - 3))
    squares = np.concatenate([[1 / (2 * alpha + 1)], off_diagonal])[: order - 1]
    matrix = np.diag(np.sqrt(squares), -1)
    nodes, vectors = np.linalg.eigh(matrix)
    weights = vectors[0] ** 2
    nodes, weights = (nodes - nodes[::-1]) / 2, (weights + weights[::-1]) / 2
    return (1 + nodes) / 2, weights / weights.sum()


def log_gamma_variates(
    alpha: float, shape: tuple[int, ...], generator: torch.Generator | None
) -> Tensor:
    """Logarithms of Gamma(α) draws, which do not underflow for small α.

    log G(α) = log G(α+1) + log(U)/α with U uniform on (0, 1].

    Args:
        alpha: shape α > 0.
        shape: shape of the result.
        generator: source of randomness, and the device of the draws.

    Returns:
        float64 draws.

    Source: Marsaglia and Tsang, "A simple method for generating gamma variables", 2000, section 6.
    """
    device = torch.device("cpu") if generator is None else generator.device
    concentration = torch.full(shape, alpha + 1, dtype=torch.float64, device=device)
    boosted = torch._standard_gamma(concentration, generator=generator)
    unit = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
    return boosted.log() + torch.log1p(-unit) / alpha
