"""The risks: empirical (2), Mixup (4), perturbed (7), approximate (12) and modified (20)."""

from mixreg.risk.approximate import ApproximateMixupRisk, approximate_mixup_risk
from mixreg.risk.empirical import empirical_risk
from mixreg.risk.linear import linear_mixup_risk
from mixreg.risk.mixup import RiskEstimate, mixup_risk, mixup_risk_estimate
from mixreg.risk.modified import modified_risk
from mixreg.risk.perturbed import TheoremOne, perturbed_risk, theorem_one
from mixreg.risk.regression_jacobian import regression_jacobian
from mixreg.risk.terms import SampleTerms

__all__ = [
    "ApproximateMixupRisk",
    "RiskEstimate",
    "SampleTerms",
    "TheoremOne",
    "approximate_mixup_risk",
    "empirical_risk",
    "linear_mixup_risk",
    "mixup_risk",
    "mixup_risk_estimate",
    "modified_risk",
    "perturbed_risk",
    "regression_jacobian",
    "theorem_one",
]
