"""From a trained classifier to numbers: predictions, corrections, metrics, intervals."""

from mixreg.evaluation.classifier import CorrectedResult, Evaluation, evaluate
from mixreg.evaluation.corrections import (
    CORRECTIONS,
    COSTS,
    Choice,
    Correction,
    Cost,
    choose,
    correct,
)
from mixreg.evaluation.intervals import (
    MeanInterval,
    mean_interval,
    paired_bootstrap,
    paired_difference,
)
from mixreg.evaluation.metrics import (
    METRICS,
    Histogram,
    MetricName,
    Metrics,
    ReliabilityCurve,
    confidence_histogram,
    entropy_histogram,
    metrics,
    reliability_curve,
)
from mixreg.evaluation.predictions import Predictions, predict

__all__ = [
    "CORRECTIONS",
    "COSTS",
    "METRICS",
    "Choice",
    "CorrectedResult",
    "Correction",
    "Cost",
    "Evaluation",
    "Histogram",
    "MeanInterval",
    "MetricName",
    "Metrics",
    "Predictions",
    "ReliabilityCurve",
    "choose",
    "confidence_histogram",
    "correct",
    "entropy_histogram",
    "evaluate",
    "mean_interval",
    "metrics",
    "paired_bootstrap",
    "paired_difference",
    "predict",
    "reliability_curve",
]
