"""An evaluation belongs to the weights, the law and the data that it names."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mixreg import CheckpointError
from mixreg.experiments import EvaluateOptions, evaluate_checkpoint
from mixreg.experiments import evaluation as module
from mixreg.experiments.evaluation import beside
from mixreg.training import TrainConfig, train

BARE = {"data": "digits", "model": "mlp", "alpha": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluated") / "run"
    settings = {"epochs": 1, "batch_size": 256, "progress": False}
    return train(TrainConfig(**settings, output=output)).path


def metrics(checkpoint, **options):
    _, page = evaluate_checkpoint(EvaluateOptions(checkpoint=checkpoint, **options))
    (found,) = json.loads((page.parent / "metrics.json").read_text())["runs"]
    return found["evaluation"]


def weights(run, path, factor=1.0):
    state = {name: factor * value for name, value in load_file(run / "model.safetensors").items()}
    save_file(state, path)
    return path


def test_files_in_one_folder_have_reports_of_their_own(run, tmp_path):
    first = weights(run, tmp_path / "a.safetensors")
    second = weights(run, tmp_path / "b.safetensors", 3.0)
    assert metrics(first, **BARE) != metrics(second, **BARE)
    assert (tmp_path / "a-evaluation" / "report.html").is_file()
    assert (tmp_path / "b-evaluation" / "report.html").is_file()


def test_every_report_has_its_place(tmp_path):
    assert beside(tmp_path, "diagnosis") == tmp_path / "diagnosis"
    assert beside(tmp_path / "net.v2.pt", "diagnosis") == tmp_path / "net.v2-diagnosis"


@pytest.mark.parametrize("options", [{"alpha": 0.1}, {"mixing_probability": 0.5}], ids=str)
def test_another_law_takes_other_logits(run, tmp_path, options):
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    before = metrics(run, alpha=0.5, output=kept)
    found = metrics(run, **({"alpha": 0.5} | options), output=kept)
    assert found != before
    assert found == metrics(run, **({"alpha": 0.5} | options), output=fresh)


def test_overwritten_weights_are_evaluated_anew(run, tmp_path):
    path = weights(run, tmp_path / "model.safetensors")
    before = metrics(path, **BARE)
    weights(run, path, 3.0)
    assert metrics(path, **BARE) != before


def test_logits_are_computed_once(run, tmp_path, monkeypatch):
    before = metrics(run, output=tmp_path)
    monkeypatch.setattr(module, "predict", None)
    assert metrics(run, output=tmp_path) == before


def test_weights_that_are_not_finite(run, tmp_path):
    path = weights(run, tmp_path / "model.safetensors", torch.nan)
    with pytest.raises(CheckpointError, match="cannot be evaluated: logits must be finite"):
        metrics(path, **BARE)
