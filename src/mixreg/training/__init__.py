"""Training by Lightning, in run directories that survive being killed."""

from mixreg.training.config import METHODS, Recipe, TrainConfig
from mixreg.training.run_directory import RunDirectory
from mixreg.training.train import is_first_process, train

__all__ = ["METHODS", "Recipe", "RunDirectory", "TrainConfig", "is_first_process", "train"]
