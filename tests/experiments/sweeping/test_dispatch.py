"""What becomes of runs whose workers die or that others are working on, with scripted workers."""

import subprocess
import sys

import pytest

from mixreg import MixregError
from mixreg.experiments.sweeping.dispatch import DEATHS, Dispatch
from mixreg.experiments.sweeping.progress import Progress
from mixreg.experiments.sweeping.tasks import Outcome, Task
from mixreg.experiments.sweeping.workers import Ended
from mixreg.training import RunDirectory, TrainConfig

FINISHED = Outcome("finished", seconds=1.0)


class Scripted:
    """Workers that do, at each submission of a run, the next thing they were told for it."""

    def __init__(self, capacity, **script):
        self.capacity = capacity
        self.script = script
        self.handed = []
        self.order = []
        self.most = 0

    @property
    def running(self):
        return len(self.handed)

    def submit(self, tasks):
        self.handed += tasks
        self.order += [task.name for task in tasks]
        self.most = max(self.most, len(self.handed))

    def ended(self, timeout):
        del timeout
        task = self.handed.pop(0)
        outcome = self.script[task.name].pop(0)
        if callable(outcome):
            outcome = outcome(task)
        return [Ended(task, outcome, "killed by signal 9" if outcome is None else "")]


def _nothing(run, config):
    pass


def _complete(tmp_path, capacity=1, **script):
    tasks = [Task(n, TrainConfig(data="digits", output=tmp_path / n), _nothing) for n in script]
    workers = Scripted(capacity, **{name: list(steps) for name, steps in script.items()})
    with Progress(tasks) as progress:
        dispatch = Dispatch(tasks, workers, progress, skip_missing=False)
        return workers, dispatch.complete


def test_no_more_runs_than_there_is_room_for(tmp_path):
    workers, complete = _complete(tmp_path, 2, a=[FINISHED], b=[FINISHED], c=[FINISHED])
    complete()
    assert (workers.order, workers.most) == (["a", "b", "c"], 2)


def test_a_run_whose_worker_died_is_submitted_again_at_once(tmp_path, capsys):
    workers, complete = _complete(tmp_path, a=[None, FINISHED], b=[FINISHED])
    complete()
    assert workers.order == ["a", "a", "b"]
    assert "a: its worker died and it is submitted again (killed by signal 9)" in (
        capsys.readouterr().out
    )


def test_a_run_that_kills_its_workers_fails_and_the_others_go_on(tmp_path):
    workers, complete = _complete(tmp_path, a=[None] * DEATHS, b=[FINISHED])
    with pytest.raises(MixregError, match=r"(?s)1 of 2 runs failed.*4 workers in a row died at it"):
        complete()
    assert workers.order == ["a"] * DEATHS + ["b"]


def _die_an_epoch_later(task):
    """The worker wrote another checkpoint before it died."""
    checkpoint = RunDirectory(task.config.directory).checkpoint
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text("")


def test_a_run_that_gets_on_is_submitted_however_often_its_workers_die(tmp_path):
    script = [_die_an_epoch_later] * (2 * DEATHS) + [FINISHED]
    workers, complete = _complete(tmp_path, a=script)
    complete()
    assert len(workers.order) == 2 * DEATHS + 1


HOLDER = """
import sys
from pathlib import Path
from mixreg.training import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_busy_run_is_waited_for_after_all_others(tmp_path, capsys):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"

        def release(task):
            holder.stdin.close()
            holder.wait()
            return FINISHED

        workers, complete = _complete(
            tmp_path, a=[Outcome("busy"), FINISHED], b=[FINISHED], c=[release]
        )
        complete()
    assert workers.order == ["a", "b", "c", "a"]
    assert "a: another process is working on it; waiting" in capsys.readouterr().out
