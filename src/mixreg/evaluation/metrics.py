"""Accuracy and calibration of predicted class probabilities, from one pass in constant memory."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from mixreg.calibration import check_logits, row_blocks

MetricName = Literal["accuracy", "nll", "ece", "brier", "entropy", "confidence"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)

ECE_BINS = 15
_HISTOGRAM_BINS = 20
_ROUNDING = 2.0**-50
"""What the softmax may lose: a value so little below an edge lies on it."""


@dataclass(frozen=True)
class Metrics:
    """Means over the examples of a data set.

    Args:
        accuracy: share of examples whose most probable class is the label.
        nll: negative log-likelihood −log p_y, in nats.
        ece: expected calibration error of the most probable class, 15 equal bins, absolute.
        brier: squared distance Σ_k (p_k − [k = y])² to the one-hot label, in [0, 2].
        entropy: entropy −Σ_k p_k log p_k of the predictions, in nats.
        confidence: probability of the most probable class.

    Raises:
        ValueError: a number outside its range.
    """

    accuracy: float
    nll: float
    ece: float
    brier: float
    entropy: float
    confidence: float

    def __post_init__(self) -> None:
        largest = {"nll": math.inf, "brier": 2.0, "entropy": math.inf}
        for name in METRICS:
            value, most = getattr(self, name), largest.get(name, 1.0)
            if not -1e-9 <= value <= most + 1e-9:
                raise ValueError(f"{name} must lie in [0, {most:g}], got {value}")


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins, closed below, the last one on both sides.

    Args:
        edges: ends of the b bins, b + 1 values, each the number nearest to k·top/b.
        counts: examples in each bin.

    Raises:
        ValueError: edges that do not increase, no example, or lengths that do not fit.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_bins(self.edges, self.counts)


@dataclass(frozen=True)
class ReliabilityCurve:
    """How often predictions of each confidence are right, in equal bins of [0, 1].

    Bin k holds the confidences from k/b on and below (k + 1)/b; the last one holds 1 too. What the
    rounding of a softmax put less than 2⁻⁵⁰ of an edge below it counts as lying on it. Empty bins
    have mean None.

    Args:
        edges: ends of the b bins, b + 1 values from 0 to 1.
        counts: examples in each bin.
        confidence: their mean confidence.
        accuracy: share of them that are right.

    Raises:
        ValueError: edges that do not increase, no example, or lengths that do not fit.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    def __post_init__(self) -> None:
        _check_bins(self.edges, self.counts)
        for means in (self.confidence, self.accuracy):
            if [mean is None for mean in means] != [count == 0 for count in self.counts]:
                raise ValueError("every bin with examples needs its means, and no other one")

    @property
    def expected_error(self) -> float:
        """Expected calibration error Σ_b (n_b / n) |accuracy_b − confidence_b|."""
        bins = zip(self.counts, self.confidence, self.accuracy, strict=True)
        gaps = [n * abs(a - c) for n, c, a in bins if a is not None and c is not None]
        return math.fsum(gaps) / sum(self.counts)


class Scores(NamedTuple):
    """What each of n examples adds to the metrics, float64, and its bin of the ECE."""

    hit: Tensor
    nll: Tensor
    brier: Tensor
    entropy: Tensor
    confidence: Tensor
    bin: Tensor


class Measurement(NamedTuple):
    """Metrics, and the distributions behind their means."""

    metrics: Metrics
    reliability: ReliabilityCurve
    confidence: Histogram
    entropy: Histogram


def metrics(logits: Tensor, labels: Tensor) -> Metrics:
    """Metrics of softmax predictions, computed in float64 and in constant memory.

    Args:
        logits: shape (n, c) with c ≥ 2.
        labels: class indices, shape (n,).

    Returns:
        The metrics.

    Raises:
        TypeError: logits that are not floating point, or labels that are not integers.
        ValueError: no example, shapes that do not fit, logits that are not finite, or a label
            that is no class.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3 (ECE);
    Brier, "Verification of forecasts expressed in terms of probability", 1950.

    Example:
        >>> m = metrics(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
        >>> m.accuracy, m.ece, m.brier
        (0.75, 0.25, 0.5)
    """
    return _measured(logits, labels).metrics


def reliability_curve(logits: Tensor, labels: Tensor) -> ReliabilityCurve:
    """Reliability of the most probable class in the bins of the ECE.

    Args:
        logits: shape (n, c).
        labels: class indices, shape (n,).

    Returns:
        The curve, whose `expected_error` is the ECE of `metrics`.

    Raises:
        TypeError, ValueError: as `metrics`.

    Example:
        >>> reliability_curve(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])).accuracy[7]
        0.75
    """
    return _measured(logits, labels).reliability


