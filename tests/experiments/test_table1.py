import json

import pytest

from mixreg import ConfigurationError, MixregError
from mixreg.data.location import MissingDataError
from mixreg.experiments.sweeping import missing
from mixreg.experiments.table1 import Table1Config, table1
from mixreg.experiments.table1.measurement import read_measurements
from mixreg.training import METHODS, RunDirectory

SMALL = {
    "data": "two-moons",
    "epochs": 2,
    "progress": False,
    "methods": ["erm", "mixup"],
    "noise_levels": [0.0, 0.3],
    "input_scales": [0.5, 1.5],
    "jacobian_samples": 20,
    "pairs": 30,
    "jobs": 1,
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    output = tmp_path_factory.mktemp("table1")
    config = Table1Config(**SMALL, seeds=2, output=output)
    return config, *table1(config)


def stored(config):
    return json.loads((config.output / "table1.json").read_text())


def test_the_table_has_its_rows_and_columns(measured):
    _, text, page = measured
    for words in ("temperature scaling", "mixup, rescaled", "Jacobian reg.", "Input normalization"):
        assert words in text
        assert words in page.read_text()
    rows = text.splitlines()
    assert any(line.startswith("  mixup ") and line.count("| ✓") == 4 for line in rows)


def test_the_numbers_are_those_of_the_runs(measured):
    config, _, _ = measured
    found = {row["row"]: row for row in stored(config)["rows"]}
    assert next(iter(found)) == "erm"
    run = config.output / "runs" / "mixup-noise0-seed1"
    raw = read_measurements(RunDirectory(run))["raw"]
    effects = found["mixup"]["effects"]
    assert effects["ece"]["by_seed"]["1"] == raw.ece
    assert effects["scale_drop"]["by_seed"]["1"] == pytest.approx(
        raw.accuracy - sum(raw.scaled_accuracy) / 2
    )
    noisy = read_measurements(RunDirectory(config.output / "runs" / "mixup-noise0.3-seed1"))["raw"]
    assert effects["noise_drop"]["by_seed"]["1"] == pytest.approx(raw.accuracy - noisy.accuracy)
    assert found["mixup"]["paper"] == sorted(
        ["calibration", "input-normalization", "jacobian", "label-noise"]
    )
    assert found["mixup, rescaled"]["paper"] is None
    assert stored(config)["config"]["noise_levels"] == [0.0, 0.3]


def test_temperature_scaling_changes_no_scale_free_number(measured):
    config, _, _ = measured
    row = next(row for row in stored(config)["rows"] if row["row"] == "temperature scaling")
    for name in ("accuracy", "roughness", "noise_drop", "scale_drop"):
        assert row["effects"][name]["difference_to_erm"]["mean"] == 0
    assert row["effects"]["jacobian"]["difference_to_erm"]["mean"] != 0
    assert row["verdicts"]["jacobian"] == "not shown"


def test_a_seed_left_out_is_a_hole_on_the_page(measured, monkeypatch):
    def nothing(run):
        raise MissingDataError("no moons here")

    monkeypatch.setattr(missing, "load_data", nothing)
    config = Table1Config(**SMALL, seeds=3, output=measured[0].output, skip_missing=True)
    text, page = table1(config)
    for shown in (text, page.read_text()):
        assert "seed 2 is left out: no moons here" in shown


def test_done_runs_are_kept_and_new_settings_measured_again(measured):
    config, _, _ = measured
    run = config.output / "runs" / "erm-noise0-seed0"
    files = [run / name for name in ("model.safetensors", "table1.json")]
    before = [file.stat().st_mtime_ns for file in files]
    table1(config)
    assert [file.stat().st_mtime_ns for file in files] == before
    other = Table1Config(**(SMALL | {"input_scales": [0.8]}), seeds=2, output=config.output)
    table1(other)
    after = [file.stat().st_mtime_ns for file in files]
    assert after[0] == before[0]
    assert after[1] > before[1]
    assert len(read_measurements(RunDirectory(run))["raw"].scaled_accuracy) == 1


def test_a_failing_run_is_named_with_its_noise(tmp_path):
    foreign = tmp_path / "runs" / "erm-noise0.3-seed0"
    foreign.mkdir(parents=True)
    (foreign / "notes.txt").write_text("not a run")
    with pytest.raises(MixregError, match=r"(?s)1 of 4 runs failed.*erm noise 0\.3 seed 0"):
        table1(Table1Config(**SMALL, seeds=1, output=tmp_path))


def test_methods_that_are_there_are_the_default():
    methods = Table1Config().methods
    assert methods[0] == "erm"
    assert set(methods) <= set(METHODS)
    assert {"label-smoothing", "dropout", "mixup"} < set(methods)


def test_every_run_has_its_own_directory_and_noise():
    config = Table1Config(**SMALL, seeds=3)
    runs = config.runs()
    assert len({run.output for run in runs}) == len(runs) == 12
    assert {run.label_noise for run in runs} == {0.0, 0.3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["mixup"]}, "'erm' is among them"),
        ({"methods": ["erm", "erm"]}, "named once each"),
        ({"methods": ["erm", "mixip"]}, "did you mean 'mixup'"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"noise_levels": [0.2]}, "with 0 among them"),
        ({"noise_levels": [0.0, 0.2, 0.2]}, "distinct"),
        ({"noise_levels": [0.0, 1.0]}, r"in \[0, 1\)"),
        ({"input_scales": []}, "distinct"),
        ({"input_scales": [1.0]}, "other than 1"),
        ({"input_scales": [-0.5]}, "positive"),
        ({"jacobian_samples": 1}, "at least 2"),
        ({"pairs": 1}, "at least 2"),
        ({"jobs": 0}, "at least 1"),
        ({"devices": 2, "batch_size": 64}, "side by side"),
        ({"label_noise": 0.1}, "noise_levels sets it"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        Table1Config(**settings)
