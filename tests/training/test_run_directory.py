import json
import subprocess
import sys

import pytest

from mixreg import CheckpointError, ConfigurationError
from mixreg.training import RunDirectory, TrainConfig
from mixreg.training.run_directory import BusyError, environment


def test_prepare_is_repeatable_for_the_same_settings(tmp_path):
    run = RunDirectory(tmp_path / "run")
    config = TrainConfig(seed=1)
    run.prepare(config)
    run.prepare(config)
    assert run.read_config() == config.identity()
    assert not run.finished


def test_another_configuration_is_refused_and_named(tmp_path):
    run = RunDirectory(tmp_path)
    run.prepare(TrainConfig(alpha=1.0))
    with pytest.raises(ConfigurationError, match=r"other settings \(alpha: 1.0 there, 0.5 here\)"):
        run.prepare(TrainConfig(alpha=0.5))


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="not empty and holds no run"):
        RunDirectory(tmp_path).prepare(TrainConfig())


def test_left_overs_of_a_killed_start_do_not_block(tmp_path):
    (tmp_path / "config.json.123.part").write_text("{")
    (tmp_path / "run.lock").touch()
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "checkpoint").mkdir()
    RunDirectory(tmp_path).prepare(TrainConfig())


def test_a_damaged_file_is_named(tmp_path):
    run = RunDirectory(tmp_path)
    run.prepare(TrainConfig())
    (tmp_path / "config.json").write_text('{"format": 1, "conf')
    with pytest.raises(CheckpointError, match=r"config\.json is damaged.*delete the directory"):
        run.read_config()


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"'])
def test_json_that_is_no_object_is_damage(tmp_path, content):
    run = RunDirectory(tmp_path)
    for name in ("config", "result", "evaluation"):
        (tmp_path / f"{name}.json").write_text(content)
        with pytest.raises(CheckpointError, match=rf"{name}\.json is damaged: it holds a .*; "):
            getattr(run, f"read_{name}")()


def test_settings_and_history_must_be_there(tmp_path):
    run = RunDirectory(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 1, "config": []}')
    with pytest.raises(CheckpointError, match=r"config\.json is damaged: it holds no settings"):
        run.read_config()
    for content in ("{}", '{"history": []}', '{"history": 3}'):
        (tmp_path / "result.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"result\.json is damaged: it holds no history"):
            run.read_result()


@pytest.mark.parametrize("content", [None, "[]", '{"python'])
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


def test_another_version_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"format": 99, "config": {}}))
    with pytest.raises(CheckpointError, match="written by another version"):
        RunDirectory(tmp_path).read_config()


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="holds no run"):
        RunDirectory(tmp_path / "nowhere").read_config()


HOLDER = """
import sys
from pathlib import Path
from mixreg.training import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_also_after_a_kill(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(BusyError, match="another process is working"):
            RunDirectory(tmp_path).lock()
        holder.kill()
        holder.wait()
    with RunDirectory(tmp_path).lock(), RunDirectory(tmp_path).lock():
        pass


def test_the_environment_names_versions_and_hardware():
    about = environment()
    assert about["packages"]["torch"]
    assert about["cores"] >= 1
    json.dumps(about)
