"""Reliability curves and histograms: distributions behind the means of `metrics`."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from mixreg.evaluation.metrics import ECE_BINS, below_one, entropies, top_class

_HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class ReliabilityCurve:
    """How often predictions of each confidence are right, in equal bins of [0, 1].

    Bins are closed below, the last one on both sides. Empty bins have mean None.

    Args:
        edges: ends of the b bins, b + 1 values from 0 to 1.
        counts: examples in each bin.
        confidence: their mean confidence.
        accuracy: share of them that are right.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    @property
    def expected_error(self) -> float:
        """Expected calibration error Σ_b (n_b / n) |accuracy_b − confidence_b|."""
        bins = zip(self.counts, self.confidence, self.accuracy, strict=True)
        gaps = [n * abs(a - c) for n, c, a in bins if a is not None and c is not None]
        return math.fsum(gaps) / sum(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """The curve as JSON-safe values.

        Returns:
            Lists by name.
        """
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: lists by name.

        Returns:
            The curve.
        """
        return cls(**{name: tuple(listed) for name, listed in values.items()})


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins, closed below, the last one on both sides.

    Args:
        edges: ends of the b bins, b + 1 values.
        counts: examples in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """The histogram as JSON-safe values.

        Returns:
            Lists by name.
        """
        return {"edges": list(self.edges), "counts": list(self.counts)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: lists by name.

        Returns:
            The histogram.
        """
        return cls(tuple(values["edges"]), tuple(values["counts"]))


def reliability_curve(logits: Tensor, labels: Tensor) -> ReliabilityCurve:
    """Reliability of the most probable class in the bins of the ECE.

    Args:
        logits: shape (n, c).
        labels: class indices, shape (n,).

    Returns:
        The curve, with `expected_error` equal to the ECE of `metrics`.

    Example:
        >>> reliability_curve(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])).accuracy[7]
        0.75
    """
    confidence, hit = top_class(logits, labels)
    edges = torch.linspace(0, 1, ECE_BINS + 1, dtype=torch.float64, device=confidence.device)
    index = torch.bucketize(below_one(confidence), edges, right=True) - 1
    counts = torch.bincount(index, minlength=ECE_BINS).tolist()
    confidences = torch.bincount(index, weights=confidence, minlength=ECE_BINS).tolist()
    hits = torch.bincount(index, weights=hit.to(torch.float64), minlength=ECE_BINS).tolist()
    return ReliabilityCurve(
        edges=tuple(edges.tolist()),
        counts=tuple(counts),
        confidence=tuple(s / n if n else None for s, n in zip(confidences, counts, strict=True)),
        accuracy=tuple(s / n if n else None for s, n in zip(hits, counts, strict=True)),
    )


def confidence_histogram(logits: Tensor) -> Histogram:
    """Histogram of the probability of the most probable class, 20 bins over [0, 1] (Figure 7).

    Args:
        logits: shape (n, c).

    Returns:
        The histogram.
    """
    return _histogram(logits.detach().to(torch.float64).softmax(1).amax(1), 1.0)


def entropy_histogram(logits: Tensor) -> Histogram:
    """Histogram of the entropy of the predictions, 20 bins over [0, log c] nats.

    Args:
        logits: shape (n, c).

    Returns:
        The histogram.
    """
    return _histogram(entropies(logits), math.log(logits.shape[1]))


def _histogram(values: Tensor, top: float) -> Histogram:
    """Counts over [0, top]; values that rounding put outside fall into the outermost bins."""
    counts = torch.histc(values.clamp(0, top), _HISTOGRAM_BINS, 0, top)
    edges = torch.linspace(0, top, _HISTOGRAM_BINS + 1, dtype=torch.float64)
    return Histogram(tuple(edges.tolist()), tuple(int(n) for n in counts.tolist()))
