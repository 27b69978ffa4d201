"""Table 1: what is measured of a run, what its numbers say, and the experiment as a whole."""

import dataclasses
from pathlib import Path

import pytest
import torch

from mixreg import CheckpointError, MixregError, RescaledModel
from mixreg._random import generator
from mixreg.calibration import fit_temperature
from mixreg.data.published import MissingDataError
from mixreg.diagnostics import jacobian_norms, roughness
from mixreg.evaluation import metrics
from mixreg.experiments import _sweep, table1
from mixreg.experiments.table1 import COLUMNS, ERM, PAPER, PRESETS, Measured, Preset, Row
from mixreg.report import read_document
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, TrainConfig, load_run, train

SMALL = Preset(
    recipe={"data": "digits", "epochs": 2},
    methods=("erm", "mixup"),
    seeds=2,
    noise_levels=(0.0, 0.3),
    input_scales=(0.5, 1.5),
    jacobian_samples=40,
    pairs=50,
)


# -- one run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    settings = {**SMALL.recipe, "progress": False}
    configs = {m: TrainConfig(**settings, method=m, output=folder / m) for m in SMALL.methods}
    return {method: load_run(train(config).path, {}) for method, config in configs.items()}


def everything(trained, split):
    x, y = zip(*trained.data.batches(split, 1000), strict=True)
    return torch.cat(x), torch.cat(y)


@torch.no_grad()
def test_the_raw_prediction(runs):
    values = table1.measure(runs["mixup"], SMALL).values["raw"]
    net, mean = runs["mixup"].net, runs["mixup"].stats.x_mean.float()
    x, y = everything(runs["mixup"], "test")
    expected = metrics(net(x), y)
    assert values["accuracy"] == expected.accuracy
    assert values["ece"] == pytest.approx(expected.ece, rel=1e-5)
    for s in SMALL.input_scales:
        scaled = metrics(net(mean + s * (x - mean)), y)
        assert values[f"nll at scale {s:g}"] == pytest.approx(scaled.nll, rel=1e-5)
        assert values[f"accuracy at scale {s:g}"] == scaled.accuracy
    assert "temperature" not in values


def test_the_rescaled_prediction_has_the_slopes_of_equation_22(runs):
    trained = runs["mixup"]
    values = table1.measure(trained, dataclasses.replace(SMALL, jacobian_samples=10_000)).values
    model = RescaledModel(trained.net, trained.stats, trained.law)
    x, y = everything(trained, "test")
    assert values["rescaled"]["nll"] == pytest.approx(metrics(model(x), y).nll, rel=1e-5)
    shrunk = trained.stats.x_mean.float() + 0.75 * (x - trained.stats.x_mean.float())
    norms = jacobian_norms(trained.net, shrunk).outputs.mean()
    assert values["rescaled"]["jacobian"] == pytest.approx(float(norms), rel=1e-4)
    source = generator("table 1", "pairs")
    rough = roughness(trained.net, shrunk, generator=source, pairs=SMALL.pairs).value
    assert values["rescaled"]["roughness"] == pytest.approx(rough, rel=1e-4)


def test_temperature_scaling_is_measured_for_erm_alone_and_changes_no_decision(runs):
    assert set(table1.measure(runs["mixup"], SMALL).values) == {"raw", "rescaled"}
    values = table1.measure(runs["erm"], SMALL).values
    raw, cooled = values["raw"], values["temperature"]
    held_out = everything(runs["erm"], "validation")
    with torch.no_grad():
        temperature = fit_temperature(runs["erm"].net(held_out[0]), held_out[1])
    assert cooled["temperature"] == pytest.approx(temperature, rel=1e-5)
    assert cooled["jacobian"] == pytest.approx(raw["jacobian"] / temperature, rel=1e-5)
    same = {"accuracy", "roughness", "accuracy at scale 0.5", "accuracy at scale 1.5"}
    assert {name for name in raw if raw[name] == cooled[name]} == same


def test_jacobians_are_taken_at_the_same_samples_for_all(runs):
    once = table1.measure(runs["erm"], SMALL)
    assert once == table1.measure(runs["erm"], SMALL)
    other = table1.measure(runs["erm"], dataclasses.replace(SMALL, jacobian_samples=41))
    assert other.values["raw"]["jacobian"] != once.values["raw"]["jacobian"]
    assert other.values["raw"]["nll"] == once.values["raw"]["nll"]


