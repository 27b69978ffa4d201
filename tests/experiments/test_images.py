"""The figures on image classifiers: their runs, and their numbers against the stored networks."""

import dataclasses
import json
import shutil

import pytest
import torch

from mixreg import (
    Beta,
    RescaledModel,
    TrainingStatistics,
    approximate_mixup_risk,
    cross_entropy,
    modified_risk,
)
from mixreg._errors import DataError
from mixreg.data import load
from mixreg.experiments.images import (
    IMAGE_FIGURES,
    SCALES,
    figure_trainings,
    image_figure,
    with_seeds,
)
from mixreg.experiments.images.fig4 import fig4
from mixreg.experiments.images.outcomes import Outcomes, read_outcomes
from mixreg.experiments.images.settings import Setting
from mixreg.experiments.images.testing import Sentence, difference, half_distance
from mixreg.experiments.sweeping import SweepSettings
from mixreg.models import build
from mixreg.training import load_weights, recipe

SMOKE = SCALES["smoke"]
ONE_JOB = SweepSettings(jobs=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All figures at the smallest scale, in one directory."""
    folder = tmp_path_factory.mktemp("images")
    texts = {
        figure: image_figure(figure, SMOKE, folder, sweeping=ONE_JOB) for figure in IMAGE_FIGURES
    }
    return folder, texts


def _study(folder, figure):
    return json.loads((folder / figure / f"{figure}.json").read_text())["study"]


def _network(run):
    data = load("digits", seed=run.seed)
    net = build("mlp", input_shape=data.input_shape, num_outputs=10)
    return load_weights(run.directory / "model.safetensors", net).eval(), data


def _nll(net, data):
    x, y = (torch.cat(parts) for parts in zip(*data.batches("test", 100), strict=True))
    with torch.no_grad():
        return float(cross_entropy(torch.eye(10)[y], net(x)).mean())


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
def test_figures_share_directories_only_for_equal_runs(scale, tmp_path):
    runs = [r for figure in IMAGE_FIGURES for r in figure_trainings(figure, scale, tmp_path, None)]
    by_directory = {}
    for run in runs:
        assert by_directory.setdefault(run.directory, run) == run


def test_runs_of_figure_4_at_the_cpu_scale(tmp_path):
    runs = figure_trainings("fig4", SCALES["cpu"], tmp_path, None)
    small = [run for run in runs if run.model == "lenet"]
    counted = [(run.data, run.method, run.alpha) for run in small]
    for data in ("cifar10", "cifar100", "fashion-mnist"):
        assert counted.count((data, "erm", 1.0)) == 5
        assert all(counted.count((data, "mixup", alpha)) == 5 for alpha in (0.2, 0.5, 1.0, 2.0))
    assert {run.epochs for run in small} == {30}
    residual = [run for run in runs if run.model != "lenet"]
    assert {(run.data, run.model, run.alpha) for run in residual} == {("cifar10", "resnet20", 1.0)}
    assert sorted(run.method for run in residual) == ["erm", "erm", "mixup", "mixup"]


def test_repetitions_can_be_chosen(tmp_path):
    scale = with_seeds(SCALES["cpu"], 2)
    for figure in IMAGE_FIGURES:
        chosen = figure_trainings(figure, scale, tmp_path, None)
        usual = figure_trainings(figure, SCALES["cpu"], tmp_path, None)
        assert {run.seed for run in chosen} == {0, 1}
        assert {run.directory for run in chosen} <= {run.directory for run in usual}


def test_paper_scale_has_the_papers_settings(tmp_path):
    runs = figure_trainings("fig4", SCALES["paper"], tmp_path, None)
    by_data = {run.data: run for run in runs}
    for data, name in (
        ("cifar10", "cifar-resnet34"),
        ("cifar100", "cifar-resnet34"),
        ("imagenet", "imagenet-resnet50"),
    ):
        expected = recipe(name) | {"data": data}
        assert {key: getattr(by_data[data], key) for key in expected} == expected
    assert sum(run.data == "cifar10" and run.method == "erm" for run in runs) == 10
    assert sum(run.data == "imagenet" and run.method == "erm" for run in runs) == 5


def test_every_figure_leaves_page_numbers_and_claims(made):
    folder, texts = made
    for figure, (text, page) in texts.items():
        assert page == folder / figure / f"{figure}.html"
        assert page.is_file()
        study = _study(folder, figure)
        assert study["claims"]
        assert study["findings"][0][0] in " ".join(text.split())
        assert all(claim["effect"]["n"] == 2 for claim in study["claims"])


def test_a_row_of_figure_4_may_have_an_alpha_of_its_own(made, tmp_path):
    folder, _ = made
    shutil.copytree(folder / "runs", tmp_path / "runs")
    alone = dataclasses.replace(SMOKE.sweep[0], alphas=(1.0,))
    image_figure("fig4", dataclasses.replace(SMOKE, sweep=(alone,)), tmp_path, sweeping=ONE_JOB)
    both, own = (
        {(claim["statement"], claim["setting"], claim["measured"]) for claim in claims}
        for claims in (_study(folder, "fig4")["claims"], _study(tmp_path, "fig4")["claims"])
    )
    assert own == {claim for claim in both if claim[1].endswith("α = 1")}


def test_effect_of_rescaling_is_that_of_the_rescaled_model(made):
    folder, _ = made
    runs = figure_trainings("fig4", SMOKE, folder, None)
    for method, label in (("erm", "ERM"), ("mixup", "Mixup")):
        for alpha in SMOKE.alphas:
            effects = []
            for run in runs:
                if run.method != method or (method == "mixup" and run.alpha != alpha):
                    continue
                net, data = _network(run)
                stats = TrainingStatistics.load(run.directory / "statistics.safetensors")
                rescaled = RescaledModel(net, stats, Beta(alpha))
                effects.append(_nll(rescaled, data) - _nll(net, data))
            stored = [
                claim["effect"]["mean"]
                for claim in _study(folder, "fig4")["claims"]
                if claim["measured"].startswith(f"test NLL in nats, {label} rescaled − raw")
                and claim["setting"].endswith(f"α = {alpha:g}")
            ]
            assert stored == [pytest.approx(sum(effects) / len(effects), abs=2e-6)]


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([[3.0, 1.0, 1.5], [2.0, 2.5, 2.75]], "ends 0.6250 ± 1.5883 nats above that of its best"),
        ([[3.0, 1.0], [2.0, 1.5]], "is lowest in the last epoch"),
    ],
)
def test_figure_4_says_how_far_erm_overfits(losses, said, made):
    folder, _ = made
    runs = [r for r in figure_trainings("fig4", SMOKE, folder, None) if r.method == "erm"]
    outcomes = read_outcomes(runs, SMOKE.alphas, SMOKE.samples)["digits-mlp"]
    histories = [[{"validation_nll": loss} for loss in run] for run in losses]
    changed = Outcomes(
        [
            dataclasses.replace(run, history=history)
            for run, history in zip(outcomes.runs, histories, strict=True)
        ]
    )
    (table,) = fig4(SMOKE.sweep[0], changed, SMOKE).tables
    assert f"The validation NLL of ERM {said}" in table.note


def test_terms_are_those_of_the_stored_networks(made):
    folder, _ = made
    run = next(r for r in figure_trainings("fig3", SMOKE, folder, None) if r.method == "mixup")
    net, data = _network(run)
    x, y = next(iter(data.train_batches(SMOKE.samples, seed=run.seed, epoch=0)))
    terms = json.loads((run.directory / "terms-40.json").read_text())["terms"]
    assert [entry["epoch"] for entry in terms] == [1, 2]
    expected = approximate_mixup_risk(net, x, y, "cross_entropy", Beta(1.0))
    for name in ("modified", "r1", "r3", "r1_plus_r3", "total"):
        assert terms[-1][name] == pytest.approx(getattr(expected, name), rel=1e-9)
    direct = modified_risk(net, x, y, "cross_entropy", Beta(1.0))
    assert terms[-1]["modified"] == pytest.approx(direct, rel=1e-5)


def _by_seed(folder, figure, method, read):
    runs = json.loads((folder / figure / f"{figure}.json").read_text())["runs"]
    return {run["seed"]: read(run) for run in runs if run["method"] == method}


@pytest.mark.parametrize(
    ("figure", "starts", "first", "second", "read", "expected"),
    [
        ("fig7", "test Entropy in nats, Mixup −", "mixup", "erm", "entropy", "positive"),
        (
            "fig7",
            "test Confidence in points, Mixup −",
            "mixup",
            "label-smoothing",
            "confidence",
            "negative",
        ),
        (
            "fig7",
            "test Confidence in points, approximate",
            "approximate",
            "erm",
            "confidence",
            "negative",
        ),
        ("fig3", "R1 + R3, Mixup − ERM,", "mixup", "erm", "r1_plus_r3", "negative"),
        ("fig3", "R1, Mixup − ERM on", "mixup", "modified", "r1", "negative"),
        ("fig3", "loss on modified", "mixup", "modified", "modified", "positive"),
        ("fig2", "test NLL", "approximate", "mixup", "test_nll", "zero"),
        (
            "ablation",
            "test NLL in nats, Mixup − inputs only",
            "mixup",
            "inputs-only",
            "nll",
            "negative",
        ),
        (
            "ablation",
            "test ECE in points, Mixup − inputs and",
            "mixup",
            "independent",
            "ece",
            "negative",
        ),
    ],
)
def test_claims_are_what_the_stored_numbers_say(
    made, figure, starts, first, second, read, expected
):
    def number(run):
        if figure == "fig3":
            return run["terms"][-1][read]
        if figure == "fig2":
            return run["history"][-1][read]
        factor = 100 if read in {"accuracy", "ece", "confidence"} else 1
        return factor * run["metrics"]["1"]["raw"][read]

    folder, _ = made
    a, b = (_by_seed(folder, figure, method, number) for method in (first, second))
    (claim,) = [c for c in _study(folder, figure)["claims"] if c["measured"].startswith(starts)]
    effect = sum(a[seed] - b[seed] for seed in a) / len(a)
    assert claim["effect"]["mean"] == pytest.approx(effect, abs=1e-9)
    assert claim["expected"] == expected


def test_finished_runs_are_not_run_again(made):
    folder, _ = made
    results = sorted(folder.glob("runs/*/result.json"))
    before = [file.stat().st_mtime_ns for file in results]
    text, _ = image_figure("fig7", SMOKE, folder, sweeping=ONE_JOB)
    assert [file.stat().st_mtime_ns for file in results] == before
    assert text == made[1]["fig7"][0]


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        ("fig4", "evaluation.json"),
        ("fig4", "alpha0.5/evaluation.json"),
        ("fig3", f"terms-{SMOKE.samples}.json"),
    ],
)
def test_damaged_measurements_are_made_again(figure, name, made, tmp_path):
    folder, texts = made
    shutil.copytree(folder / "runs", tmp_path / "runs")
    damaged = tmp_path / "runs" / "digits-mlp-erm-alpha1-seed0" / name
    whole = damaged.read_text()
    damaged.write_text(whole[:-9])
    text, _ = image_figure(figure, SMOKE, tmp_path, sweeping=ONE_JOB)
    assert text == texts[figure][0]
    assert damaged.read_text() == whole


def test_missing_data_are_refused_or_shown_as_a_hole(made, tmp_path, monkeypatch):
    monkeypatch.delenv("MIXREG_DATA", raising=False)
    folder, _ = made
    absent = Setting("cifar10", "lenet", {"epochs": 1}, 1)
    scale = dataclasses.replace(SMOKE, sweep=(*SMOKE.sweep, absent))
    with pytest.raises(DataError, match="cifar10"):
        image_figure("fig4", scale, folder, data_root=tmp_path, sweeping=ONE_JOB)
    skipping = SweepSettings(jobs=1, skip_missing=True)
    image_figure("fig4", scale, folder, data_root=tmp_path, sweeping=skipping)
    study = _study(folder, "fig4")
    assert any("cifar10" in hole and str(tmp_path) in hole for hole in study["missing"])
    assert "digits" in study["subtitle"]
    assert "cifar10" not in study["subtitle"]


def test_claims_pair_by_seed_and_need_common_seeds():
    said = Sentence("It is so.", "section 4", "somewhere")
    (claim,) = said.claim("first − second", {0: 3.0, 1: 5.0, 7: 0.0}, {0: 1.0, 1: 2.0}, "positive")
    assert (claim.effect.mean, claim.effect.n) == (2.5, 2)
    assert list(said.claim("first − second", {0: 3.0}, {1: 1.0}, "positive")) == []
    (points,) = said.metric_claim("accuracy", "a − b", {0: 0.75}, {0: 0.5}, "positive")
    assert (points.effect.mean, points.measured) == (
        25.0,
        "test Accuracy in points, a − b, paired by seed",
    )


def test_margin_is_half_way_to_the_other_method():
    assert half_distance({0: 1.0, 1: 3.0}, {0: 5.0}) == 1.5
    assert half_distance({0: 1.0}, {0: 1.0}) is None
    assert half_distance({0: 1.0}, {}) is None
    assert difference({0: 3.0, 1: 1.0}, {0: 1.0, 2: 4.0}) == {0: 2.0}
