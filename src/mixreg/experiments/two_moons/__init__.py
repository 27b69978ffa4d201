"""The two-moon experiments of the paper (appendix B.3, Figures 1, 8 and 9) as one batch."""

from mixreg.experiments.two_moons.claims import Claim, Finding
from mixreg.experiments.two_moons.experiment import run
from mixreg.experiments.two_moons.finished import find_finished
from mixreg.experiments.two_moons.page import two_moons_study
from mixreg.experiments.two_moons.picture import Picture
from mixreg.experiments.two_moons.result import Curve, Outcome, TwoMoonsResult
from mixreg.experiments.two_moons.settings import CPU, PAPER, SCALES, SMOKE, TwoMoonsSettings
from mixreg.experiments.two_moons.writing import findings, write

__all__ = [
    "CPU",
    "PAPER",
    "SCALES",
    "SMOKE",
    "Claim",
    "Curve",
    "Finding",
    "Outcome",
    "Picture",
    "TwoMoonsResult",
    "TwoMoonsSettings",
    "find_finished",
    "findings",
    "run",
    "two_moons_study",
    "write",
]
