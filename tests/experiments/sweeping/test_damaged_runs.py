"""Run directories that cannot be read are set aside and run again."""

import pytest

from mixreg.experiments.sweeping import sweep
from mixreg.experiments.sweeping.damage import find_damage, set_aside
from mixreg.training import RunDirectory, TrainConfig, train

FILES = [
    "config.json",
    "environment.json",
    "result.json",
    "model.safetensors",
    "statistics.safetensors",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "run"
    return train(TrainConfig(**SMALL, output=output)).path


SMALL = {"data": "two-moons", "epochs": 2, "batch_size": 100, "progress": False}


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a finished run."""
    copy = tmp_path / "run"
    for file in trained.rglob("*"):
        if file.is_file():
            place = copy / file.relative_to(trained)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return RunDirectory(copy)


def _truncate(file):
    file.write_bytes(file.read_bytes()[:-3])


def _nothing(run, config):
    pass


def _sweep(run):
    sweep([TrainConfig(**SMALL, output=run.path)], _nothing, names=["moons"], jobs=1)


def test_a_sound_run_has_no_damage(run, tmp_path):
    assert find_damage(run) == ""
    assert find_damage(RunDirectory(tmp_path / "nowhere")) == ""
    (run.path / "result.json").unlink()
    assert find_damage(run) == ""


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_reported_set_aside_and_the_run_made_again(run, name, capsys):
    _truncate(run.path / name)
    rest = (run.path / name).read_bytes()
    assert find_damage(run).startswith(f"{run.path / name} is damaged")
    _sweep(run)
    assert run.finished
    assert find_damage(run) == ""
    kept = run.path.with_name("run.corrupt-1")
    assert (kept / name).read_bytes() == rest
    assert (kept / "checkpoint" / "last.ckpt").is_file()
    told = capsys.readouterr().out
    assert f"moons: {run.path / name} is damaged" in told
    assert f"{kept} keeps it" in told


def test_a_damaged_checkpoint_is_set_aside(run):
    (run.path / "result.json").unlink()
    _truncate(run.checkpoint)
    _sweep(run)
    assert run.finished
    assert run.path.with_name("run.corrupt-1").is_dir()


def test_missing_weights_are_damage(run):
    run.weights.unlink()
    assert find_damage(run) == f"{run.weights} is missing"


def test_missing_settings_of_a_finished_run_are_damage(run):
    (run.path / "config.json").unlink()
    assert find_damage(run) == f"{run.path / 'config.json'} is missing"
    _sweep(run)
    assert run.finished
    assert (run.path.with_name("run.corrupt-1") / "model.safetensors").is_file()


@pytest.mark.parametrize("content", ["[]", "{}", '{"config": 3, "format": 1}', '{"history": []}'])
@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_readable_nonsense_is_damage(run, name, content):
    (run.path / name).write_text(content)
    assert find_damage(run).startswith(f"{run.path / name} is damaged")


def test_nothing_that_was_set_aside_is_overwritten(run):
    places = []
    for _ in range(2):
        (run.path / "note.txt").write_text("kept")
        places.append(set_aside(run))
    assert [place.name for place in places] == ["run.corrupt-1", "run.corrupt-2"]
    assert all((place / "note.txt").read_text() == "kept" for place in places)


def test_a_move_that_was_interrupted_is_finished_the_next_time(run, monkeypatch):
    """The settings move last: what is left over is a run that has not begun, or damaged."""
    moved = []
    rename = type(run.path).rename

    def spy(self, target):
        moved.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(type(run.path), "rename", spy)
    with run.lock():
        set_aside(run)
        assert [file.name for file in run.path.iterdir()] == ["run.lock"]
    assert moved[-1] == "config.json"
    assert len(moved) >= len(FILES)


def test_damaged_snapshots_are_found(run):
    kept = run.snapshot(1)
    kept.parent.mkdir()
    kept.write_bytes(run.weights.read_bytes()[:-3])
    assert find_damage(run).startswith(f"{kept} is damaged")
