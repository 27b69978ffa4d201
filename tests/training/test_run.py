"""The directory of a run: prepared, locked, read back, and refused where it is damaged."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from mixreg import CheckpointError, ConfigurationError
from mixreg.training import BusyError, RunDirectory, TrainConfig, environment, load_run, train
from mixreg.training.run import VersionError, read_checkpoint, write_checkpoint


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    return RunDirectory(shutil.copytree(finished.path, tmp_path / "run"))


def _config(run):
    return TrainConfig(data="two-moons", epochs=2, batch_size=100, progress=False, output=run.path)


def test_a_directory_is_for_one_run_and_nothing_else(tmp_path):
    run, config = RunDirectory(tmp_path / "run"), TrainConfig(seed=1, milestones=[1, 2])
    with pytest.raises(CheckpointError, match="holds no run"):
        run.read_config()
    for _ in range(2):
        run.prepare(config)
    assert run.read_config() == config
    assert not run.finished
    with pytest.raises(ConfigurationError, match=r"other settings \(alpha: 1.0 there, 0.5 here\)"):
        run.prepare(TrainConfig(seed=1, milestones=[1, 2], alpha=0.5))
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="not empty and holds no run"):
        RunDirectory(tmp_path).prepare(config)


def test_left_overs_of_kills_do_not_block_and_go(tmp_path):
    (tmp_path / "config.json.123.part").write_text("{")
    (tmp_path / "run.lock").touch()
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "checkpoint").mkdir()
    run = RunDirectory(tmp_path)
    run.prepare(TrainConfig())
    (run.checkpoint.parent / "last.ckpt.77.part").touch()
    run.prepare(TrainConfig())
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_of_another_version_is_refused_with_the_command_that_makes_it_again(tmp_path):
    old = {"format": 1, "config": {"data": "digits", "method": "erm", "alpha": 1.0, "seed": 3}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    run = RunDirectory(tmp_path)
    with pytest.raises(VersionError) as error:
        run.read_config()
    assert str(error.value).endswith(
        f"(format 1, this is 2); delete it and train again: mixreg train --method erm --seed 3 "
        f"--output {tmp_path}"
    )
    assert run.corrupt() == ""


DAMAGE = ["", "{", "[]", "3", "null", '"text"', "[" * 100_000, '{"a": ' * 1000, "\xff", "{}"]
NO_CONFIG = ['{"format": 2, "config": []}', '{"format": 2, "config": {"alpha": null}}']
NO_CONFIG += ['{"format": 2, "config": {"gone": 1}}', '{"format": 2, "config": {"alpha": -1}}']
NO_CONFIG += ['{"format": 2}', '{"format": 2, "config": {"alpha": 1, "alpha": 2}}']
NO_RESULT = ['{"history": [], "seconds": 1}', '{"history": 3, "seconds": 1}']
NO_RESULT += ['{"history": [1], "seconds": 1}', '{"history": [{"epoch": "1"}], "seconds": 1}']
NO_RESULT += ['{"history": [{"a": NaN}], "seconds": 1}', '{"history": [{"a": 1}]}']
NO_RESULT += [f'{{"history": [{{"a": {"9" * 5000}}}], "seconds": 1}}']
NO_EVALUATION = ['{"corrections": []}', '{"results": {}}', '{"results": null}']


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        *[("config", c, "delete the directory") for c in DAMAGE + NO_CONFIG],
        *[("result", c, "run the same `mixreg train` again") for c in DAMAGE + NO_RESULT],
        *[("evaluation", c, "run `mixreg evaluate") for c in DAMAGE + NO_EVALUATION],
    ],
)
def test_damage_is_one_line_with_file_and_remedy(tmp_path, name, content, remedy):
    file = tmp_path / f"{name}.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError) as error:
        getattr(RunDirectory(tmp_path), f"read_{name}")()
    message = str(error.value)
    assert message.startswith(f"{file} is damaged: ")
    assert remedy in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [None, *DAMAGE, '{"python": 3}'])
def test_a_lost_environment_is_not_made_up(tmp_path, content):
    run = RunDirectory(tmp_path)
    run.prepare(TrainConfig())
    file = tmp_path / "environment.json"
    assert run.read_environment() == environment()
    file.unlink()
    if content is not None:
        file.write_text(content)
    run.prepare(TrainConfig())
    assert run.read_environment() == {}


def _truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [_truncate, lambda file: file.unlink()])
def test_the_model_is_made_again(run, damage):
    weights, history = load(run.weights.read_bytes()), run.read_result().history
    damage(run.weights)
    assert "model.safetensors" in run.corrupt()
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*; delete \S*result\.json"):
        load_run(run.path)
    (run.path / "result.json").unlink()
    run.weights.unlink(missing_ok=True)
    train(_config(run))
    assert run.read_result().history == history
    assert run.corrupt() == ""
    again = load(run.weights.read_bytes())
    assert all(again[key].equal(value) for key, value in weights.items())


@given(st.integers(0, 2**40), st.integers(0, 7))
def test_every_flipped_bit_is_noticed(finished, tmp_path_factory, place, bit):
    run = RunDirectory(tmp_path_factory.mktemp("flip"))
    shutil.copytree(finished.path, run.path, dirs_exist_ok=True)
    for file in (run.weights, run.checkpoint):
        data = bytearray(file.read_bytes())
        data[place % len(data)] ^= 1 << bit
        file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors .*`mixreg train`"):
        load_run(run.path)
    with pytest.raises(CheckpointError, match="delete it to train again from the start"):
        read_checkpoint(run.checkpoint)


@pytest.mark.parametrize(
    "damage", [_truncate, lambda f: f.write_bytes(b""), lambda f: f.write_text("x")]
)
def test_a_damaged_checkpoint_is_named_with_what_mends_it(run, damage):
    (run.path / "result.json").unlink()
    damage(run.checkpoint)
    assert "last.ckpt is damaged" in run.corrupt()
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged.*; delete it to train"):
        train(_config(run))
    run.checkpoint.unlink()
    train(_config(run))


def _unfit(**changes):
    return lambda stored: stored | changes


def _cut(stored):
    """Weights of other shapes."""
    return stored | {"state_dict": {k: v[:1] for k, v in stored["state_dict"].items()}}


UNFIT = [_cut, _unfit(history=None), _unfit(history=[1]), _unfit(history=[{"epoch": "x"}])]
UNFIT += [_unfit(state_dict=None), _unfit(state_dict={"a": 1}), _unfit(state_dict={})]
UNFIT += [_unfit(stats={"x_mean": 3}), _unfit(seconds=None), lambda stored: [stored]]
UNFIT += [lambda stored: {"weights": stored["state_dict"]}, lambda stored: stored["history"][:0]]


@pytest.mark.parametrize("change", UNFIT)
@pytest.mark.parametrize("write", [write_checkpoint, lambda file, stored: torch.save(stored, file)])
def test_a_checkpoint_of_something_else_is_not_resumed_from(run, change, write):
    (run.path / "result.json").unlink()
    write(run.checkpoint, change(read_checkpoint(run.checkpoint)))
    with pytest.raises(CheckpointError, match="delete it to train again from the start") as error:
        train(_config(run))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", [write_checkpoint, lambda file, stored: torch.save(stored, file)])
def test_what_a_checkpoint_pickles_is_not_executed(tmp_path, write):
    file = tmp_path / "last.ckpt"
    write(file, {"state_dict": {}, "net": torch.nn.Linear(2, 2)})
    with pytest.raises(CheckpointError, match="delete it to train again") as error:
        read_checkpoint(file)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


def test_lost_settings_need_another_directory(run):
    (run.path / "config.json").unlink()
    assert "config.json is missing" in run.corrupt()
    with pytest.raises(ConfigurationError, match="holds no run"):
        train(_config(run))


HOLDER = """
import sys, filelock
with filelock.FileLock(sys.argv[1], timeout=0):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_also_after_a_kill(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run.lock")]
    with RunDirectory(tmp_path).lock(), RunDirectory(tmp_path).lock():
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Timeout" in refused.stderr
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(BusyError, match="another process is working"):
            RunDirectory(tmp_path).lock()
        holder.kill()
        holder.wait()
    with RunDirectory(tmp_path).lock():
        pass


def test_the_environment_names_versions_and_hardware():
    about = environment()
    assert about["packages"]["torch"]
    assert about["cores"] >= 1
    json.dumps(about)
