"""What a sweep does with its runs, one at a time in this process."""

import dataclasses
import json

import pytest

from mixreg import ConfigurationError, MixregError
from mixreg.data.location import MissingDataError
from mixreg.experiments.sweeping import BackendSettings, SweepSettings, sweep
from mixreg.training import RunDirectory, TrainConfig


def _run(output, seed=0, **settings):
    small = {"data": "two-moons", "epochs": 2, "batch_size": 100, "progress": False}
    return TrainConfig(**small | settings, seed=seed, output=output / f"seed{seed}")


def _measure(run, config):
    assert run.finished
    (run.path / "measured.txt").write_text(f"{config.seed}")


def _fail(run, config):
    if config.seed == 0:
        raise ZeroDivisionError(f"seed {config.seed}")


def _sweep(runs, finish=_measure, **options):
    return sweep(runs, finish, names=[run.directory.name for run in runs], jobs=1, **options)


def test_every_run_is_trained_and_measured(tmp_path, capsys):
    runs = [_run(tmp_path / "runs", seed) for seed in range(3)]
    assert _sweep(runs).missing == {}
    assert [(run.directory / "measured.txt").read_text() for run in runs] == ["0", "1", "2"]
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3
    assert told[0].startswith("[1/3] seed0: finished (")
    assert "left)" in told[1]
    assert told[2].endswith("0 running, 0 failed)")


def test_finished_runs_are_measured_but_not_trained_again(tmp_path):
    runs = [_run(tmp_path)]
    _sweep(runs)
    result = RunDirectory(runs[0].directory).path / "result.json"
    before = result.stat().st_mtime_ns
    (runs[0].directory / "measured.txt").unlink()
    _sweep(runs)
    assert result.stat().st_mtime_ns == before
    assert (runs[0].directory / "measured.txt").is_file()


def test_a_failure_is_told_with_its_log_and_the_others_are_kept(tmp_path, capsys):
    runs = [_run(tmp_path, seed) for seed in range(2)]
    with pytest.raises(MixregError, match=r"(?s)1 of 2 runs failed.*seed0:.*Traceback.*seed 0"):
        _sweep(runs, _fail)
    assert RunDirectory(runs[1].directory).finished
    assert "[1/2] seed0: failed" in capsys.readouterr().out


def test_a_run_with_other_settings_is_an_error_and_stays(tmp_path):
    _sweep([_run(tmp_path)])
    with pytest.raises(MixregError, match=r"other settings \(alpha: 1.0 there, 0.5 here\)"):
        _sweep([_run(tmp_path, alpha=0.5)])
    assert RunDirectory(tmp_path / "seed0").read_config().alpha == 1


def test_missing_data_are_an_error_before_anything_is_trained(tmp_path):
    there, absent = _run(tmp_path, 0), _run(tmp_path, 1, data="cifar10", data_root=tmp_path)
    message = r"1 of 2 runs cannot begin.*'cifar10' is missing: looked for"
    with pytest.raises(MissingDataError, match=message):
        _sweep([there, absent])
    assert not list(tmp_path.iterdir())


def test_missing_data_are_skipped_on_request(tmp_path, capsys):
    there, absent = _run(tmp_path, 0), _run(tmp_path, 1, data="cifar10", data_root=tmp_path)
    result = _sweep([there, absent], skip_missing=True)
    assert list(result.missing) == ["seed1"]
    assert "cifar-10-batches-py" in result.missing["seed1"]
    assert RunDirectory(there.directory).finished
    assert not absent.directory.exists()
    assert "seed1: left out: data set 'cifar10' is missing" in capsys.readouterr().out


def test_all_may_be_missing(tmp_path):
    absent = _run(tmp_path, data="cifar10", data_root=tmp_path)
    assert list(_sweep([absent], skip_missing=True).missing) == ["seed0"]


def _finds_nothing(run, config):
    raise MissingDataError(f"nothing at {config.data_root}")


def test_data_may_be_missing_only_where_a_run_is_executed(tmp_path):
    runs = [_run(tmp_path)]
    found = _sweep(runs, _finds_nothing, skip_missing=True)
    assert found.missing == {"seed0": "nothing at None"}
    with pytest.raises(MixregError, match="1 of 1 runs failed"):
        _sweep(runs, _finds_nothing)


def test_a_folder_of_another_version_is_refused_with_the_way_to_migrate(tmp_path):
    stored = {"format": "mixreg.Sweep/99", "mixreg": "9.9.9"}
    (tmp_path / "sweep.json").write_text(json.dumps(stored))
    with pytest.raises(MixregError, match=r"(?s)another version of mixreg \(9\.9\.9\).*migrate"):
        _sweep([_run(tmp_path)])
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.json"]


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_folder_of_no_readable_version_is_refused(tmp_path, content):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(MixregError, match=r"sweep\.json is damaged"):
        _sweep([_run(tmp_path)])


def test_the_folder_says_its_version(tmp_path):
    _sweep([_run(tmp_path / "runs")])
    assert json.loads((tmp_path / "runs" / "sweep.json").read_text())["format"] == "mixreg.Sweep/1"


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        ({"output": None}, "a", "same name: a"),
        ({}, "b", "same directory: "),
        ({"output": None, "devices": 2}, "b", "one device each"),
    ],
)
def test_runs_in_each_others_way_are_refused(tmp_path, change, name, message):
    first = _run(tmp_path)
    second = dataclasses.replace(first, **change)
    with pytest.raises(ConfigurationError, match=message):
        sweep([first, second], _measure, names=["a", name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BackendSettings("dusk"), "unknown backend 'dusk'; did you mean 'dask'"),
        (lambda: BackendSettings("local", "tcp://x"), "'local' has no address"),
        (lambda: SweepSettings(backend="slurm", address="head:1"), "'slurm' has no address"),
        (lambda: SweepSettings(jobs=0), "jobs must be at least 1"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
