import dataclasses

import pytest
import torch

from mixreg import CheckpointError, ConfigurationError
from mixreg.experiments.diagnose import diagnose_checkpoint
from mixreg.report import read_document
from mixreg.risk import approximate_mixup_risk, mixup_risk, modified_risk
from mixreg.settings import DiagnoseOptions
from mixreg.training import TrainConfig, load_data, load_run, train

TINY = {"samples": 30, "draws": 400, "pairs": 50, "progress": False}


def trained(path, **settings):
    small = {"data": "digits", "epochs": 2, "batch_size": 256, "progress": False}
    return train(TrainConfig(**(small | settings), output=path)).path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {method: trained(folder / method, method=method) for method in ("erm", "mixup")}


def diagnosed(output):
    return read_document(output / "diagnosis.json")


def test_the_report_and_its_numbers_are_written(runs, tmp_path):
    text, page = diagnose_checkpoint(
        DiagnoseOptions(checkpoint=runs["mixup"], output=tmp_path, **TINY)
    )
    assert page == tmp_path / "diagnosis.html"
    stored = diagnosed(tmp_path)
    told = " ".join(text.split())
    for sentence in (*(finding.text for finding in stored.findings), *stored.caveats):
        assert sentence in told
    assert {p.stem for p in (tmp_path / "figures").glob("*.svg")} == {
        "entropies",
        "jacobians",
        "risks",
    }
    assert stored.settings[0]["train"]["method"] == "mixup"
    assert stored.settings[0]["diagnose"]["draws"] == 400
    assert torch.__version__.startswith(stored.environment[0]["packages"]["torch"])
    assert stored.numbers["label_smoothing"] == 0.25
    for name in ("R1", "approximate Mixup risk (12)", "‖∇f‖_F", "smoothed labels"):
        assert name in text
        assert name in page.read_text()


def test_the_numbers_are_those_of_the_theory_on_unaugmented_training_samples(
    undrawn, runs, tmp_path
):
    options = DiagnoseOptions(checkpoint=runs["mixup"], output=tmp_path, exact=True, **TINY)
    diagnose_checkpoint(options)
    found = diagnosed(tmp_path).numbers
    run = load_run(runs["mixup"], {})
    data = load_data(dataclasses.replace(run.config, augment=False))
    x, y = next(iter(data.train_batches(30, seed=0, epoch=0)))
    everything = torch.cat([batch for batch, _ in run.data.batches("train", 500)])
    assert all((everything == image).flatten(1).all(1).any() for image in x)
    problem = (run.net, x, y, "cross_entropy", run.law)
    terms = approximate_mixup_risk(*problem)
    for name in ("r1", "r3", "r4", "total"):
        assert found[name] == pytest.approx(getattr(terms, name), rel=1e-6)
    assert found["modified"] == pytest.approx(modified_risk(*problem), rel=1e-9)
    assert found["mixup"] == pytest.approx(mixup_risk(*problem), rel=1e-9)
    assert found["gap"] == pytest.approx(found["mixup"] - found["total"])
    assert found["ci95_half_width"] == 0


def test_training_images_are_not_augmented(undrawn, runs, tmp_path, monkeypatch):
    asked = []

    def load(config):
        asked.append(config)
        return load_data(config)

    monkeypatch.setattr("mixreg.experiments.diagnose.load_data", load)
    diagnose_checkpoint(DiagnoseOptions(checkpoint=runs["mixup"], output=tmp_path, **TINY))
    assert [config.augment for config in asked] == [False]
    assert load_run(runs["mixup"], {}).config.augment


def test_the_same_options_give_the_same_numbers(undrawn, runs, tmp_path):
    options = DiagnoseOptions(checkpoint=runs["mixup"], output=tmp_path / "a", **TINY)
    diagnose_checkpoint(options)
    diagnose_checkpoint(dataclasses.replace(options, output=tmp_path / "b"))
    diagnose_checkpoint(dataclasses.replace(options, output=tmp_path / "c", seed=1))
    first, again, other = (diagnosed(tmp_path / name).numbers for name in "abc")
    assert first == again
    assert first["mixup"] != other["mixup"]
    assert first["modified"] != other["modified"]


def test_a_reference_enters_the_bound_and_erm_is_told_to_mix_nothing(undrawn, runs, tmp_path):
    options = DiagnoseOptions(checkpoint=runs["erm"], output=tmp_path, alpha=0.3, **TINY)
    text, _ = diagnose_checkpoint(dataclasses.replace(options, reference=runs["erm"]))
    entropy = diagnosed(tmp_path).numbers["entropy"]
    assert entropy["reference"] == entropy["predictions"] > 0
    text = " ".join(text.split())
    assert "the entropy of erm for p" in text
    assert "The method erm mixes nothing" in text
    assert "Beta(alpha=0.3)" in text


def test_everything_there_is_when_fewer_than_the_default(undrawn, tmp_path):
    run = trained(tmp_path / "run", data="two-moons", loss="logistic", method="mixup")
    text, page = diagnose_checkpoint(DiagnoseOptions(checkpoint=run, draws=100, progress=False))
    assert page.parent == run / "diagnosis"
    size = load_run(run, {}).data.size("train")
    assert diagnosed(page.parent).numbers["samples"] == size < 500
    assert "Mean entropies" in text


def test_a_file_of_weights_and_no_second_order(undrawn, runs, tmp_path):
    options = DiagnoseOptions(
        checkpoint=runs["mixup"] / "model.safetensors",
        data="digits",
        model="mlp",
        alpha=1.0,
        second_order=False,
        output=tmp_path,
        **TINY,
    )
    text, _ = diagnose_checkpoint(options)
    assert "R2 was left out" in text
    assert diagnosed(tmp_path).numbers["r2"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1}, "samples must be at least 2, got 1"),
        ({"draws": 1}, "draws must be at least 2, got 1"),
        ({"pairs": 1}, "pairs must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_refuses(tmp_path, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        DiagnoseOptions(checkpoint=tmp_path, **settings)


def test_refuses_more_samples_than_there_are(runs):
    options = DiagnoseOptions(checkpoint=runs["mixup"], samples=5000, progress=False)
    with pytest.raises(ConfigurationError, match="digits has 1211 samples; take at most"):
        diagnose_checkpoint(options)


def test_refuses_a_missing_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no run directory and no file of weights"):
        diagnose_checkpoint(DiagnoseOptions(checkpoint=tmp_path / "nothing"))


def test_refuses_a_reference_that_was_mixed(runs):
    options = DiagnoseOptions(checkpoint=runs["erm"], reference=runs["mixup"], **TINY)
    with pytest.raises(ConfigurationError, match=r"the method mixup; .* a run with the method erm"):
        diagnose_checkpoint(options)


def test_refuses_a_reference_of_other_data(runs, tmp_path):
    other = trained(tmp_path / "other", method="erm", seed=1, epochs=1)
    options = DiagnoseOptions(checkpoint=runs["mixup"], reference=other, **TINY)
    with pytest.raises(ConfigurationError, match=r"other data \(seed 1 there, 0 here\)"):
        diagnose_checkpoint(options)
