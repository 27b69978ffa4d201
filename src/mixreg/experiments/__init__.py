"""Whole experiments: evaluate a trained classifier, compare training methods."""

from mixreg.experiments.compare import CompareConfig, compare
from mixreg.experiments.evaluation import (
    EvaluateOptions,
    evaluate_checkpoint,
    evaluate_trained,
)

__all__ = [
    "CompareConfig",
    "EvaluateOptions",
    "compare",
    "evaluate_checkpoint",
    "evaluate_trained",
]
