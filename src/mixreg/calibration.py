"""Temperature scaling, the rival of the rescaled prediction that needs a held-out split.

With balanced classes equation 22 is, up to the shrinking of the inputs, temperature scaling with
T = θ̄ known in advance (section 3); here T is fitted to held-out logits instead.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mixreg._checks import PROBABILITIES, are_probabilities, check_floating, check_tensor

_LARGEST = 1e3
_SMALLEST = 1e-6
_STEPS = 200
_NUMBERS = 2**20
"""Numbers that are treated at once in float64."""

Parts = Callable[[], Iterable[tuple[Tensor, Tensor]]]

Limit = Literal["sharp", "flat", "constant"]


class TemperatureFit(NamedTuple):
    """A fitted temperature and the mean NLL of the held-out examples at it.

    `limit` says which bound the fit ran into, None when the minimum of the NLL was found:
    "sharp", "flat" or "constant", as `search_temperature` explains.
    """

    temperature: float
    nll: float
    limit: Limit | None


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T that minimises the negative log-likelihood of held-out examples.

    T = argmin mean_i −log softmax(z_i / T)[y_i], as `search_temperature`, with a warning where the
    held-out examples do not determine it.

    Args:
        logits: z, floating point, shape (n, c) with c ≥ 2.
        labels: class indices, shape (n,).

    Returns:
        T > 0.

    Raises:
        TypeError: logits that are not floating point, or labels that are not integers.
        ValueError: no example, shapes that do not fit, logits that are not finite, or a label
            that is no class.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.

    Example:
        >>> z = torch.tensor([[2.0, 0.0]] * 3 + [[0.0, 2.0]])     # says 88%, is right in 75%
        >>> round(fit_temperature(z, torch.tensor([0, 0, 0, 0])), 4)
        1.8205
    """
    fit = search_temperature(logits, labels)
    if are_probabilities(logits):
        warnings.warn(PROBABILITIES, stacklevel=2)
    if fit.limit is not None:
        warnings.warn(
            f"{describe_limit(fit.limit)}; T = {fit.temperature:.4g} is a bound, not a minimum",
            stacklevel=2,
        )
    return fit.temperature


def search_temperature(logits: Tensor, labels: Tensor) -> TemperatureFit:
    """`fit_temperature` with what it found on the way."""
    check_logits(logits, labels)
    return search_in_parts(lambda: ((logits[rows], labels[rows]) for rows in row_blocks(logits)))


