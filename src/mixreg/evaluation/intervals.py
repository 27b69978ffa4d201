"""Means over seeds with confidence intervals, and differences paired by seed."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy.special import stdtrit

LEVEL = 0.95
_ROUNDING = 1e-9


class MeanInterval(NamedTuple):
    """A mean and half the width of its 95% confidence interval.

    `half_width` is None for a single value, which says nothing about its spread.
    """

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width

    @property
    def is_degenerate(self) -> bool:
        """Whether the values are all equal, so that their interval has no width.

        Counts over a few examples can be equal in all seeds by chance; that is no certainty.
        """
        return self.half_width is not None and self.half_width <= _ROUNDING * abs(self.mean)

    @property
    def sign(self) -> int:
        """1 or −1 when the whole interval lies above or below 0, else 0.

        Without an interval, or with one of no width, it is 0.
        """
        if self.half_width is None or self.is_degenerate or abs(self.mean) <= self.half_width:
            return 0
        return 1 if self.mean > 0 else -1


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Mean with its 95% confidence interval by Student's t with n − 1 degrees of freedom.

    Args:
        values: one finite value a seed.

    Returns:
        Mean, half width (None for one value) and n.

    Raises:
        ValueError: no values, or one that is not finite.

    Source: Student, "The probable error of a mean", Biometrika 1908.

    Example:
        >>> mean, half_width, n = mean_interval([1.0, 2.0, 3.0])
        >>> mean, round(half_width, 4), n
        (2.0, 2.4841, 3)
    """
    n = len(values)
    if n == 0:
        raise ValueError("need at least one value for a mean, got none")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"values must be finite, got {list(values)}")
    mean = math.fsum(values) / n
    if n == 1:
        return MeanInterval(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    quantile = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return MeanInterval(mean, quantile * math.sqrt(variance / n), n)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> MeanInterval:
    """Mean of a − b over seeds, with the confidence interval of the differences.

    Args:
        a: value by seed.
        b: value by seed, for the same seeds.

    Returns:
        Mean difference, half width (None for one seed) and n.

    Raises:
        ValueError: different seeds on the two sides, none, or a value that is not finite.

    Example:
        >>> paired_difference({0: 3.0, 1: 5.0}, {0: 2.0, 1: 4.0})
        MeanInterval(mean=1.0, half_width=0.0, n=2)
    """
    if a.keys() != b.keys():
        raise ValueError(
            "a paired difference needs the same seeds on both sides, got "
            f"{sorted(a)} and {sorted(b)}"
        )
    return mean_interval([a[seed] - b[seed] for seed in sorted(a)])
