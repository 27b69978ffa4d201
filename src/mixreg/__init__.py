"""Mixup training, its rescaled prediction, and the regularization it induces.

The library implements Carratino, Cissé, Jenatton and Vert, "On Mixup Regularization".
"""

# Laws of the mixing weight (Theorem 1)
# Errors
from mixreg.errors import CheckpointError, ConfigurationError, DataError, MixregError

# Training means (equation 5) and mixing (equation 4)
from mixreg.labels import dense_targets
from mixreg.laws import Beta, Constant, MixingLaw, Uniform, law_from_dict, mixture

# Losses (equations 3 and 15)
from mixreg.losses import cross_entropy, logistic, squared_error
from mixreg.mixing import MixedBatch, Mixup, mix, mixed_accuracy

# Prediction (equation 22)
from mixreg.prediction import RescaledModel, shrink, unshrink
from mixreg.statistics import TrainingStatistics

__all__ = [
    "Beta",
    "CheckpointError",
    "ConfigurationError",
    "Constant",
    "DataError",
    "MixedBatch",
    "MixingLaw",
    "MixregError",
    "Mixup",
    "RescaledModel",
    "TrainingStatistics",
    "Uniform",
    "cross_entropy",
    "dense_targets",
    "law_from_dict",
    "logistic",
    "mix",
    "mixed_accuracy",
    "mixture",
    "shrink",
    "squared_error",
    "unshrink",
]
