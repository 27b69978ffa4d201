"""Accuracy and calibration of predicted class probabilities, each as a mean over examples."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_stat_scores,
)

from mixreg.calibration import check_logits

ECE_BINS = 15

MetricName = Literal["accuracy", "nll", "ece", "brier", "entropy", "confidence"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)


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
    """

    accuracy: float
    nll: float
    ece: float
    brier: float
    entropy: float
    confidence: float

    def to_dict(self) -> dict[str, float]:
        """The metrics by name.

        Returns:
            JSON-safe values, read back by `Metrics(**values)`.
        """
        return asdict(self)


def metrics(logits: Tensor, labels: Tensor) -> Metrics:
    """Metrics of softmax predictions, computed in float64.

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
    check_logits(logits, labels)
    y = labels.to(torch.int64)
    log_p = logits.detach().to(torch.float64).log_softmax(1)
    p = log_p.exp()
    one_hot = functional.one_hot(y, p.shape[1])
    confidence, hit = top_class(logits, labels)
    right, *_ = multiclass_stat_scores(logits.argmax(1), y, p.shape[1], average="micro")
    return Metrics(
        accuracy=int(right) / len(y),
        nll=float(functional.nll_loss(log_p, y)),
        ece=_expected_calibration_error(confidence, hit),
        brier=float((p - one_hot).square().sum(1).mean()),
        entropy=float(entropies(logits).mean()),
        confidence=float(confidence.mean()),
    )


def top_class(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the most probable class, and whether it is the label.

    Args:
        logits: shape (n, c).
        labels: class indices, shape (n,).

    Returns:
        Confidences in float64 and hits as booleans, each of shape (n,).
    """
    confidence = logits.detach().to(torch.float64).softmax(1).amax(1)
    return confidence, logits.argmax(1) == labels


def entropies(logits: Tensor) -> Tensor:
    """Entropy −Σ_k p_k log p_k of each prediction.

    Args:
        logits: shape (n, c).

    Returns:
        Nats, float64, shape (n,).
    """
    log_p = logits.detach().to(torch.float64).log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def below_one(confidence: Tensor) -> Tensor:
    """Confidences with 1.0 moved to the number below, so that the last bin of [0, 1] is closed.

    Args:
        confidence: values in [0, 1], float64.

    Returns:
        Values in [0, 1).
    """
    return confidence.clamp(max=1 - 2.0**-53)


def _expected_calibration_error(confidence: Tensor, hit: Tensor) -> float:
    """ECE as the calibration error of the binary statement "the most probable class is right"."""
    # torchmetrics' multiclass ECE is the same sum in float32, where 20,000 confidences of .9998,
    # all right, come to 5e-5 instead of 2e-4; both give confidence 1 a bin of its own.
    return float(binary_calibration_error(below_one(confidence), hit.long(), n_bins=ECE_BINS))
