"""Laws by design: a mixing law with any two numbers that a law can have (Theorem 1, section 6)."""

import math
import sys

from mixreg._checks import python_float
from mixreg.laws import Constant, FoldedBeta, MixingLaw, mixture

_ROUNDING = 4 * sys.float_info.epsilon


def design_law(
    *,
    gamma_squared: float,
    theta_mean: float | None = None,
    label_smoothing: float | None = None,
) -> MixingLaw:
    """A mixing law with a given shrinkage and a given strength of the noise between examples.

    To second order (equation 12) a law is two numbers: a1 = E(1 − θ) = 1 − θ̄, by which inputs and
    labels are shrunk, and a2 = E(1 − θ)² = γ², the weight of the noise. A law with these numbers
    exists if and only if a1² ≤ a2 ≤ a1/2: the left is Jensen's inequality, the right holds since
    0 ≤ 1 − θ ≤ ½, and every such pair is reached:

    - a1² < a2 < a1/2 by `FoldedBeta`, one smooth density on [½, 1];
    - a2 = a1² by the constant λ = 1 − a1: shrinkage with the least noise;
    - a2 = a1/2 by halves mixed with probability 2·a1, else unmixed: the most noise.

    Args:
        gamma_squared: γ² = a2.
        theta_mean: θ̄ = 1 − a1, in [½, 1].
        label_smoothing: ε = a1 instead of θ̄, the label smoothing that the law amounts to.

    Returns:
        The law; it samples, integrates and is stored like any other.

    Raises:
        TypeError: a number is none.
        ValueError: no law has these numbers (the nearest that one has are named), a number is not
            finite, or not exactly one of θ̄ and ε is given.

    Source: Carratino et al., Theorem 1, Lemma 1 and the question that closes section 6.

    Example:
        >>> law = design_law(label_smoothing=0.1, gamma_squared=0.04)
        >>> round(law.theta_mean, 12), round(law.gamma_squared, 12)
        (0.9, 0.04)
        >>> design_law(theta_mean=0.75, gamma_squared=0.0625)
        Constant(weight=0.75)
    """
    if (theta_mean is None) == (label_smoothing is None):
        raise ValueError(
            f"give one of theta_mean and label_smoothing, got {theta_mean} and {label_smoothing}"
        )
    if theta_mean is None:
        a1 = python_float(label_smoothing, "label_smoothing")
    else:
        a1 = 1 - python_float(theta_mean, "theta_mean")
    a2 = python_float(gamma_squared, "gamma_squared")
    if not (math.isfinite(a1) and math.isfinite(a2)):
        raise ValueError(f"the two numbers must be finite, got a1={a1} and a2={a2}")
    least, most = a1**2, a1 / 2
    low = _ROUNDING * (least if theta_mean is None else a1)
    high = _ROUNDING * (most if theta_mean is None else 1)
    if not (0 <= a1 <= 0.5 and least - low <= a2 <= most + high):
        b1, b2 = _nearest(a1, a2)
        raise ValueError(
            f"no law has E(1-theta) = {a1:g} and E(1-theta)^2 = {a2:g}: the second lies between "
            f"the square and the half of the first, which lies in [0, 1/2]; the nearest that one "
            f"has are theta_mean={1 - b1:.6g} (label_smoothing={b1:.6g}), gamma_squared={b2:.6g}"
        )
    if a2 - least <= low:
        return Constant(1 - a1)
    if most - a2 <= high:
        return mixture([(2 * a1, Constant(0.5)), (1 - 2 * a1, Constant(1.0))])
    return FoldedBeta(a1, a2 - least)


def _nearest(a1: float, a2: float) -> tuple[float, float]:
    """The nearest pair to (a1, a2) in the convex set a1² ≤ a2 ≤ a1/2."""
    along = min(max((4 * a1 + 2 * a2) / 5, 0.0), 0.5)
    low, high = 0.0, 0.5
    for _ in range(100):  # 2t³ + (1 − 2 a2) t = a1 for the foot (t, t²) on the parabola
        t = (low + high) / 2
        low, high = (low, t) if 2 * t**3 + (1 - 2 * a2) * t > a1 else (t, high)
    candidates = [(along, along / 2), (low, low**2)]
    return min(candidates, key=lambda b: math.dist(b, (a1, a2)))
