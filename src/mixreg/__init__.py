"""Mixup training, its rescaled prediction, and the regularization it induces.

The library implements Carratino, Cissé, Jenatton and Vert, "On Mixup Regularization".
"""

from mixreg._checks import dense_targets
from mixreg._errors import CheckpointError, ConfigurationError, DataError, MixregError
from mixreg.approximate_loss import ApproximateMixupLoss, ApproximateTerms
from mixreg.calibration import apply_temperature, fit_temperature
from mixreg.covariance import perturbation_covariances
from mixreg.curvature import directional_curvature
from mixreg.entropy import entropy_inequality, proposition_one
from mixreg.laws import Beta, Constant, MixingLaw, Uniform, law_from_dict, mixture
from mixreg.losses import cross_entropy, logistic, squared_error
from mixreg.mixing import MixedBatch, Mixup, mix, mixed_accuracy
from mixreg.perturbation import (
    ModifiedData,
    Perturbation,
    PerturbedBatch,
    draw_perturbation,
    modified,
    perturb,
)
from mixreg.prediction import RescaledModel, shrink, unshrink
from mixreg.risk import (
    ApproximateMixupRisk,
    RiskEstimate,
    approximate_mixup_risk,
    empirical_risk,
    linear_mixup_risk,
    mixup_risk,
    mixup_risk_estimate,
    modified_risk,
    perturbed_risk,
    regression_jacobian,
    theorem_one,
)
from mixreg.statistics import TrainingStatistics

__all__ = [
    # Laws of the mixing weight (Theorem 1)
    "Beta",
    "Constant",
    "MixingLaw",
    "Uniform",
    "law_from_dict",
    "mixture",
    # Training means (5) and mixing (4)
    "MixedBatch",
    "Mixup",
    "TrainingStatistics",
    "dense_targets",
    "mix",
    "mixed_accuracy",
    # Losses: equations 3 and 15
    "cross_entropy",
    "logistic",
    "squared_error",
    # Prediction (22) and its rival
    "RescaledModel",
    "apply_temperature",
    "fit_temperature",
    "shrink",
    "unshrink",
    # Modified data and perturbations (5) to (9)
    "ModifiedData",
    "Perturbation",
    "PerturbedBatch",
    "draw_perturbation",
    "modified",
    "perturbation_covariances",
    "perturb",
    # Risks: equations 2, 4, 7, 10, 12, 19 and 20
    "ApproximateMixupRisk",
    "RiskEstimate",
    "approximate_mixup_risk",
    "empirical_risk",
    "linear_mixup_risk",
    "mixup_risk",
    "mixup_risk_estimate",
    "modified_risk",
    "perturbed_risk",
    "regression_jacobian",
    "theorem_one",
    # Training with the approximate risk (12)
    "ApproximateMixupLoss",
    "ApproximateTerms",
    "directional_curvature",
    # Entropy of predictions (Proposition 1)
    "entropy_inequality",
    "proposition_one",
    # Errors
    "CheckpointError",
    "ConfigurationError",
    "DataError",
    "MixregError",
]
