"""Training by Lightning, in run directories that survive being killed."""

from mixreg.training.config import METHODS, Recipe, TrainConfig
from mixreg.training.run_directory import RunDirectory
from mixreg.training.train import train

__all__ = ["METHODS", "Recipe", "RunDirectory", "TrainConfig", "train"]
