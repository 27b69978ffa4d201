"""A worker is killed in the middle of a run: two processes, or a real cluster of two workers."""

import functools
import os
import signal
import threading
import time

import psutil
import pytest

from mixreg.experiments.sweeping import backends, sweep
from mixreg.experiments.sweeping.slurm import slurm_workers
from mixreg.training import RunDirectory, TrainConfig

EPOCHS = 60


def _runs(output):
    small = {"data": "digits", "batch_size": 256, "progress": False}
    epochs = (EPOCHS, 2, 2)
    return [
        TrainConfig(**small, epochs=count, seed=seed, output=output / f"seed{seed}")
        for seed, count in enumerate(epochs)
    ]


def _measure(run, config):
    (run.path / "measured.txt").write_text(str(os.getpid()))


def _holder(lock):
    """The process that has a file open."""
    for process in psutil.process_iter():
        try:
            if str(lock) in {file.path for file in process.open_files()}:
                return process.pid
        except psutil.Error:
            continue
    return None


class Killer(threading.Thread):
    """Kills the worker of a run as soon as the run has a checkpoint."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_directory = run
        self.killed = None

    def run(self):
        while not self.run_directory.checkpoint.is_file():
            time.sleep(0.005)
        self.killed = _holder(self.run_directory.path / "run.lock")
        os.kill(self.killed, signal.SIGKILL)


@pytest.fixture
def slurm_on_this_machine(monkeypatch):
    """Submitit's own stand-in for SLURM, which executes each job as a process."""
    here = functools.partial(slurm_workers, cluster="local")
    monkeypatch.setattr(backends, "slurm_workers", here)


@pytest.mark.parametrize("backend", ["local", "dask", "slurm"])
@pytest.mark.usefixtures("slurm_on_this_machine")
def test_the_sweep_completes_and_the_run_is_resumed(backend, tmp_path, capsys):
    runs = _runs(tmp_path)
    directories = [RunDirectory(run.directory) for run in runs]
    killer = Killer(directories[0])
    killer.start()
    sweep(runs, _measure, names=["long", "short", "other"], jobs=2, backend=backend)
    killer.join()

    told = capsys.readouterr().out
    assert told.count("long: its worker died and it is submitted again") == 1
    assert told.count("finished (") == 3
    assert all(run.finished for run in directories)
    assert len(directories[0].read_result().history) == EPOCHS
    measured_by = {int((run.path / "measured.txt").read_text()) for run in directories}
    assert measured_by.isdisjoint({killer.killed, os.getpid()})
    assert not list(tmp_path.glob("*.corrupt-*"))