def test_numbers_are_stored_and_a_damaged_file_is_named_and_made_again(runs):
    run, config = runs["mixup"].run, runs["mixup"].config
    table1.measure_run(SMALL, run, config)
    assert table1.read_measured(run) == table1.measure(runs["mixup"], SMALL)
    (run.path / "table1.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"table1\.json is damaged.*; delete it"):
        table1.read_measured(run)
    table1.measure_run(SMALL, run, config)
    assert table1.read_measured(run).values["raw"]["accuracy"] > 0.5


def test_one_logit_and_two_classes(tmp_path):
    moons = {"data": "two-moons", "loss": "logistic", "epochs": 2, "progress": False}
    trained = load_run(train(TrainConfig(**moons, output=tmp_path)).path, {})
    values = table1.measure(trained, SMALL).values["rescaled"]
    x, y = everything(trained, "test")
    with torch.no_grad():
        u = RescaledModel(trained.net, trained.stats, trained.law, "sigmoid")(x)
    assert values["nll"] == pytest.approx(metrics(torch.cat([0 * u, u], 1), y).nll, rel=1e-5)


# -- what the numbers say --------------------------------------------------------------------------

PLAIN = {"accuracy": 0.9, "nll": 0.4, "ece": 0.05, "roughness": 1.0, "jacobian": 8.0}
PLAIN |= {"probability_jacobian": 0.1, "accuracy at scale 0.5": 0.8, "accuracy at scale 1.5": 0.7}


def made(clean=None, noisy=None, seeds=5, spread=1e-4, method="mixup", noises=(0.0, 0.4)):
    """Runs of ERM, and of a method with the given changes; all differ a little between seeds."""
    runs, measured = [], []
    for seed in range(seeds):
        for name, sign in (("erm", 1), (method, -1)):
            for noise in noises:
                changes = {} if name == "erm" else (noisy if noise else clean) or {}
                values = PLAIN | ({"accuracy": 0.7} if noise else {}) | changes
                jitter = sign * (1 + noise) * spread * (seed - (seeds - 1) / 2)
                moved = {k: v + jitter * (1 + ("scale" in k)) for k, v in values.items()}
                runs.append(TrainConfig(method=name, seed=seed, label_noise=noise))
                measured.append(Measured(SMALL.input_scales, 40, 50, {"raw": moved}))
    return runs, measured


def verdicts(*changes, **settings):
    records = table1.records_of(*made(*changes, **settings))
    effects = table1.effects_of(records)[Row("mixup", "raw")]
    return {column: table1.verdict(effects, column) for column in COLUMNS}


@pytest.mark.parametrize(
    ("column", "clean", "noisy", "expected"),
    [
        ("calibration", {"ece": 0.03}, {}, "shown"),
        ("calibration", {"ece": 0.03, "nll": 0.3}, {}, "shown"),
        ("calibration", {"ece": 0.03, "nll": 0.6}, {}, "mixed"),
        ("calibration", {"ece": 0.07}, {}, "opposite"),
        ("calibration", {"ece": 0.07, "nll": 0.3}, {}, "mixed"),
        ("calibration", {"nll": 0.3}, {}, "not shown"),
        ("jacobian", {"roughness": 0.8}, {}, "shown"),
        ("jacobian", {"jacobian": 4.0}, {}, "not shown"),
        ("jacobian", {"roughness": 1.2, "jacobian": 4.0}, {}, "mixed"),
        ("label-noise", {}, {"accuracy": 0.8}, "shown"),
        ("label-noise", {}, {"accuracy": 0.6}, "opposite"),
        ("label-noise", {"accuracy": 0.7}, {"accuracy": 0.6}, "mixed"),
        (
            "input-normalization",
            {"accuracy at scale 0.5": 0.9, "accuracy at scale 1.5": 0.8},
            {},
            "shown",
        ),
        ("input-normalization", {"accuracy": 0.75}, {}, "shown"),
        (
            "input-normalization",
            {"accuracy": 0.5, "accuracy at scale 0.5": 0.5, "accuracy at scale 1.5": 0.5},
            {},
            "mixed",
        ),
    ],
)
def test_a_verdict_needs_its_claim_and_no_guard_against_it(column, clean, noisy, expected):
    assert verdicts(clean, noisy)[column] == expected


def test_nothing_is_shown_by_one_seed_or_within_the_spread_or_without_a_number():
    changes = {"ece": 0.03, "roughness": 0.5}
    assert verdicts(changes, seeds=1)["calibration"] == "not shown"
    assert verdicts(changes, seeds=2, spread=0.1)["calibration"] == "not shown"
    assert verdicts(changes)["calibration"] == "shown"
    assert set(verdicts({}).values()) == {"not shown"}
    assert verdicts({}, noises=(0.0,))["label-noise"] == "not measured"
    runs, measured = made(changes)
    del measured[-2].values["raw"]["roughness"]  # of one seed
    effects = table1.effects_of(table1.records_of(runs, measured))[Row("mixup", "raw")]
    assert "roughness" not in effects
    assert table1.verdict(effects, "jacobian") == "not measured"


def test_differences_are_paired_by_seed():
    records = table1.records_of(*made({"nll": 0.3}, spread=1e-3))
    ours, erm = (table1.by_seed(records, row, "nll") for row in (Row("mixup", "raw"), ERM))
    effect = table1.effects_of(records)[Row("mixup", "raw")]["nll"]
    assert effect.difference.mean == pytest.approx(sum(ours[k] - erm[k] for k in range(5)) / 5)
    assert (effect.difference.n, effect.judgement) == (5, "better")
    drop = table1.by_seed(records, ERM, "noise_drop")
    assert drop[1] == pytest.approx(0.2 + 0.4e-3)


def page(*changes, monkeypatch, **settings):
    monkeypatch.setattr(table1, "pictures", lambda *_: ())
    runs, measured = made(*changes, **settings)
    return table1.document(table1.records_of(runs, measured), SMALL, [])


def test_the_page_says_what_is_shown_and_what_the_paper_has(monkeypatch):
    study = page({"ece": 0.03, "roughness": 1.2, "jacobian": 9.0}, monkeypatch=monkeypatch)
    told = [finding.text for finding in study.findings]
    assert told[0].startswith("mixup, calibration: shown, ✓ in the paper (ECE −2.00 points, 95%")
    assert told[1].startswith("mixup, jacobian reg.: the opposite is shown, ✓ in the paper")
    assert "no effect that these 5 seeds can show, ✓ in the paper" in told[2]
    cells = study.tables[0].rows[0][1]
    assert [cell.text for cell in cells] == ["✓ | ✓", "✗ | ✓", "· | ✓", "· | ✓"]
    assert [cell.judgement for cell in cells][:2] == ["better", "worse"]
    assert [table.name for table in study.tables[1:]] == [*COLUMNS, "further"]
    baseline, mixup = study.tables[1].rows
    assert (baseline[1][0].text, baseline[1][1].text) == ("5.00 ± 0.02", "")
    assert mixup[1][1].text.startswith("−2.00 (−2.04 to −1.96)")
    assert mixup[1][1].judgement == "better"


def test_what_the_paper_does_not_know_is_told_only_when_shown(monkeypatch):
    settings = {"method": "label-smoothing", "monkeypatch": monkeypatch}
    told = [finding.text for finding in page({"roughness": 0.8}, **settings).findings]
    assert len(told) == 2
    assert "calibration: no effect" in told[0]
    assert "jacobian reg.: shown, not known to the paper" in told[1]


def test_a_row_without_the_paper_is_not_compared_with_it():
    runs, measured = made({"ece": 0.03})
    for run, m in zip(runs, measured, strict=True):
        if run.method == "mixup":
            m.values["rescaled"] = m.values["raw"]
    effects = table1.effects_of(table1.records_of(runs, measured))
    verdict_table = next(table1.tables(effects, 5))
    assert dict(verdict_table.rows)["mixup, rescaled"][0].text == "✓ | –"
    told = [finding.text for finding in table1.findings(effects, 5)]
    assert not any("rescaled" in text and "paper" in text for text in told)
    assert Row("mixup", "rescaled") not in PAPER


def test_caveats_count_the_intervals_and_the_bounds(monkeypatch):
    caveats = {n: " ".join(page(seeds=n, monkeypatch=monkeypatch).caveats) for n in (1, 3, 5)}
    assert "holds 10 paired 95% intervals" in caveats[5]
    assert "one seed" in caveats[1]
    assert "With 3 seeds" in caveats[3]
    (bound,) = table1.bounds(["it is sure", None, "it is sure"])
    assert "In 2 of 3 runs it is sure; there the temperature is a bound" in bound


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["effects", "input-scale", "label-noise"]),
        ({"noises": (0.0,)}, ["effects", "input-scale"]),
        ({"method": "erm"}, []),
    ],
)
def test_pictures_need_what_they_show(settings, names):
    preset = dataclasses.replace(SMALL, noise_levels=settings.get("noises", (0.0, 0.4)))
    records = table1.records_of(*made(**settings))
    drawn = table1.pictures(records, table1.effects_of(records), preset)
    assert [picture.name for picture in drawn] == names


