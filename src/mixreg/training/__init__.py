"""Training by Lightning, in run directories that survive being killed."""

from mixreg.settings import Recipe, TrainConfig, check_method
from mixreg.training.files import read_settings, recipe
from mixreg.training.load import (
    TrainedClassifier,
    build_model,
    load_bare,
    load_data,
    load_run,
)
from mixreg.training.methods import METHODS, Method
from mixreg.training.run import BusyError, Result, RunDirectory, environment, read_checkpoint
from mixreg.training.train import is_first_process, quiet, train
from mixreg.training.weights import load_weights

__all__ = [
    "METHODS",
    "BusyError",
    "Method",
    "Recipe",
    "Result",
    "RunDirectory",
    "TrainConfig",
    "TrainedClassifier",
    "build_model",
    "check_method",
    "environment",
    "is_first_process",
    "load_bare",
    "load_data",
    "load_run",
    "load_weights",
    "quiet",
    "read_checkpoint",
    "read_settings",
    "recipe",
    "train",
]
