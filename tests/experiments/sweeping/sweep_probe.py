"""A sweep in a process of its own, for tests that kill it or start two at a time."""

import sys
from pathlib import Path

from mixreg.experiments.sweeping import sweep
from mixreg.training import TrainConfig


def probe_runs(output: Path) -> list[TrainConfig]:
    small = {"data": "digits", "batch_size": 256, "progress": False}
    epochs = {"brief": 2, "long": 40, "last": 2}
    return [
        TrainConfig(**small, epochs=count, output=output / name) for name, count in epochs.items()
    ]


def _nothing(run, config):
    pass


if __name__ == "__main__":
    runs = probe_runs(Path(sys.argv[1]))
    names = [run.directory.name for run in runs]
    sweep(runs, _nothing, names=names, jobs=int(sys.argv[2]))