# -- the experiment --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    moons = dataclasses.replace(SMALL, recipe={"data": "two-moons", "epochs": 2})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smoke", moons)
        output = tmp_path_factory.mktemp("table1")
        options = ReproduceOptions(name="table1", scale="smoke", output=output, jobs=1)
        yield options, *table1.reproduce(options)


def test_the_table_has_its_rows_and_the_numbers_of_the_runs(finished):
    options, text, page = finished
    for words in ("temperature scaling", "mixup, rescaled", "Jacobian reg.", "Input normalization"):
        assert words in text
        assert words in page.read_text()
    assert any(line.startswith("  mixup ") and line.count("| ✓") == 4 for line in text.splitlines())
    records = read_document(options.directory / "table1.json").records
    clean, noisy = (
        table1.read_measured(RunDirectory(options.directory / "runs" / f"mixup-noise{q}-seed1"))
        for q in ("0", "0.3")
    )
    row, raw = Row("mixup", "raw"), clean.values["raw"]
    assert table1.by_seed(records, row, "ece")[1] == raw["ece"]
    drop = raw["accuracy"] - noisy.values["raw"]["accuracy"]
    assert table1.by_seed(records, row, "noise_drop")[1] == pytest.approx(drop)
    scaled = (raw["accuracy at scale 0.5"] + raw["accuracy at scale 1.5"]) / 2
    assert table1.by_seed(records, row, "scaled_accuracy")[1] == pytest.approx(scaled)


