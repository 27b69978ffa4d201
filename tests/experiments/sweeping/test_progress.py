"""Counts and the time that is left, on a terminal too."""

import io

import pytest

from mixreg.experiments.sweeping.progress import Progress
from mixreg.experiments.sweeping.tasks import Outcome, Task
from mixreg.training import RunDirectory, TrainConfig


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _nothing(run, config):
    pass


@pytest.fixture
def tasks(tmp_path):
    return [
        Task(f"run{k}", TrainConfig(epochs=5, output=tmp_path / f"run{k}"), _nothing)
        for k in range(3)
    ]


def _finish(task, seconds):
    run = RunDirectory(task.config.directory)
    run.prepare(task.config)
    run.write_result([{"epoch": 5.0}], seconds)


def test_a_line_a_run_with_the_counts(tasks, capsys):
    with Progress(tasks) as progress:
        progress.begin(tasks[:2])
        progress.refresh(2)
        assert progress.state() == "2 running, 0 failed"
        progress.end(tasks[0], Outcome("failed", "why", 3.0))
        assert progress.state() == "2 running, 1 failed"
        progress.pause(tasks[1])
        progress.end(tasks[1], Outcome("finished", seconds=200.0))
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] run0: failed (3 s; 2 running, 1 failed)",
        "[2/3] run1: finished (3 min; 1 running, 1 failed)",
    ]


def test_the_time_left_is_learnt_from_finished_runs(tasks):
    with Progress(tasks) as progress:
        _finish(tasks[0], 1000.0)
        progress.refresh(2)
        progress.end(tasks[0], Outcome("finished", seconds=1000.0))
        assert progress.state() == "2 running, 0 failed, about 17 min left"
        progress.refresh(1)
        assert progress.state() == "1 running, 0 failed, about 33 min left"


def test_a_bar_where_somebody_looks_on(tasks, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(tasks) as progress:
        progress.refresh(2)
        progress.end(tasks[0], Outcome("finished"))
    assert "0/3 |" in terminal.getvalue()
    assert "2 running, 0 failed" in terminal.getvalue()
    assert "1/3 |" in terminal.getvalue()
