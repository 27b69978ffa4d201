"""A sweep that is killed goes on where it stopped; two at once do each run once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mixreg.experiments.sweeping.damage import find_damage
from mixreg.training import RunDirectory

PROBE = Path(__file__).with_name("sweep_probe.py")
LIMIT = 240


def _start(output, jobs):
    return subprocess.Popen(
        [sys.executable, str(PROBE), str(output), str(jobs)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for(condition, process):
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.005)


def _stamps(runs):
    return {run.path.name: (run.path / "result.json").stat().st_mtime_ns for run in runs}


@pytest.fixture
def runs(tmp_path):
    return [RunDirectory(tmp_path / name) for name in ("brief", "long", "last")]


def test_a_killed_sweep_goes_on_where_it_stopped_and_takes_its_workers_along(tmp_path, runs):
    brief, long, last = runs
    first = _start(tmp_path, 2)
    _wait_for(lambda: brief.finished and long.checkpoint.is_file(), first)
    workers = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    assert not psutil.wait_procs(workers, timeout=60)[1]
    assert not long.finished
    before = _stamps([brief])

    second = _start(tmp_path, 1)
    told, _ = second.communicate(timeout=LIMIT)
    assert second.returncode == 0, told
    assert _stamps([brief]) == before
    assert len(long.read_result().history) == 40
    assert last.finished
    assert [find_damage(run) for run in runs] == ["", "", ""]


def test_two_sweeps_at_once_share_the_runs_and_wait_for_each_other(tmp_path, runs):
    _, long, last = runs
    first = _start(tmp_path, 1)
    _wait_for(lambda: long.checkpoint.is_file(), first)
    first.send_signal(signal.SIGSTOP)
    second = _start(tmp_path, 1)
    lines = iter(second.stdout.readline, "")
    assert any("long: another process is working on it" in line for line in lines)
    assert any("last: finished" in line for line in lines)
    before = _stamps([last])
    first.send_signal(signal.SIGCONT)

    told = [process.communicate(timeout=LIMIT)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], told
    assert "long: finished" in told[1]
    assert len(long.read_result().history) == 40
    assert _stamps([last]) == before
    assert [find_damage(run) for run in runs] == ["", "", ""]