def test_done_runs_are_kept_and_new_settings_measured_again(finished, monkeypatch):
    options, text, page = finished
    run = options.directory / "runs" / "erm-noise0-seed0"
    files = [run / name for name in ("model.safetensors", "table1.json")]
    before = [file.stat().st_mtime_ns for file in files]
    assert table1.reproduce(options) == (text, page)
    assert [file.stat().st_mtime_ns for file in files] == before
    other = dataclasses.replace(PRESETS["smoke"], input_scales=(0.8,))
    monkeypatch.setitem(PRESETS, "smoke", other)
    table1.reproduce(options)
    after = [file.stat().st_mtime_ns for file in files]
    assert after[0] == before[0]
    assert after[1] > before[1]
    assert table1.read_measured(RunDirectory(run)).input_scales == (0.8,)


def test_a_seed_left_out_is_a_hole_on_the_page(finished, monkeypatch):
    def nothing(run):
        raise MissingDataError("no moons here")

    monkeypatch.setattr(_sweep, "load_data", nothing)
    text, page = table1.reproduce(dataclasses.replace(finished[0], seeds=3, skip_missing=True))
    assert all("seed 2 is left out: no moons here" in told for told in (text, page.read_text()))


def test_a_failing_run_is_named_with_its_noise(finished, tmp_path):
    foreign = tmp_path / "runs" / "erm-noise0.3-seed0"
    foreign.mkdir(parents=True)
    (foreign / "notes.txt").write_text("not a run")
    options = dataclasses.replace(finished[0], output=tmp_path, seeds=1)
    with pytest.raises(MixregError, match=r"(?s)1 of 4 runs failed.*erm-noise0\.3-seed0"):
        table1.reproduce(options)


@pytest.mark.parametrize("size", ["paper", "cpu", "smoke"])
def test_every_preset_has_runs_of_their_own_and_a_plan(size):
    options = ReproduceOptions(name="table1", scale=size, output=Path("nowhere"))
    preset = PRESETS[size]
    runs = table1.runs(options)
    count = preset.seeds * len(preset.noise_levels) * len(preset.methods)
    assert len({run.output for run in runs}) == len(runs) == count
    assert {run.label_noise for run in runs} == set(preset.noise_levels) > {0.0}
    assert preset.methods[0] == "erm"
