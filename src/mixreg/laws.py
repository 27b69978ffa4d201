"""Laws of the mixing weight λ, and the two numbers of a law that the theory needs (Theorem 1).

Folding λ to θ = max(λ, 1 − λ) leaves the Mixup risk (4) unchanged, because it sums over ordered
pairs. Everything in the theory then depends on the law through θ̄ = E θ and σ² = Var θ alone, and
`design_law` gives a law for any two such numbers.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from mixreg._beta import beta_variates, folded_beta_moments, gauss_jacobi
from mixreg._checks import keep_float, python_float

_ROUNDING = 4 * sys.float_info.epsilon


class FoldedMoments(NamedTuple):
    """Mean and variance of 1 − θ, the two numbers of a law."""

    mean: float
    variance: float


class Quadrature(NamedTuple):
    """Nodes and weights with Σ weights·g(nodes) ≈ E g(λ); float64 tensors of shape (k,)."""

    nodes: Tensor
    weights: Tensor


@dataclass(frozen=True)
class MixingLaw(ABC):
    """A law of the mixing weight λ on [0, 1]."""

    _name: ClassVar[str]

    @property
    @abstractmethod
    def folded_moments(self) -> FoldedMoments:
        """Mean and variance of 1 − θ, each to full relative precision."""

    @abstractmethod
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw λ.

        Args:
            n: how many draws.
            generator: source of randomness; the draws are made on its device, without a
                synchronisation with the host. Without one, PyTorch's default CPU generator.

        Returns:
            Weights in [0, 1], float64, shape (n,).
        """

    @abstractmethod
    def quadrature(self, order: int) -> Quadrature:
        """A quadrature rule for expectations over λ.

        Args:
            order: number of nodes of each continuous part; the rule is exact for polynomials of
                degree 2·order − 1.

        Returns:
            Nodes in [0, 1] and weights that sum to one.
        """

    def to_dict(self) -> dict[str, Any]:
        """The law as JSON-safe values, read back by `law_from_dict`."""
        return {"law": self._name, **asdict(self)}

    @property
    def shrinkage(self) -> float:
        """1 − θ̄, also the label smoothing ε that the law amounts to (section 5)."""
        return self.folded_moments.mean

    @property
    def theta_mean(self) -> float:
        """θ̄, the mean of θ = max(λ, 1 − λ) (Theorem 1)."""
        return 1.0 - self.folded_moments.mean

    @property
    def theta_variance(self) -> float:
        """σ², the variance of θ (Lemma 1)."""
        return self.folded_moments.variance

    @property
    def gamma_squared(self) -> float:
        """γ² = σ² + (1 − θ̄)² = E (1 − θ)² (Lemma 1)."""
        mean, variance = self.folded_moments
        return variance + mean**2

    def sample_theta(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw θ = max(λ, 1 − λ).

        Args:
            n: how many draws.
            generator: source of randomness, as in `sample`.

        Returns:
            Folded weights in [½, 1], float64, shape (n,).
        """
        weight = self.sample(n, generator=generator)
        return torch.maximum(weight, 1 - weight)

    def with_probability(self, probability: float) -> "MixingLaw":
        """The law of a recipe that mixes with the given probability and else leaves λ = 1.

        Args:
            probability: chance p that a draw is mixed, in [0, 1].

        Returns:
            The mixture p·(this law) + (1 − p)·(λ = 1).

        Raises:
            TypeError: the probability is not a number.
            ValueError: the probability is not in [0, 1].

        Example:
            >>> Beta(1.0).with_probability(0.5).theta_mean
            0.875
        """
        probability = python_float(probability, "probability")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], got {probability}")
        return mixture([(probability, self), (1 - probability, Constant(1.0))])


@dataclass(frozen=True)
class Beta(MixingLaw):
    """λ ~ Beta(α, α), the law of mixup.

    With q = 4^(−α) Γ(2α+1) / Γ(α+1)²: θ̄ = (1 + q)/2, which is the paper's 1 − I_½(α+1, α), and
    σ² = (1/(2α+1) − q²)/4.

    Args:
        alpha: shape α > 0; small α mixes little (θ̄ → 1), large α mixes half and half (θ̄ → ½).

    Raises:
        TypeError: α is not a number.
        ValueError: α is not positive and finite.

    Source: Carratino et al., "On Mixup Regularization", Theorem 1 and Algorithm 1.

    Example:
        >>> law = Beta(1.0)
        >>> law.theta_mean, round(1 / law.theta_variance), round(1 / law.gamma_squared)
        (0.75, 48, 12)
    """

    _name = "beta"
    alpha: float

    def __post_init__(self) -> None:
        keep_float(self, "alpha")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(
                f"alpha must be a positive finite number, got {self.alpha}; "
                "for no mixing use Constant(1.0), for equal halves Constant(0.5)"
            )

    @property
    def folded_moments(self) -> FoldedMoments:
        """Mean and variance of 1 − θ from the central binomial ratio q."""
        return FoldedMoments(*folded_beta_moments(self.alpha))

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw λ as G₁/(G₁ + G₂) with Gamma(α) variables in log space, so that tiny α is exact."""
        if self.alpha == 1:
            return _uniform_draws(n, generator)
        return beta_variates(self.alpha, self.alpha, n, generator)

    def quadrature(self, order: int) -> Quadrature:
        """Gauss-Jacobi rule of the Beta(α, α) weight."""
        _check_order(order)
        nodes, weights = gauss_jacobi(self.alpha, self.alpha, order)
        return Quadrature(torch.from_numpy(nodes), torch.from_numpy(weights))


@dataclass(frozen=True)
class Uniform(MixingLaw):
    """λ uniform on [low, high].

    Args:
        low: lower end, at least 0.
        high: upper end, at most 1 and above `low`.

    Raises:
        TypeError: an end is not a number.
        ValueError: the ends are not 0 ≤ low < high ≤ 1.

    Example:
        >>> Uniform(0.0, 1.0).theta_mean
        0.75
    """

    _name = "uniform"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        keep_float(self, "low")
        keep_float(self, "high")
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"need 0 <= low < high <= 1, got low={self.low}, high={self.high}")

    @property
    def folded_moments(self) -> FoldedMoments:
        """Mean and variance of 1 − θ = min(λ, 1 − λ), uniform on either side of ½."""
        low, high = self.low, self.high
        pieces = [(low, min(high, 0.5)), (1 - high, min(1 - low, 0.5))]
        return _mixed_moments(
            ((b - a) / (high - low), FoldedMoments((a + b) / 2, (b - a) ** 2 / 12))
            for a, b in pieces
            if b > a
        )

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw λ uniformly."""
        unit = _uniform_draws(n, generator)
        return self.low + (self.high - self.low) * unit

    def quadrature(self, order: int) -> Quadrature:
        """Gauss-Legendre rule on [low, high]."""
        _check_order(order)
        nodes, weights = gauss_jacobi(1.0, 1.0, order)
        scaled = self.low + (self.high - self.low) * nodes
        return Quadrature(torch.from_numpy(scaled), torch.from_numpy(weights))


@dataclass(frozen=True)
class FoldedBeta(MixingLaw):
    """λ = 1 − v/2 with v ~ Beta(a, b): the law on [½, 1] with a given mean and variance of 1 − θ.

    With m = 2·mean, a + b = m (1 − m) / (4·variance) − 1 and a = m (a + b). As mean and variance
    are those of 1 − θ themselves, no digit of them is lost. Build it with `design_law`.

    Args:
        mean: E(1 − θ), above 0 and below ½.
        variance: Var θ, above 0 and below mean·(½ − mean).

    Raises:
        TypeError: a number is none.
        ValueError: no law on [½, 1] with a density has these numbers.

    Example:
        >>> law = FoldedBeta(0.25, 1 / 48)  # v is uniform: the law of mixup with α = 1, folded
        >>> law.theta_mean, round(law.gamma_squared, 6)
        (0.75, 0.083333)
    """

    _name = "folded-beta"
    mean: float
    variance: float

    def __post_init__(self) -> None:
        keep_float(self, "mean")
        keep_float(self, "variance")
        if not (0 < self.mean < 0.5 and 0 < self.variance < self.mean * (0.5 - self.mean)):
            raise ValueError(
                "need 0 < mean < 1/2 and 0 < variance < mean (1/2 - mean), got "
                f"mean={self.mean}, variance={self.variance}; design_law also makes the laws on "
                "the border"
            )

    @property
    def _shapes(self) -> tuple[float, float]:
        """The shapes a and b of v."""
        m = 2 * self.mean
        total = m * (1 - m) / (4 * self.variance) - 1
        return m * total, (1 - m) * total

    @property
    def folded_moments(self) -> FoldedMoments:
        """Mean and variance of 1 − θ, as they were given."""
        return FoldedMoments(self.mean, self.variance)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw λ = 1 − v/2 with v as a ratio of Gamma variables in log space."""
        return 1 - beta_variates(*self._shapes, n, generator) / 2

    def quadrature(self, order: int) -> Quadrature:
        """Gauss-Jacobi rule of the law of v."""
        _check_order(order)
        nodes, weights = gauss_jacobi(*self._shapes, order)
        return Quadrature(1 - torch.from_numpy(nodes) / 2, torch.from_numpy(weights))


