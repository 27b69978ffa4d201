import csv
import json

import pytest

from mixreg import ConfigurationError, MixregError
from mixreg.data.published import MissingDataError
from mixreg.experiments import _sweep
from mixreg.experiments.compare import CompareConfig, compare
from mixreg.report import read_document

pytestmark = pytest.mark.usefixtures("no_pictures")
SMALL = {"data": "digits", "epochs": 2, "batch_size": 256, "progress": False, "jobs": 1}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    config = CompareConfig(**SMALL, seeds=2, output=tmp_path_factory.mktemp("compare"))
    return config, *compare(config)


def test_the_report_and_its_data_are_written(comparison):
    config, text, page = comparison
    for name in ("erm", "mixup", "rescaled", "temperature"):
        assert name in text
    assert page.is_file()
    assert not read_document(config.output / "metrics.json").missing
    with (config.output / "table.csv").open() as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"erm", "mixup"}
    assert list((config.output / "figures").glob("*.svg"))


def test_done_runs_are_not_run_again_and_new_seeds_are_added(comparison):
    output = comparison[0].output
    weights = output / "runs" / "mixup-seed1" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    text, _ = compare(CompareConfig(**SMALL, seeds=3, output=output))
    assert weights.stat().st_mtime_ns == before
    assert (output / "runs" / "mixup-seed2" / "result.json").is_file()
    assert "3 seeds" in text


def test_a_seed_left_out_is_named_on_the_page(comparison, monkeypatch):
    def nothing(run):
        raise MissingDataError("no digits here")

    monkeypatch.setattr(_sweep, "load_data", nothing)
    output = comparison[0].output
    with pytest.raises(MixregError, match="no digits here"):
        compare(CompareConfig(**SMALL, seeds=9, output=output))
    _, page = compare(CompareConfig(**SMALL, seeds=9, output=output, skip_missing=True))
    told = "seed 8 is left out: no digits here"
    assert told in page.read_text()
    assert read_document(output / "metrics.json").missing[-1] == told


def test_a_damaged_evaluation_is_made_again(comparison):
    config, _, _ = comparison
    file = config.output / "runs" / "erm-seed0" / "evaluation.json"
    whole = file.read_text()
    file.write_text(whole[:-20])
    compare(config)
    assert file.read_text() == whole


def test_an_evaluation_stored_before_a_correction_was_there_is_made_again(comparison):
    config, _, _ = comparison
    file = config.output / "runs" / "erm-seed0" / "evaluation.json"
    whole = file.read_text()
    before = json.loads(whole)
    del before["results"]["two-views"], before["choice"]
    file.write_text(json.dumps(before))
    compare(config)
    assert file.read_text() == whole


def test_every_seed_is_paired_over_the_methods(comparison):
    assert {(run.method, run.seed) for run in comparison[0].runs()} == {
        (method, seed) for method in ("erm", "mixup") for seed in (0, 1)
    }


def test_other_settings_in_the_same_directory_are_refused_once(comparison):
    output = comparison[0].output
    with pytest.raises(MixregError) as refusal:
        compare(CompareConfig(**SMALL, seeds=2, alpha=0.5, output=output))
    assert str(refusal.value).count("other settings (alpha: 1.0 there, 0.5 here)") == 1


def test_a_failing_run_is_told_and_the_others_are_kept(tmp_path):
    foreign = tmp_path / "runs" / "erm-seed0"
    foreign.mkdir(parents=True)
    (foreign / "notes.txt").write_text("not a run")
    with pytest.raises(MixregError, match=r"(?s)1 of 2 runs failed.*erm seed 0.*holds no run"):
        compare(CompareConfig(**SMALL, seeds=1, output=tmp_path))
    assert (tmp_path / "runs" / "mixup-seed0" / "evaluation.json").is_file()


@pytest.mark.parametrize("content", [{"format": "mixreg.Report/99"}, {"somebody": "else"}])
def test_a_result_of_others_is_not_replaced_and_nothing_is_trained(tmp_path, content):
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(MixregError, match=r"metrics\.json"):
        compare(CompareConfig(**SMALL, seeds=1, output=tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": []}, "methods must be named once each"),
        ({"methods": ["erm", "erm"]}, "methods must be named once each"),
        ({"methods": ["ermm"]}, "did you mean 'erm'"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"devices": 2}, "--devices 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        CompareConfig(**settings)
