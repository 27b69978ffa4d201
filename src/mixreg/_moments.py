"""Mean and variance of 1 − θ, the two numbers of a law, without cancellation (Theorem 1)."""

import math
from typing import NamedTuple

from mixreg._beta import log_central_binomial_ratio


class FoldedMoments(NamedTuple):
    """Mean and variance of 1 − θ, the two numbers of a law."""

    mean: float
    variance: float


def beta_moments(alpha: float) -> FoldedMoments:
    """(1 − q)/2 and (1/(2α+1) − q²)/4 for λ ~ Beta(α, α), with the central binomial ratio q.

    Args:
        alpha: shape α > 0.

    Returns:
        The two numbers, to full relative precision for small and large α.
    """
    log_q = log_central_binomial_ratio(alpha)
    if alpha < 1:
        variance = (-2 * alpha / (2 * alpha + 1) - math.expm1(2 * log_q)) / 4
    else:
        variance = (1 / (2 * alpha + 1) - math.exp(2 * log_q)) / 4
    return FoldedMoments(-math.expm1(log_q) / 2, variance)


def uniform_moments(low: float, high: float) -> FoldedMoments:
    """The two numbers for λ uniform on [low, high], split at ½.

    Args:
        low: lower end.
        high: upper end.

    Returns:
        The two numbers.
    """
    pieces = [(low, min(high, 0.5)), (1 - high, min(1 - low, 0.5))]
    return mixed_moments(
        [
            ((b - a) / (high - low), FoldedMoments((a + b) / 2, (b - a) ** 2 / 12))
            for a, b in pieces
            if b > a
        ]
    )


def mixed_moments(parts: list[tuple[float, FoldedMoments]]) -> FoldedMoments:
    """The two numbers of a mixture, by the laws of total mean and variance.

    Args:
        parts: pairs (probability, numbers of the part).

    Returns:
        The two numbers.
    """
    mean = math.fsum(p * m.mean for p, m in parts)
    within = math.fsum(p * m.variance for p, m in parts)
    between = math.fsum(p * (m.mean - mean) ** 2 for p, m in parts)
    return FoldedMoments(mean, within + between)