@dataclass(frozen=True)
class Constant(MixingLaw):
    """The same λ in every draw.

    Args:
        weight: the value of λ, in [0, 1].

    Raises:
        TypeError: the weight is not a number.
        ValueError: the weight is not in [0, 1].

    Example:
        >>> Constant(0.3).theta_mean
        0.7
    """

    _name = "constant"
    weight: float

    def __post_init__(self) -> None:
        keep_float(self, "weight")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must lie in [0, 1], got {self.weight}")

    @property
    def folded_moments(self) -> FoldedMoments:
        """1 − θ = min(λ, 1 − λ), without variance."""
        return FoldedMoments(min(self.weight, 1 - self.weight), 0.0)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """λ, repeated."""
        return torch.full((n,), self.weight, dtype=torch.float64, device=_device(generator))

    def quadrature(self, order: int) -> Quadrature:
        """One node."""
        _check_order(order)
        one = torch.ones(1, dtype=torch.float64, device="cpu")
        return Quadrature(self.weight * one, one)


@dataclass(frozen=True)
class Mixture(MixingLaw):
    """A draw from one of several laws, with the given probabilities; build it with `mixture`."""

    probabilities: tuple[float, ...]
    laws: tuple[MixingLaw, ...]

    def __post_init__(self) -> None:
        p = tuple(python_float(value, "probability") for value in self.probabilities)
        object.__setattr__(self, "probabilities", p)
        for law in self.laws:
            if not isinstance(law, MixingLaw):
                raise TypeError(f"a mixture is made of mixing laws such as Beta(1.0), got {law!r}")
        if len(p) != len(self.laws) or not p:
            raise ValueError(f"need one probability for each law, got {len(p)} for {self.laws}")
        if not all(w >= 0 for w in p) or not math.isclose(math.fsum(p), 1, abs_tol=1e-9):
            raise ValueError(f"probabilities must be at least 0 and sum to 1, got {p}")

    @property
    def folded_moments(self) -> FoldedMoments:
        """Mean and variance of the mixture by the law of total variance."""
        parts = zip(self.probabilities, self.laws, strict=True)
        return _mixed_moments((p, law.folded_moments) for p, law in parts)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw the law, then λ from it."""
        unit = _uniform_draws(n, generator)
        draws = torch.stack([law.sample(n, generator=generator) for law in self.laws])
        chosen = torch.zeros(n, dtype=torch.long, device=unit.device)
        reached = 0.0
        for p in self.probabilities[:-1]:
            reached += p
            chosen += unit >= reached
        return draws.gather(0, chosen.unsqueeze(0)).squeeze(0)

    def quadrature(self, order: int) -> Quadrature:
        """The rules of the parts, weighted."""
        rules = [law.quadrature(order) for law in self.laws]
        weighted = [p * r.weights for p, r in zip(self.probabilities, rules, strict=True)]
        return Quadrature(torch.cat([r.nodes for r in rules]), torch.cat(weighted))

    def to_dict(self) -> dict[str, Any]:
        """The law as JSON-safe values."""
        parts = zip(self.probabilities, self.laws, strict=True)
        return {"law": "mixture", "parts": [[p, law.to_dict()] for p, law in parts]}


def mixture(parts: Sequence[tuple[float, MixingLaw]]) -> MixingLaw:
    """The law that draws from one of several laws: Σ p_k·law_k.

    The two numbers E(1 − θ) and E(1 − θ)² of the mixture are the averages of those of its parts.

    Args:
        parts: pairs (probability, law); the probabilities sum to one. Parts of probability zero
            are dropped.

    Returns:
        The mixture, or its only part.

    Raises:
        TypeError: a part is not a law, or a probability not a number.
        ValueError: the probabilities are negative or do not sum to one.

    Example:
        >>> mixture([(0.5, Constant(1.0)), (0.5, Constant(0.5))]).theta_mean
        0.75
    """
    whole = Mixture(tuple(p for p, _ in parts), tuple(law for _, law in parts))
    kept = [(p, law) for p, law in zip(whole.probabilities, whole.laws, strict=True) if p > 0]
    if len(kept) == 1:
        return kept[0][1]
    return Mixture(tuple(p for p, _ in kept), tuple(law for _, law in kept))


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


def law_from_dict(values: dict[str, Any]) -> MixingLaw:
    """Read back what `MixingLaw.to_dict` wrote.

    Args:
        values: the JSON-safe values.

    Returns:
        The law.

    Raises:
        TypeError: a parameter is not a number.
        ValueError: the values describe no law.

    Example:
        >>> law_from_dict(Beta(0.4).to_dict())
        Beta(alpha=0.4)
    """
    match values:
        case {"law": "beta", "alpha": alpha}:
            return Beta(alpha)
        case {"law": "uniform", "low": low, "high": high}:
            return Uniform(low, high)
        case {"law": "folded-beta", "mean": mean, "variance": variance}:
            return FoldedBeta(mean, variance)
        case {"law": "constant", "weight": weight}:
            return Constant(weight)
        case {"law": "mixture", "parts": parts}:
            return mixture([(p, law_from_dict(law)) for p, law in parts])
    raise ValueError(f"expected the values of a mixing law as written by to_dict(), got {values}")


def _mixed_moments(parts: Iterable[tuple[float, FoldedMoments]]) -> FoldedMoments:
    """The two numbers of a mixture, by the laws of total mean and variance."""
    parts = list(parts)
    mean = math.fsum(p * m.mean for p, m in parts)
    within = math.fsum(p * m.variance for p, m in parts)
    between = math.fsum(p * (m.mean - mean) ** 2 for p, m in parts)
    return FoldedMoments(mean, within + between)


def _uniform_draws(n: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(n, generator=generator, device=_device(generator), dtype=torch.float64)


def _device(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


def _check_order(order: int) -> None:
    if order < 1:
        raise ValueError(f"a quadrature needs at least one node, got order={order}")


def _nearest(a1: float, a2: float) -> tuple[float, float]:
    """The nearest pair to (a1, a2) in the convex set a1² ≤ a2 ≤ a1/2."""
    along = min(max((4 * a1 + 2 * a2) / 5, 0.0), 0.5)
    low, high = 0.0, 0.5
    for _ in range(100):  # 2t³ + (1 − 2 a2) t = a1 for the foot (t, t²) on the parabola
        t = (low + high) / 2
        low, high = (low, t) if 2 * t**3 + (1 - 2 * a2) * t > a1 else (t, high)
    candidates = [(along, along / 2), (low, low**2)]
    return min(candidates, key=lambda b: math.dist(b, (a1, a2)))
