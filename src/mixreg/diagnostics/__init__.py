"""What a trained network has of mixup's regularization: risks, Jacobians, entropies."""

from mixreg.diagnostics.diagnosis import Diagnosis, diagnose
from mixreg.diagnostics.entropies import EntropyReport, entropy_report, prediction_entropy
from mixreg.diagnostics.jacobians import JacobianNorms, jacobian_norms

__all__ = [
    "Diagnosis",
    "EntropyReport",
    "JacobianNorms",
    "diagnose",
    "entropy_report",
    "jacobian_norms",
    "prediction_entropy",
]