def search_in_parts(parts: Parts) -> TemperatureFit:
    """`search_temperature` of logits and labels that come in parts, as often as they are asked."""

    def centred() -> Iterator[tuple[Tensor, Tensor]]:
        for logits, labels in parts():
            z = logits.detach().to("cpu", torch.float64)
            yield z - z.mean(1, keepdim=True), labels.to("cpu", torch.int64).unsqueeze(1)

    sizes = [(len(z), z.shape[1], float(z.square().sum())) for z, _ in centred()]
    n, classes = sum(size for size, *_ in sizes), sizes[0][1]
    deviation = math.sqrt(math.fsum(square for *_, square in sizes) / (n * classes))
    if deviation == 0:
        return TemperatureFit(1.0, math.log(classes), "constant")

    def scaled() -> Iterator[tuple[Tensor, Tensor]]:
        return ((z / deviation, y) for z, y in centred())

    beta, limit = _root(scaled)
    vouched = 1 / (n + 2)
    if _nll(scaled, beta) < vouched:
        beta, limit = _where_nll_is(vouched, scaled, beta), "sharp"
    return TemperatureFit(deviation / beta, _nll(scaled, beta), limit)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits divided by a temperature.

    Args:
        logits: z, floating point, any shape.
        temperature: T > 0; above 1 predictions become less sure.

    Returns:
        z / T, of the same shape and dtype.

    Raises:
        TypeError: logits that are not floating point.
        ValueError: a temperature that is not positive and finite.

    Example:
        >>> apply_temperature(torch.tensor([3.0, 0.0]), 2.0)
        tensor([1.5000, 0.0000])
    """
    check_floating(logits, "logits", "logits")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be a positive finite number, got {temperature}")
    return logits / temperature


def describe_limit(limit: Limit) -> str:
    """In words, why held-out examples do not determine a temperature."""
    return {
        "sharp": "the held-out examples are classified (almost) without error, so that they set "
        "no lower bound on the temperature",
        "flat": "the held-out logits say no more about the labels than chance",
        "constant": "the held-out logits are constant in every row",
    }[limit]


def row_blocks(logits: Tensor) -> Iterator[slice]:
    """Consecutive rows, so many at a time that float64 copies of them take little memory."""
    rows = max(1, _NUMBERS // logits.shape[1])
    return (slice(start, start + rows) for start in range(0, len(logits), rows))


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Refuse what is not logits of a classifier with the labels of the same examples."""
    check_floating(logits, "logits", "logits")
    check_tensor(labels, "labels", "labels")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must have shape (n, c) with c >= 2, got {tuple(logits.shape)}; "
            "a single logit u is the two-class logits torch.stack([0 * u, u], dim=1), and classes "
            "at several positions are so many rows"
        )
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(
            f"labels must be integer class indices, got {labels.dtype}; the values of a regression "
            "have no such metrics"
        )
    if labels.ndim == 2 and labels.shape[0] == len(logits):
        raise ValueError(
            f"labels must have shape ({len(logits)},), got {tuple(labels.shape)}; of several "
            "labels take one at a time, its column k with the logits "
            "torch.stack([0 * u_k, u_k], dim=1)"
        )
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels must have shape ({len(logits)},), one for each row of the logits, "
            f"got {tuple(labels.shape)}"
        )
    if len(logits) == 0:
        raise ValueError("need at least one example, got none")
    if not all(math.isfinite(end) for end in logits.detach().aminmax()):
        row = int((~torch.isfinite(logits).all(dim=1)).nonzero()[0])
        raise ValueError(f"logits must be finite, but row {row} holds NaN or an infinity")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"labels must lie in 0..{logits.shape[1] - 1} for logits with {logits.shape[1]} "
            f"columns, got values from {low} to {high}"
        )


def _root(parts: Parts) -> tuple[float, Limit | None]:
    """β with zero slope, by Newton on log β, bisecting whenever a step leaves the bracket."""
    low, high = -math.log(_LARGEST), -math.log(_SMALLEST)
    if _slope(parts, math.exp(low))[0] >= 0:
        return math.exp(low), "flat"
    if _slope(parts, math.exp(high))[0] <= 0:
        return math.exp(high), "sharp"
    log_beta = 0.0
    for _ in range(_STEPS):
        slope, curvature = _slope(parts, math.exp(log_beta))
        low, high = (log_beta, high) if slope < 0 else (low, log_beta)
        step = slope / (curvature * math.exp(log_beta)) if curvature > 0 else math.inf
        proposal = log_beta - step
        if not low < proposal < high:
            proposal = (low + high) / 2
        if abs(proposal - log_beta) < 1e-12 or high - low < 1e-12:
            break
        log_beta = proposal
    return math.exp(log_beta), None


def _where_nll_is(target: float, parts: Parts, beta: float) -> float:
    """β' < β at which the NLL, there a decreasing function, has grown to the target."""
    low, high = -math.log(_LARGEST), math.log(beta)
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _nll(parts, math.exp(middle)) > target else (low, middle)
    return math.exp(high)


def _nll(parts: Parts, beta: float) -> float:
    sums = [(len(z), -float((beta * z).log_softmax(1).gather(1, y).sum())) for z, y in parts()]
    n, nll = map(math.fsum, zip(*sums, strict=True))
    return nll / n


def _slope(parts: Parts, beta: float) -> tuple[float, float]:
    """First and second derivative of the mean NLL in β."""
    sums = []
    for z, y in parts():
        p = (beta * z).softmax(1)
        mean = (p * z).sum(1, keepdim=True)
        variance = (p * (z - mean).square()).sum(1)
        sums.append((len(z), float((mean - z.gather(1, y)).sum()), float(variance.sum())))
    n, slope, curvature = map(math.fsum, zip(*sums, strict=True))
    return slope / n, curvature / n
