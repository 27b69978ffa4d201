"""What a trained network has of mixup's regularization: risks, Jacobians, entropies."""

from mixreg.diagnostics.diagnosis import Diagnosis, diagnose
from mixreg.diagnostics.entropies import EntropyReport, entropy_report, prediction_entropy
from mixreg.diagnostics.jacobians import JacobianNorms, jacobian_norms
from mixreg.diagnostics.roughness import Roughness, roughness

__all__ = [
    "Diagnosis",
    "EntropyReport",
    "JacobianNorms",
    "Roughness",
    "diagnose",
    "entropy_report",
    "jacobian_norms",
    "prediction_entropy",
    "roughness",
]
