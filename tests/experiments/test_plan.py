"""A dry run: states, costs and where they come from, with nothing written."""

import dataclasses
import json

import pytest

import mixreg.cli
from mixreg import MixregError
from mixreg.experiments import _plan
from mixreg.experiments._plan import plan, time_epoch
from mixreg.settings import SweepSettings
from mixreg.training import TrainConfig, train

SMALL = {"data": "two-moons", "epochs": 4, "batch_size": 50, "progress": False}


def _run(output, name, **settings):
    return TrainConfig(**SMALL | settings, output=output / name)


def _planned(runs, jobs=2):
    names = [run.directory.name for run in runs]
    return plan(runs, names=names, settings=SweepSettings(jobs=jobs))


def _files(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def _store_seconds(run, seconds):
    file = run.directory / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": seconds}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run that took 8 s, one stopped at epoch 3 of 4, and more."""
    output = tmp_path_factory.mktemp("plan")
    finished, begun = _run(output, "finished"), _run(output, "begun", seed=1)
    train(finished)
    _store_seconds(finished, 8.0)
    train(dataclasses.replace(begun, epochs=3))
    (begun.directory / "result.json").unlink()
    settings = begun.directory / "config.json"
    settings.write_text(settings.read_text().replace('"epochs": 3', '"epochs": 4'))
    damaged = _run(output, "damaged", seed=2)
    damaged.directory.mkdir()
    (damaged.directory / "config.json").write_text("{")
    return [
        finished,
        begun,
        damaged,
        _run(output, "fresh", seed=3, alpha=0.5),
        _run(output, "absent", data="cifar10", data_root=output),
    ]


def test_states_and_costs_from_finished_runs_of_the_kind(runs):
    before = _files(runs[0].directory.parent)
    lines = _planned(runs).splitlines()
    shown = {line.split()[0]: line.split(maxsplit=1)[1].lstrip() for line in lines[:5]}
    assert shown["finished"] == "–  finished"
    assert shown["begun"] == "2 s  begun, at epoch 3 of 4"
    assert shown["damaged"] == "8 s  damaged"
    assert shown["fresh"] == "8 s  to do"
    assert shown["absent"] == "–  data missing"
    told = "\n".join(lines[5:])
    assert "config.json is damaged" in told
    assert "absent: data set 'cifar10' is missing: looked for" in told
    assert "5 runs (1 finished, 1 begun, 1 damaged, 1 to do, 1 data missing)" in told
    assert "about 18 s of training, 10 s with 2 at a time" in told
    assert "two-moons, mlp, mixup: 2 s an epoch, from 1 finished" in told
    assert _files(runs[0].directory.parent) == before


def test_what_is_missing_for_several_runs_is_told_once(tmp_path):
    absent = {"data": "cifar10", "data_root": tmp_path}
    told = _planned([_run(tmp_path, name, seed=k, **absent) for k, name in enumerate("abc")])
    assert told.count("data set 'cifar10' is missing") == 1
    assert "a and 2 more: data set 'cifar10' is missing" in told


def test_where_there_is_nothing_to_learn_from_steps_are_timed(tmp_path, monkeypatch):
    timed = []

    def time_epoch(run):
        timed.append(run.method)
        return 0.5, 20

    monkeypatch.setattr(_plan, "time_epoch", time_epoch)
    runs = [
        _run(tmp_path, f"{method}{seed}", method=method, seed=seed)
        for method in ("erm", "mixup")
        for seed in range(2)
    ]
    told = _planned(runs, jobs=1)
    assert timed == ["erm", "mixup"]
    assert "4 runs (4 to do): about 8 s of training\n" in told
    assert "erm: 0.5 s an epoch, from 20 training steps just made on this machine" in told
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_timed_is_of_unknown_cost(tmp_path, monkeypatch):
    def time_epoch(run):
        raise RuntimeError("no GPU here")

    monkeypatch.setattr(_plan, "time_epoch", time_epoch)
    told = _planned([_run(tmp_path, "big")])
    assert told.splitlines()[0].split(maxsplit=1)[1].lstrip() == "?  to do"
    assert "1 runs of unknown cost" in told
    assert "cannot be timed here (RuntimeError: no GPU here)" in told


def test_runs_with_other_settings_are_shown_as_refused_with_the_reason_once(runs):
    told = _planned([dataclasses.replace(run, alpha=0.7) for run in runs[:2]])
    assert [line.split()[-1] for line in told.splitlines()[:2]] == ["refused", "refused"]
    assert "finished and 1 more: " in told
    assert "other settings (alpha: 1.0 there, 0.7 here)" in told


def test_a_folder_of_another_version_is_refused(tmp_path):
    (tmp_path / "sweep.json").write_text('{"format": "mixreg.Sweep/99"}')
    with pytest.raises(MixregError, match="migrate"):
        _planned([_run(tmp_path, "run")])


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "approximate"},
        {"loss": "logistic", "model": "random-fourier-features"},
        {"data": "digits", "validation_fraction": 0.0},
    ],
)
def test_steps_are_real_and_leave_nothing_behind(tmp_path, settings):
    seconds, steps = time_epoch(_run(tmp_path, "run", **settings))
    assert seconds > 0
    assert 3 <= steps <= 60
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("compare --data two-moons --epochs 2 --seeds 1 --dry-run --jobs 1", "mixup seed 0"),
    ],
)
def test_commands(command, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_plan, "time_epoch", lambda _run: (0.5, 20))
    mixreg.cli.main(command.split())
    assert told in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
