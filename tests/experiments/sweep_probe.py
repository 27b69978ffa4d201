"""A sweep in a process of its own, for tests that stop it or start two at a time."""

import sys
from pathlib import Path

from mixreg.experiments._sweep import sweep
from mixreg.settings import SweepSettings
from mixreg.training import TrainConfig

EPOCHS = {"brief": 2, "long": 100, "last": 2}


def probe_runs(output: Path) -> list[TrainConfig]:
    small = {"data": "digits", "batch_size": 256, "progress": False, "accelerator": "cpu"}
    return [TrainConfig(**small, epochs=n, output=output / name) for name, n in EPOCHS.items()]


def nothing(run, config):
    pass


if __name__ == "__main__":
    settings = SweepSettings(jobs=int(sys.argv[2]))
    sweep(probe_runs(Path(sys.argv[1])), nothing, settings=settings)
