"""The risks: empirical (2), Mixup (4), perturbed (7), approximate (12) and modified (20)."""

from mixreg.risk.approximate import (
    ApproximateMixupRisk,
    SampleTerms,
    approximate_mixup_risk,
    approximate_perturbed_risk,
    regression_jacobian,
)
from mixreg.risk.approximate_loss import ApproximateMixupLoss, ApproximateTerms
from mixreg.risk.exact import (
    RiskEstimate,
    TheoremOne,
    empirical_risk,
    linear_mixup_risk,
    mixup_risk,
    mixup_risk_estimate,
    modified_risk,
    perturbed_risk,
    theorem_one,
)

__all__ = [
    "ApproximateMixupLoss",
    "ApproximateMixupRisk",
    "ApproximateTerms",
    "RiskEstimate",
    "SampleTerms",
    "TheoremOne",
    "approximate_mixup_risk",
    "approximate_perturbed_risk",
    "empirical_risk",
    "linear_mixup_risk",
    "mixup_risk",
    "mixup_risk_estimate",
    "modified_risk",
    "perturbed_risk",
    "regression_jacobian",
    "theorem_one",
]
