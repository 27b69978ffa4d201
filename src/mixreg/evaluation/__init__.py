"""From a trained classifier to numbers: predictions, corrections, metrics, intervals."""

from mixreg.evaluation.corrections import CORRECTIONS, Correction, correct
from mixreg.evaluation.evaluate import CorrectedResult, Evaluation, evaluate
from mixreg.evaluation.metrics import METRICS, MetricName, Metrics, metrics
from mixreg.evaluation.predictions import Predictions, predict
from mixreg.evaluation.reliability import (
    Histogram,
    ReliabilityCurve,
    confidence_histogram,
    entropy_histogram,
    reliability_curve,
)
from mixreg.evaluation.statistics import MeanInterval, mean_interval, paired_difference

__all__ = [
    "CORRECTIONS",
    "METRICS",
    "CorrectedResult",
    "Correction",
    "Evaluation",
    "Histogram",
    "MeanInterval",
    "MetricName",
    "Metrics",
    "Predictions",
    "ReliabilityCurve",
    "confidence_histogram",
    "correct",
    "entropy_histogram",
    "evaluate",
    "mean_interval",
    "metrics",
    "paired_difference",
    "predict",
    "reliability_curve",
]
