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
    return plan(runs, SweepSettings(jobs=jobs))


def _files(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run that took 8 s, one stopped at epoch 3 of 4, and more."""
    output = tmp_path_factory.mktemp("plan")
    finished, begun = _run(output, "finished"), _run(output, "begun", seed=1)
    result = train(finished).path / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"seconds": 8.0}))
    train(dataclasses.replace(begun, epochs=3))
    (begun.directory / "result.json").unlink()
    settings = begun.directory / "config.json"
    settings.write_text(settings.read_text().replace('"epochs": 3', '"epochs": 4'))
    damaged = _run(output, "damaged", seed=2)
    damaged.directory.mkdir()
    (damaged.directory / "config.json").write_text("{")
    fresh = _run(output, "fresh", seed=3, alpha=0.5)
    absent = {"data": "cifar10", "data_root": output}
    return [
        finished,
        begun,
        damaged,
        fresh,
        *(_run(output, name, **absent) for name in ("no", "nor")),
    ]


def test_states_and_costs_from_finished_runs_of_the_kind(runs):
    before = _files(runs[0].directory.parent)
    lines = _planned(runs).splitlines()
    told = "\n".join(lines[6:])
    assert [" ".join(line.split()) for line in lines[:6]] == [
        "finished – finished",
        "begun 2 s begun, at epoch 3 of 4",
        "damaged 8 s damaged",
        "fresh 8 s to do",
        "no – data missing",
        "nor – data missing",
    ]
    assert "config.json is damaged" in told
    assert told.count("data set 'cifar10' is missing: looked for") == 1
    assert "no and 1 more: data set 'cifar10' is missing" in told
    assert "6 runs (1 finished, 1 begun, 1 damaged, 1 to do, 2 data missing)" in told
    assert "about 18 s of training, 10 s with 2 at a time" in told
    assert "two-moons, mlp, mixup: 2 s an epoch, from 1 finished" in told
    assert _files(runs[0].directory.parent) == before


def test_runs_with_other_settings_are_shown_as_refused_with_the_reason_once(runs):
    told = _planned([dataclasses.replace(run, alpha=0.7) for run in runs[:2]])
    assert [line.split()[-1] for line in told.splitlines()[:2]] == ["refused", "refused"]
    assert "finished and 1 more: " in told
    assert "other settings (alpha: 1.0 there, 0.7 here)" in told


def test_where_there_is_nothing_to_learn_from_steps_are_timed(tmp_path, monkeypatch):
    timed = []

    def time_epoch(run):
        timed.append(run.method)
        if run.method == "spectral":
            raise RuntimeError("no GPU here")
        return 0.5, 20

    monkeypatch.setattr(_plan, "time_epoch", time_epoch)
    runs = [
        _run(tmp_path, f"{method}{seed}", method=method, seed=seed)
        for method in ("erm", "mixup", "spectral")
        for seed in range(2)
    ]
    told = _planned(runs, jobs=1)
    assert timed == ["erm", "mixup", "spectral"]
    assert "6 runs (6 to do): about 8 s of training, and 2 runs of unknown cost\n" in told
    assert "erm: 0.5 s an epoch, from 20 training steps just made on this machine" in told
    assert told.splitlines()[5].split(maxsplit=1)[1].lstrip() == "?  to do"
    assert "cannot be timed here (RuntimeError: no GPU here)" in told
    assert not list(tmp_path.iterdir())


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
    assert 1 <= steps <= 60
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_version_is_refused(tmp_path):
    (tmp_path / "sweep.json").write_text('{"format": "mixreg.Sweep/99"}')
    with pytest.raises(MixregError, match="migrate"):
        _planned([_run(tmp_path, "run")])


def test_the_command_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_plan, "time_epoch", lambda _run: (0.5, 20))
    mixreg.cli.main(["compare", "--data=two-moons", "--seeds=1", "--jobs=1", "--dry-run"])
    assert "mixup-seed0" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
