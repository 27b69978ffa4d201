"""What a sweep does with its runs: the logic with scripted futures, the rest in this process."""

import dataclasses
import json
import shutil
import subprocess
import sys
from concurrent.futures import Future
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.support import Terminal

from mixreg import ConfigurationError, MixregError
from mixreg.data.published import MissingDataError
from mixreg.experiments._backends import Backend, Task
from mixreg.experiments._progress import Progress, duration, kind
from mixreg.experiments._sweep import (
    DEATHS,
    Outcome,
    SweepSettings,
    complete,
    complete_seeds,
    quarantine,
    sweep,
)
from mixreg.training import RunDirectory, TrainConfig, train

FINISHED = Outcome("finished", seconds=1.0)
BUSY = Outcome("busy")
KILLED = RuntimeError("killed by signal 9")


def _run(output, seed=0, **settings):
    small = {"data": "two-moons", "epochs": 2, "batch_size": 100, "progress": False}
    return TrainConfig(**small | settings, seed=seed, output=output / f"seed{seed}")


def _measure(run, config):
    assert run.finished
    (run.path / "measured.txt").write_text(f"{config.seed}")


def _sweep(runs, finish=_measure, **options):
    return sweep(runs, finish, settings=SweepSettings(jobs=1, **options))


# Scripted futures


class Script:
    """Futures that end, at each submission of a run, in the next thing written for it."""

    def __init__(self, folder, slots=1, **steps):
        self.steps = {name: list(outcomes) for name, outcomes in steps.items()}
        self.runs = {name: TrainConfig(data="digits", output=folder / name) for name in steps}
        self.slots, self.order, self.flying, self.most = slots, [], [], 0

    def submit(self, task):
        self.order.append(task.name)
        step = self.steps[task.name].pop(0)
        if step is OSError:
            raise step("the scheduler has gone")
        self.flying.append(future := Future())
        self.most = max(self.most, len(self.flying))
        future.step, future.task = step, task
        return future

    def end_one(self, _futures):
        """What the loop asks once a round ends the oldest task."""
        if self.flying:
            future = self.flying.pop(0)
            step = (
                future.step(self.runs[future.task.name]) if callable(future.step) else future.step
            )
            if isinstance(step, BaseException):
                future.set_exception(step)
            else:
                future.set_result(step)
        return 0

    def complete(self):
        backend = Backend(self.submit, lambda: self.slots, nullcontext, self.end_one)
        with closing(Progress(self.runs)) as progress:
            tasks = [Task(name, None) for name in self.runs]
            return complete(tasks, self.runs, backend, progress)


def test_no_more_runs_than_there_is_room_for(tmp_path):
    script = Script(tmp_path, 2, a=[FINISHED], b=[FINISHED], c=[FINISHED])
    assert script.complete() == dict.fromkeys("abc", FINISHED)
    assert (script.order, script.most) == (["a", "b", "c"], 2)


@pytest.mark.parametrize(
    ("death", "why"),
    [
        (KILLED, "killed by signal 9"),
        (SystemExit(143), "143"),
        (KeyboardInterrupt(), "KeyboardInterrupt()"),
        (OSError, "the scheduler has gone"),
    ],
)
def test_a_run_whose_worker_is_lost_is_submitted_again_at_once(tmp_path, capsys, death, why):
    script = Script(tmp_path, a=[death, FINISHED], b=[FINISHED])
    assert script.complete() == dict.fromkeys("ab", FINISHED)
    assert script.order == ["a", "a", "b"]
    told = capsys.readouterr().out
    assert f"a: its worker died and it is submitted again ({why})" in told


def test_a_run_that_kills_its_workers_fails_and_the_others_go_on(tmp_path):
    script = Script(tmp_path, a=[KILLED] * DEATHS, b=[FINISHED])
    outcomes = script.complete()
    assert outcomes["a"].ending == "failed"
    assert outcomes["a"].message == (
        "4 workers in a row died at it without finishing an epoch; killed by signal 9"
    )
    assert script.order == ["a"] * DEATHS + ["b"]


