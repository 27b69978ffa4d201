"""Whole experiments: evaluate or diagnose a trained classifier, compare training methods."""

from mixreg.experiments.compare import CompareConfig, compare
from mixreg.experiments.diagnosis import DiagnoseOptions, diagnose_checkpoint
from mixreg.experiments.evaluation import (
    EvaluateOptions,
    evaluate_checkpoint,
    evaluate_trained,
)

__all__ = [
    "CompareConfig",
    "DiagnoseOptions",
    "EvaluateOptions",
    "compare",
    "diagnose_checkpoint",
    "evaluate_checkpoint",
    "evaluate_trained",
]
