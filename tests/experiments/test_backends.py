"""Real workers on every backend: killed, told to end, left alone; and who else may command them."""

import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import dask
import distributed
import psutil
import pytest
import submitit
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from safetensors.torch import load_file
from tests.experiments.sweep_probe import EPOCHS, probe_runs
from tests.support import LIMIT

from mixreg import MixregError
from mixreg.experiments import _backends
from mixreg.experiments._backends import Task, open_backend
from mixreg.experiments._sweep import _resources, sweep
from mixreg.settings import SweepSettings
from mixreg.training import RunDirectory, TrainConfig, train

PROBE = Path(__file__).with_name("sweep_probe.py")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights of the long run, trained without a break."""
    long = probe_runs(tmp_path_factory.mktemp("undisturbed"))[1]
    return load_file(train(long).weights)


def _is_undisturbed(run, undisturbed):
    weights = load_file(run.weights)
    return all(torch.equal(weights[key], undisturbed[key]) for key in undisturbed)


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


def _listening():
    """Where the processes that were started from here listen, and this one."""
    here = psutil.Process()
    for process in [here, *here.children(recursive=True)]:
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                yield connection.laddr


def _refuses_strangers(cluster):
    """Whether the scheduler of a Dask cluster ends a connection without its certificate."""
    scheme, _, address = cluster.scheduler_address.partition("://")
    assert scheme == "tls"
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    host, port = address.split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        stranger.wrap_socket(plain) as connection,
    ):
        try:
            connection.recv(1)
        except ssl.SSLError as error:
            return "CERTIFICATE_REQUIRED" in str(error)
    return False


class Killer(threading.Thread):
    """Stops the worker of a run with one signal after another, as soon as it gets on."""

    def __init__(self, run, numbers):
        super().__init__(daemon=True)
        self.directory, self.numbers = run, numbers
        self.killed, self.addresses, self.refused = [], set(), []

    def run(self):
        before = 0
        for number in self.numbers:
            while _written(self.directory.checkpoint) in {0, before}:
                time.sleep(0.005)
            self.addresses |= {address.ip.removeprefix("::ffff:") for address in _listening()}
            clusters = distributed.LocalCluster._instances
            self.refused += [_refuses_strangers(c) for c in clusters if c.status.name == "running"]
            self.killed.append(_holder(self.directory.path / "run.lock"))
            os.kill(self.killed[-1], number)
            while _holder(self.directory.path / "run.lock") == self.killed[-1]:
                time.sleep(0.005)
            before = _written(self.directory.checkpoint)


def _written(file):
    return file.stat().st_mtime_ns if file.is_file() else 0


@pytest.mark.parametrize("backend", ["local", "dask", "ray", "slurm"])
def test_a_run_whose_worker_is_stopped_is_resumed(
    backend, tmp_path, capsys, monkeypatch, undisturbed
):
    monkeypatch.setattr(_backends, "SLURM", "local")
    monkeypatch.setattr(_backends, "cores", lambda: 1)  # the last bits depend on the threads
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 1)  # of its 15 s for slow disks
    runs = probe_runs(tmp_path)
    if backend == "slurm":  # where each run takes a process of its own
        del runs[2]
    jobs = 1 if backend == "ray" else 2
    directories = [RunDirectory(run.directory) for run in runs]
    numbers = [signal.SIGKILL, signal.SIGTERM] if backend == "local" else [signal.SIGKILL]
    killer = Killer(directories[1], numbers)
    killer.start()
    settings = SweepSettings(jobs=jobs, backend=backend)
    sweep(runs, _measure, settings=settings)
    killer.join()

    told = capsys.readouterr().out
    assert told.count("long: its worker died and it is submitted again") == len(numbers)
    assert told.count("finished (") == len(runs)
    assert _is_undisturbed(directories[1], undisturbed)
    measured_by = [int((run.path / "measured.txt").read_text()) for run in directories]
    assert os.getpid() not in measured_by
    assert measured_by[1] not in killer.killed
    assert killer.addresses <= {"127.0.0.1"}
    assert killer.refused == [True] * (backend == "dask")
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_an_idle_worker_that_died_is_replaced(tmp_path):
    tasks = [Task(f"task{k}", os.getpid) for k in range(2)]
    with open_backend(SweepSettings(jobs=2), tasks, tmp_path) as backend:
        first = backend.submit(tasks[0])
        idle = psutil.Process(first.result(LIMIT))
        idle.kill()
        idle.wait(LIMIT)
        with contextlib.suppress(TerminatedWorkerError):
            backend.submit(tasks[0]).result(LIMIT)
        assert backend.submit(tasks[1]).result(LIMIT) not in {idle.pid, os.getpid()}


def _stamps(runs):
    return {run.path.name: (run.path / "result.json").stat().st_mtime_ns for run in runs}


@pytest.fixture
def runs(tmp_path):
    return [RunDirectory(tmp_path / name) for name in EPOCHS]


@pytest.mark.parametrize(
    ("number", "status", "jobs"),
    [
        (signal.SIGKILL, -signal.SIGKILL, 2),
        (signal.SIGTERM, 143, 2),
        (signal.SIGINT, -signal.SIGINT, 1),
    ],
)
def test_a_stopped_sweep_takes_its_workers_along_and_goes_on(
    tmp_path, start, runs, undisturbed, number, status, jobs
):
    brief, long, last = runs
    first = start(PROBE, tmp_path, jobs)
    first.wait_for(lambda: brief.finished and long.checkpoint.is_file())
    workers = first.family()
    first.signal(number)
    assert first.status() == status, first.shown()
    assert not psutil.wait_procs(workers, timeout=60)[1]
    assert not long.finished
    before = _stamps([brief])

    sweep(probe_runs(tmp_path), _measure, settings=SweepSettings(jobs=1))
    assert _stamps([brief]) == before
    assert _is_undisturbed(long, undisturbed)
    assert last.finished
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_two_sweeps_at_once_share_the_runs_and_wait_for_each_other(tmp_path, start, runs):
    _, long, last = runs
    first = start(PROBE, tmp_path, 1)
    first.wait_for(long.checkpoint.is_file)
    first.signal(signal.SIGSTOP)
    second = start(PROBE, tmp_path, 1)
    second.wait_for(lambda: "long: another process is working on it" in second.shown())
    second.wait_for(lambda: "last: finished" in second.shown())
    before = _stamps([last])
    first.signal(signal.SIGCONT)

    assert [first.status(), second.status()] == [0, 0], first.shown() + second.shown()
    assert "long: finished" in second.shown()
    assert len(long.read_result().history) == EPOCHS["long"]
    assert _stamps([last]) == before
    assert not list(tmp_path.glob("*.corrupt-*"))


def _refused(tmp_path, **settings):
    run = TrainConfig(data="two-moons", epochs=1, batch_size=100, output=tmp_path / "run")
    sweep([run], _measure, settings=SweepSettings(**settings))


@pytest.mark.parametrize(
    ("backend", "package"),
    [("ray", "ray"), ("dask", "distributed"), ("dask", "cryptography"), ("slurm", "submitit")],
)
def test_a_missing_package_is_named_with_its_extra(backend, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"--backend {backend} needs the package {package}, .*mixreg\[{backend}\]'"
    with pytest.raises(MixregError, match=message):
        _refused(tmp_path, backend=backend)


def test_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MixregError, match=r"there is no SLURM here: .*run this where sbatch is"):
        _refused(tmp_path, backend="slurm")


def test_nobody_at_the_address(tmp_path):
    # Imported first, for settings made before that would take its defaults along when they end.
    soon = {f"{distributed.__name__}.comm.timeouts.connect": "100ms"}
    with (
        dask.config.set(soon),
        pytest.raises(MixregError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:1'"),
    ):
        _refused(tmp_path, backend="dask", address="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, (1, 0)),
        ({"accelerator": "gpu"}, (1, 1)),
        ({"data": "imagenet", "workers": 7, "accelerator": "gpu"}, (8, 1)),
    ],
)
def test_what_a_cluster_is_asked_for(settings, wanted):
    assert _resources(TrainConfig(**settings)) == wanted


@pytest.mark.parametrize(
    ("jobs", "count", "in_this_process", "slots"),
    [(1, 5, True, 1), (3, 1, True, 1), (3, 5, False, 3), (8, 5, False, 5)],
)
def test_one_task_at_a_time_needs_no_process(jobs, count, in_this_process, slots, tmp_path):
    tasks = [Task(f"task{k}", os.getpid) for k in range(count)]
    with open_backend(SweepSettings(jobs=jobs), tasks, tmp_path) as backend:
        assert backend.slots() == slots
        assert (backend.submit(tasks[0]).result(LIMIT) == os.getpid()) == in_this_process