def confidence_histogram(logits: Tensor) -> Histogram:
    """Histogram of the probability of the most probable class, 20 bins over [0, 1] (Figure 7).

    Args:
        logits: shape (n, c).

    Returns:
        The histogram.
    """
    return _measured(logits, logits.new_zeros(len(logits), dtype=torch.int64)).confidence


def entropy_histogram(logits: Tensor) -> Histogram:
    """Histogram of the entropy of the predictions, 20 bins over [0, log c] nats.

    Args:
        logits: shape (n, c).

    Returns:
        The histogram.
    """
    return _measured(logits, logits.new_zeros(len(logits), dtype=torch.int64)).entropy


def scores(logits: Tensor, labels: Tensor) -> Scores:
    """What every example adds to the metrics."""
    z, y = logits.detach().to(torch.float64), labels.to(torch.int64)
    log_p = z.log_softmax(1)
    p = log_p.exp()
    confidence = z.softmax(1).amax(1)
    scored = Scores(
        (logits.argmax(1) == y).to(torch.float64),
        functional.nll_loss(log_p, y, reduction="none"),
        (p - functional.one_hot(y, z.shape[1])).square().sum(1),
        -(p * log_p).sum(1),
        confidence,
        _bins(confidence, _edges(ECE_BINS, 1.0)),
    )
    return Scores(*(values.cpu() for values in scored))


class Tally:
    """All metrics and distributions of scores that come in parts."""

    def __init__(self, num_classes: int) -> None:
        self._sums: list[tuple[float, ...]] = []
        self._reliability = torch.zeros(3, ECE_BINS, dtype=torch.float64)
        tops = {"confidence": 1.0, "entropy": math.log(num_classes)}
        self._edges = {name: _edges(_HISTOGRAM_BINS, top) for name, top in tops.items()}
        self._counts = {name: torch.zeros(_HISTOGRAM_BINS, dtype=torch.int64) for name in tops}

    def add(self, of: Scores) -> None:
        """Take the next examples."""
        self._sums.append((len(of.hit), *(float(values.sum()) for values in of[:5])))
        for row, weights in enumerate((torch.ones_like(of.hit), of.confidence, of.hit)):
            self._reliability[row] += torch.bincount(of.bin, weights, minlength=ECE_BINS)
        for name, edges in self._edges.items():
            index = _bins(getattr(of, name), edges)
            self._counts[name] += torch.bincount(index, minlength=_HISTOGRAM_BINS)

    def result(self) -> Measurement:
        """The metrics of all examples."""
        sums = map(math.fsum, zip(*self._sums, strict=True))
        n, hits, nll, brier, entropy, confidence = sums
        curve = _curve(_edges(ECE_BINS, 1.0), self._reliability)
        histograms = {
            name: Histogram(edges, tuple(self._counts[name].tolist()))
            for name, edges in self._edges.items()
        }
        means = (hits / n, nll / n, curve.expected_error, brier / n, entropy / n, confidence / n)
        return Measurement(Metrics(*means), curve, **histograms)


def measure(parts: Iterable[tuple[Tensor, Tensor]], num_classes: int) -> Measurement:
    """All metrics and distributions of logits and labels that come in parts."""
    tally = Tally(num_classes)
    for logits, labels in parts:
        tally.add(scores(logits, labels))
    return tally.result()


def _measured(logits: Tensor, labels: Tensor) -> Measurement:
    check_logits(logits, labels)
    parts = ((logits[rows], labels[rows]) for rows in row_blocks(logits))
    return measure(parts, logits.shape[1])


def _curve(edges: tuple[float, ...], sums: Tensor) -> ReliabilityCurve:
    counts, confidences, hits = (row.tolist() for row in sums)
    return ReliabilityCurve(
        edges,
        tuple(map(int, counts)),
        tuple(s / n if n else None for s, n in zip(confidences, counts, strict=True)),
        tuple(s / n if n else None for s, n in zip(hits, counts, strict=True)),
    )


def _edges(bins: int, top: float) -> tuple[float, ...]:
    """k·top/b, each rounded once where top is 1."""
    return tuple(k * top / bins for k in range(bins + 1))


def _bins(values: Tensor, edges: Sequence[float]) -> Tensor:
    """The bin of each value; what rounding put outside falls into the outermost ones."""
    inner = torch.tensor(edges[1:-1], dtype=torch.float64, device=values.device)
    return torch.bucketize(values, inner * (1 - _ROUNDING), right=True)


def _check_bins(edges: Sequence[float], counts: Sequence[int]) -> None:
    """Refuse what is no histogram of at least one example."""
    if len(edges) != len(counts) + 1 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f"{len(counts)} bins need {len(counts) + 1} edges that increase")
    if min(counts) < 0 or sum(counts) == 0:
        raise ValueError("counts must be at least 0, and not all of them 0")