def _die_an_epoch_later(run):
    checkpoint = RunDirectory(run.directory).checkpoint
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text("")
    return KILLED


def test_a_run_that_gets_on_is_submitted_however_often_its_workers_die(tmp_path):
    script = Script(tmp_path, a=[_die_an_epoch_later] * (2 * DEATHS) + [FINISHED])
    assert script.complete() == {"a": FINISHED}
    assert len(script.order) == 2 * DEATHS + 1


HOLDER = """
import sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_busy_run_is_waited_for_after_all_others(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a" / "run.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"

        def release(run):
            holder.stdin.close()
            holder.wait()
            return FINISHED

        script = Script(tmp_path, a=[BUSY, FINISHED], b=[FINISHED], c=[release])
        assert script.complete() == dict.fromkeys("abc", FINISHED)
    assert script.order == ["a", "b", "c", "a"]
    assert "a: another process is working on it; waiting" in capsys.readouterr().out


# Counts and the time that is left


def _finish(run, seconds):
    directory = RunDirectory(run.directory)
    directory.prepare(run)
    directory.write_result([{"epoch": 5.0}], seconds)


def test_counts_and_the_time_left_which_is_learnt_from_finished_runs(tmp_path, monkeypatch, capsys):
    runs = {f"run{k}": TrainConfig(epochs=5, output=tmp_path / f"run{k}") for k in range(4)}
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with closing(Progress(runs)) as progress:
        for name in ("run0", "run1", "run2"):
            progress.begin(name)
        progress.refresh(1)
        assert progress.state() == "2 running, 0 failed"
        progress.end("run0", "failed", 3.0)
        progress.pause("run1", "its worker died")
        _finish(runs["run2"], 1000.0)
        progress.end("run2", "finished", 1000.0)
        progress.begin("run1")
        assert progress.state() == "1 running, 1 failed, about 33 min left"
        progress.begin("run3")
        assert progress.state() == "2 running, 1 failed, about 17 min left"
    assert capsys.readouterr().out.splitlines() == [
        "[1/4] run0: failed (3 s; 1 running, 1 failed)",
        "run1: its worker died",
        "[2/4] run2: finished (17 min; 0 running, 1 failed, about 33 min left)",
    ]
    shown = terminal.getvalue()
    assert "0/4 |" in shown
    assert "2/4 |" in shown
    assert "2 running, 0 failed" in shown


def test_durations():
    assert [duration(s) for s in (0.2, 41.0, 600.0, 9000.0, 500_000.0)] == [
        *("<1 s", "41 s", "10 min", "2.5 h", "5.8 days")
    ]


def test_every_folder_of_runs_is_claimed(tmp_path):
    runs = [_run(tmp_path / "a", 0), _run(tmp_path / "b", 1)]
    assert _sweep(runs) == {}
    assert all((tmp_path / name / "sweep.json").is_file() for name in "ab")
    (tmp_path / "b" / "sweep.json").write_text("{}")
    with pytest.raises(MixregError, match="another version"):
        _sweep(runs)


def test_only_what_costs_time_makes_another_kind(tmp_path):
    run = _run(tmp_path)
    for same in ({"seed": 5}, {"alpha": 0.2}, {"epochs": 9}, {"learning_rate": 0.1}):
        assert kind(dataclasses.replace(run, **same)) == kind(run)
    for other in ({"method": "erm"}, {"model": "lenet"}, {"batch_size": 60}, {"directions": 2}):
        assert kind(dataclasses.replace(run, **other)) != kind(run)


# Runs one at a time in this process


def test_every_run_is_trained_and_measured_and_finished_ones_are_kept(tmp_path, capsys):
    runs = [_run(tmp_path / "runs", seed) for seed in range(3)]
    assert _sweep(runs) == {}
    assert [(run.directory / "measured.txt").read_text() for run in runs] == ["0", "1", "2"]
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3
    assert told[0].startswith("[1/3] seed0: finished (")
    assert "left)" in told[1]
    assert told[2].endswith("0 running, 0 failed)")
    assert json.loads((tmp_path / "runs" / "sweep.json").read_text())["format"] == "mixreg.Sweep/1"

    result = runs[0].directory / "result.json"
    before = result.stat().st_mtime_ns
    (runs[0].directory / "measured.txt").unlink()
    _sweep(runs)
    assert result.stat().st_mtime_ns == before
    assert (runs[0].directory / "measured.txt").is_file()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(_run(tmp_path_factory.mktemp("trained"), snapshots=[1])).path


SNAPSHOT, LAST = "snapshots/epoch1.safetensors", "checkpoint/last.ckpt"
DAMAGE = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-3]),
    "garbage": lambda file: file.write_bytes(b"garbage" * 100),
    "one bit": lambda file: file.write_bytes(
        file.read_bytes()[:-99] + b"!" + file.read_bytes()[-98:]
    ),
    "gone": lambda file: file.unlink(),
}


HARMLESS = {(SNAPSHOT, "gone"), (LAST, "gone")}  # made again, or told by the training
CASES = [
    *((name, damage) for name in ("config.json", "result.json") for damage in list(DAMAGE)[:2]),
    *((name, damage) for name in ("model.safetensors", SNAPSHOT, LAST) for damage in DAMAGE),
    ("config.json", "gone"),
]


@pytest.mark.parametrize(("name", "damage"), [c for c in CASES if c not in HARMLESS])
def test_damaged_runs_go_into_quarantine_and_begin_anew(trained, tmp_path, capsys, name, damage):
    shutil.copytree(trained, tmp_path / "seed0")
    run = RunDirectory(tmp_path / "seed0")
    file = run.path / name
    if name == LAST:
        (run.path / "result.json").unlink()
    DAMAGE[damage](file)
    rest = file.read_bytes() if file.exists() else None

    _sweep([_run(tmp_path, snapshots=[1])])
    again, before = load_file(run.weights), load_file(trained / "model.safetensors")
    assert all(torch.equal(again[key], before[key]) for key in before)
    kept = tmp_path / "seed0.corrupt-1"
    assert rest is None or (kept / name).read_bytes() == rest
    told = capsys.readouterr().out
    assert f"seed0: {file} " in told
    assert f"{kept} keeps it, and the run begins anew" in told


def test_quarantine_keeps_everything_and_moves_the_settings_last(trained, tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    moved = []
    rename = Path.rename

    def spy(self, target):
        moved.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", spy)
    for k in (1, 2):
        shutil.copytree(trained, run.path, dirs_exist_ok=True)
        (run.path / "note.txt").write_text("kept")
        with run.lock():
            place = quarantine(run)
            assert [file.name for file in run.path.iterdir()] == ["run.lock"]
        assert place.name == f"run.corrupt-{k}"
        assert (place / "note.txt").read_text() == "kept"
        assert moved[-1] == "config.json"


def test_a_run_of_another_version_is_refused_and_stays(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "seed0")
    file = tmp_path / "seed0" / "config.json"
    file.write_text(file.read_text().replace('"format": ', '"format": 9'))
    with pytest.raises(MixregError, match="written by another version of mixreg"):
        _sweep([_run(tmp_path, snapshots=[1])])
    assert not list(tmp_path.glob("*.corrupt-*"))


def _fail(run, config):
    if config.seed == 0:
        raise ZeroDivisionError(f"seed {config.seed}")


def test_a_failure_is_told_with_its_log_and_the_others_are_kept(tmp_path, capsys):
    runs = [_run(tmp_path, seed) for seed in range(2)]
    with pytest.raises(MixregError, match=r"(?s)1 of 2 runs failed.*seed0:.*Traceback.*seed 0"):
        _sweep(runs, _fail)
    assert RunDirectory(runs[1].directory).finished
    assert "[1/2] seed0: failed" in capsys.readouterr().out


def test_other_settings_are_refused_once_for_all_runs_and_stay(tmp_path):
    _sweep([_run(tmp_path, seed) for seed in range(3)])
    with pytest.raises(MixregError) as refusal:
        _sweep([_run(tmp_path, seed, alpha=0.5) for seed in range(3)])
    told = str(refusal.value)
    assert told.count("other settings (alpha: 1.0 there, 0.5 here)") == 1
    assert "3 of 3 runs failed" in told
    assert f"seed0 and 2 more: {tmp_path / 'seed0'} holds a run with other settings" in told
    assert _sweep([_run(tmp_path, seed) for seed in range(3)]) == {}


def test_missing_data_are_an_error_before_anything_is_trained_or_skipped(tmp_path, capsys):
    there, absent = _run(tmp_path, 0), _run(tmp_path, 1, data="cifar10", data_root=tmp_path)
    message = r"1 of 2 runs cannot begin.*'cifar10' is missing: looked for"
    with pytest.raises(MissingDataError, match=message):
        _sweep([there, absent])
    assert not list(tmp_path.iterdir())

    missing = _sweep([there, absent], skip_missing=True)
    assert list(missing) == ["seed1"]
    assert "cifar-10-batches-py" in missing["seed1"]
    assert RunDirectory(there.directory).finished
    assert not absent.directory.exists()
    assert "seed1: left out: data set 'cifar10' is missing" in capsys.readouterr().out
    assert list(_sweep([absent], skip_missing=True)) == ["seed1"]


def _lacks_data(run, config):
    raise MissingDataError("no such folder here")


def test_data_may_be_missing_only_where_a_run_is_executed(tmp_path):
    runs = [_run(tmp_path)]
    assert _sweep(runs, _lacks_data, skip_missing=True) == {"seed0": "no such folder here"}
    with pytest.raises(MixregError, match="1 of 1 runs failed"):
        _sweep(runs, _lacks_data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"format": "mixreg.Sweep/99", "mixreg": "9.9.9"}',
            r"version of mixreg \(9\.9\.9\).*migrate",
        ),
        ("{", r"sweep\.json is damaged"),
        ("[]", r"sweep\.json is damaged"),
        ("{}", r"in the format None of another version of mixreg \(None\)"),
    ],
)
def test_a_folder_of_another_version_is_refused(tmp_path, content, message):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(MixregError, match=message):
        _sweep([_run(tmp_path)])
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": Path("other/seed0")}, "same name: seed0"),
        ({}, "same directory: "),
        ({"output": Path("b"), "devices": 2}, "one device each"),
    ],
)
def test_runs_in_each_others_way_are_refused(tmp_path, change, message):
    first = _run(tmp_path)
    second = dataclasses.replace(first, **change)
    with pytest.raises(ConfigurationError, match=message):
        _sweep([first, second])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "dusk"}, "backend must be 'local' or 'ray' or 'dask' or 'slurm', got 'dusk'"),
        ({"address": "tcp://x"}, "'local' has no address"),
        ({"backend": "slurm", "address": "head:1"}, "'slurm' has no address"),
        ({"jobs": 0}, "jobs must be at least 1"),
    ],
)
def test_settings_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        SweepSettings(**settings)


def test_only_seeds_of_which_no_run_is_missing_are_compared():
    runs = [TrainConfig(method=m, seed=seed) for seed in range(2) for m in ("erm", "mixup")]
    erm, mixup = (run.directory.name for run in runs[:2])
    assert complete_seeds(runs, {}) == (runs, ())
    left = complete_seeds(runs, {mixup: "no data"})
    assert left == (runs[2:], ("seed 0 is left out: no data",))
    with pytest.raises(MissingDataError, match="nothing is left to report: no data here"):
        complete_seeds(runs, {erm: "no data here", runs[3].directory.name: "no data there"})
