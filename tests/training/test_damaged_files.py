"""Files of a finished run that cannot be read: the message says what to do, and that works."""

import json

import pytest
import torch
from safetensors.torch import load

from mixreg import CheckpointError, ConfigurationError
from mixreg.experiments.evaluation import EvaluateOptions, evaluate_checkpoint
from mixreg.experiments.reporting.stored import read_run
from mixreg.training import TrainConfig, train
from mixreg.training.checkpoints import AtomicCheckpointIO
from mixreg.training.trained import load_run


@pytest.fixture
def config(tmp_path):
    return TrainConfig(
        data="two-moons", epochs=2, batch_size=100, progress=False, output=tmp_path / "run"
    )


@pytest.fixture
def run(config):
    return train(config)


def _tensors(file):
    return load(file.read_bytes())


def _truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [_truncate, lambda file: file.unlink()])
@pytest.mark.parametrize("name", ["model.safetensors", "statistics.safetensors"])
def test_weights_and_statistics_are_made_again(run, config, name, damage):
    file, result = run.path / name, run.path / "result.json"
    before, history = _tensors(file), run.read_result().history
    damage(file)
    with pytest.raises(CheckpointError, match=rf"{name}.*; delete \S*result\.json, and {name}"):
        load_run(run.path, {})
    result.unlink()
    file.unlink(missing_ok=True)
    train(config)
    assert run.read_result().history == history
    again = _tensors(file)
    assert all(again[key].equal(value) for key, value in before.items())
    load_run(run.path, {})


def test_the_result_is_made_again(run, config):
    history, weights = run.read_result().history, _tensors(run.weights)
    file = run.path / "result.json"
    file.write_text("[")
    with pytest.raises(CheckpointError, match=r"delete it and run the same `mixreg train` again"):
        run.read_result()
    file.unlink()
    train(config)
    assert run.read_result().history == history
    assert all(_tensors(run.weights)[key].equal(value) for key, value in weights.items())


def test_damaged_settings_need_another_directory(run, config):
    file = run.path / "config.json"
    file.write_text("{")
    with pytest.raises(CheckpointError, match=rf"delete the directory {run.path} to train again"):
        train(config)
    file.unlink()
    with pytest.raises(ConfigurationError, match="holds no run"):
        train(config)


@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_a_run_without_its_environment_is_evaluated(run, content):
    file = run.path / "environment.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    _, page = evaluate_checkpoint(EvaluateOptions(checkpoint=run.path))
    assert page.is_file()
    assert read_run(run.path).result.environment == {}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"corrections": []}'])
def test_the_evaluation_is_made_again(run, content):
    run.evaluation.write_text(content)
    with pytest.raises(CheckpointError, match=rf"is damaged.*; run `mixreg evaluate {run.path}`"):
        run.read_evaluation()
    evaluate_checkpoint(EvaluateOptions(checkpoint=run.path))
    run.read_evaluation()
    json.loads(run.evaluation.read_text())


@pytest.mark.parametrize("stored", [[1, 2], {"net": torch.nn.Linear(2, 2)}, None])
def test_a_checkpoint_of_something_else_is_not_resumed_from(tmp_path, stored):
    file = tmp_path / "last.ckpt"
    torch.save(stored, file)
    with pytest.raises(CheckpointError, match="delete it to train again from the start") as error:
        AtomicCheckpointIO().load_checkpoint(file)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)
