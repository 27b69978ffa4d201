"""Many training runs side by side, each followed by what is to be measured of it."""

from mixreg.experiments.sweeping.backends import BackendName, BackendSettings
from mixreg.experiments.sweeping.engine import SweepResult, sweep
from mixreg.experiments.sweeping.planning import plan
from mixreg.experiments.sweeping.settings import SweepSettings
from mixreg.experiments.sweeping.tasks import Finish

__all__ = [
    "BackendName",
    "BackendSettings",
    "Finish",
    "SweepResult",
    "SweepSettings",
    "plan",
    "sweep",
]
