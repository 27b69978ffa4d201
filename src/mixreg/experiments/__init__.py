"""Whole experiments: evaluate, diagnose, compare, and reproduce the paper."""

from mixreg.experiments.compare import CompareConfig, compare, plan_comparison
from mixreg.experiments.diagnosis import DiagnoseOptions, diagnose_checkpoint
from mixreg.experiments.evaluation import (
    EvaluateOptions,
    evaluate_checkpoint,
    evaluate_trained,
)
from mixreg.experiments.reproduce import ReproduceOptions, plan_reproduction, reproduce

__all__ = [
    "CompareConfig",
    "DiagnoseOptions",
    "EvaluateOptions",
    "ReproduceOptions",
    "compare",
    "diagnose_checkpoint",
    "evaluate_checkpoint",
    "evaluate_trained",
    "plan_comparison",
    "plan_reproduction",
    "reproduce",
]
