"""Models by name, for the data sets of `mixreg.data`."""

from mixreg.models.build import MODELS, build
from mixreg.models.external import build_external
from mixreg.models.lenet import LeNet
from mixreg.models.mlp import MLP
from mixreg.models.random_features import RandomFourierFeatures
from mixreg.models.resnet import resnet20, resnet34, resnet50

__all__ = [
    "MLP",
    "MODELS",
    "LeNet",
    "RandomFourierFeatures",
    "build",
    "build_external",
    "resnet20",
    "resnet34",
    "resnet50",
]
