"""What the backends say when they cannot be used, and what they ask a cluster for."""

import sys

import dask
import distributed
import pytest

from mixreg import MixregError
from mixreg.experiments.sweeping import BackendSettings, sweep
from mixreg.experiments.sweeping.local import LocalPools, ThisProcess, local_workers
from mixreg.experiments.sweeping.tasks import Task
from mixreg.training import TrainConfig


def _nothing(run, config):
    pass


def _run(output, **settings):
    small = {"data": "two-moons", "epochs": 1, "batch_size": 100, "progress": False}
    return TrainConfig(**small | settings, output=output / "run")


@pytest.mark.parametrize(
    ("backend", "package"), [("ray", "ray"), ("dask", "distributed"), ("slurm", "submitit")]
)
def test_a_missing_package_is_named_with_its_extra(backend, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"--backend {backend} needs the package {package}, .*mixreg\[{backend}\]'"
    with pytest.raises(MixregError, match=message):
        sweep([_run(tmp_path)], _nothing, names=["run"], backend=backend)


def test_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MixregError, match=r"there is no SLURM here: .*run this where sbatch is"):
        sweep([_run(tmp_path)], _nothing, names=["run"], backend="slurm")


def test_nobody_at_the_address(tmp_path):
    place = BackendSettings("dask", "tcp://127.0.0.1:1")
    # Imported first, for settings made before that would take its defaults along when they end.
    soon = {f"{distributed.__name__}.comm.timeouts.connect": "100ms"}
    with (
        dask.config.set(soon),
        pytest.raises(MixregError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:1'"),
    ):
        sweep([_run(tmp_path)], _nothing, names=["run"], backend=place)


@pytest.mark.parametrize(
    ("settings", "cores", "gpus"),
    [
        ({}, 1, 0),
        ({"accelerator": "gpu"}, 1, 1),
        ({"data": "imagenet", "workers": 7, "accelerator": "gpu"}, 8, 1),
    ],
)
def test_what_a_cluster_is_asked_for(settings, cores, gpus, tmp_path):
    task = Task("run", _run(tmp_path, **settings), _nothing)
    assert (task.cores, task.gpus) == (cores, gpus)


@pytest.mark.parametrize(
    ("jobs", "count", "kind", "capacity"),
    [(1, 5, ThisProcess, 1), (3, 1, ThisProcess, 1), (3, 5, LocalPools, 3), (8, 5, LocalPools, 5)],
)
def test_one_job_at_a_time_needs_no_processes(jobs, count, kind, capacity):
    with local_workers(jobs, count) as workers:
        assert isinstance(workers, kind)
        assert workers.capacity == capacity
