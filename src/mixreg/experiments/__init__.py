"""Whole experiments: evaluate, diagnose, compare, reproduce the paper, and report results."""

from mixreg.experiments._sweep import SweepSettings, sweep
from mixreg.experiments.compare import CompareConfig, compare, plan_comparison
from mixreg.experiments.diagnose import DiagnoseOptions, diagnose_checkpoint
from mixreg.experiments.evaluate import (
    EvaluateOptions,
    evaluate_checkpoint,
    evaluate_trained,
)
from mixreg.experiments.report import ReportOptions, report
from mixreg.experiments.reproduce import (
    REPRODUCIBLE,
    ReproduceOptions,
    plan_reproduction,
    reproduce,
)

__all__ = [
    "REPRODUCIBLE",
    "CompareConfig",
    "DiagnoseOptions",
    "EvaluateOptions",
    "ReportOptions",
    "ReproduceOptions",
    "SweepSettings",
    "compare",
    "diagnose_checkpoint",
    "evaluate_checkpoint",
    "evaluate_trained",
    "plan_comparison",
    "plan_reproduction",
    "report",
    "reproduce",
    "sweep",
]
