"""The figures on image classifiers: their runs, and their numbers against the stored networks."""

import dataclasses
import shutil

import pytest
import torch

from mixreg import Beta, RescaledModel, approximate_mixup_risk, cross_entropy, modified_risk
from mixreg.data.published import MissingDataError
from mixreg.experiments import ablation, fig2, fig3, fig4, fig7
from mixreg.experiments._runs import Made, Setting, difference
from mixreg.report import Record, Records, read_document
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, load_run, recipe

FIGURES = {"fig2": fig2, "fig3": fig3, "fig4": fig4, "fig7": fig7, "ablation": ablation}
PRESETS = ("paper", "cpu", "smoke")


def options(name, folder, preset="smoke", **others):
    return ReproduceOptions(name=name, scale=preset, output=folder, jobs=1, **others)


def runs(name, folder, preset="smoke", **others):
    return FIGURES[name].runs(options(name, folder, preset, **others))


def reproduce(name, folder, **others):
    return FIGURES[name].reproduce(options(name, folder, **others))


def document(folder, name):
    return read_document(folder / name / f"{name}.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All figures at the smallest preset, in one directory."""
    folder = tmp_path_factory.mktemp("images")
    return folder, {name: reproduce(name, folder) for name in FIGURES}


@pytest.mark.parametrize("preset", PRESETS)
def test_figures_share_directories_only_for_equal_runs(preset, tmp_path):
    by_directory = {}
    for run in [run for name in FIGURES for run in runs(name, tmp_path, preset)]:
        assert by_directory.setdefault(run.directory, run) == run


def test_each_figure_computes_what_it_shows_alone(made):
    folder, _ = made
    watched = {run.directory for run in runs("fig3", folder)}
    evaluated = {run.directory for n in ("fig4", "fig7", "ablation") for run in runs(n, folder)}
    assert not watched & (evaluated | {run.directory for run in runs("fig2", folder)})
    rescaled = {run.directory for run in runs("fig4", folder) if run.method == "erm"}
    for directory in (folder / "runs").glob("*-seed*"):
        files = {file.name for file in directory.iterdir()}
        assert {"snapshots", "terms-40.json"} <= files or directory not in watched
        assert not {"snapshots", "terms-40.json"} & files or directory in watched
        assert ("evaluation.json" in files) == (directory in evaluated)
        assert ("alpha0.5" in files) == (directory in rescaled)


def test_runs_of_figure_4_at_the_cpu_preset(tmp_path):
    every = runs("fig4", tmp_path, "cpu")
    small = [run for run in every if run.model == "lenet"]
    counted = [(run.data, run.method, run.alpha) for run in small]
    for data in ("cifar10", "cifar100", "fashion-mnist"):
        assert counted.count((data, "erm", 1.0)) == 5
        assert all(counted.count((data, "mixup", alpha)) == 5 for alpha in (0.2, 0.5, 1.0, 2.0))
    assert counted.count(("cifar10", "mit-l", 1.0)) == 3
    assert {run.epochs for run in small} == {30}
    residual = [run for run in every if run.model != "lenet"]
    assert {(run.data, run.model, run.alpha) for run in residual} == {("cifar10", "resnet20", 1.0)}
    assert sorted(run.method for run in residual) == ["erm", "erm", "mixup", "mixup"]
    assert [run.seed for run in every] == sorted(run.seed for run in every)


@pytest.mark.parametrize("name", FIGURES)
def test_repetitions_can_be_chosen(name, tmp_path):
    chosen, usual = (runs(name, tmp_path, "cpu", seeds=seeds) for seeds in (2, None))
    assert {run.seed for run in chosen} == {0, 1}
    assert {run.directory for run in chosen} <= {run.directory for run in usual}


@pytest.mark.parametrize(
    ("data", "name", "seeds"),
    [
        ("cifar10", "cifar-resnet34", 10),
        ("cifar100", "cifar-resnet34", 10),
        ("imagenet", "imagenet-resnet50", 5),
    ],
)
def test_paper_preset_has_the_papers_settings(data, name, seeds, tmp_path):
    own = [run for run in runs("fig4", tmp_path, "paper") if run.data == data]
    expected = recipe(name) | {"data": data, "alpha": own[0].alpha}
    assert {key: getattr(own[0], key) for key in expected} == expected
    assert sum(run.method == "erm" for run in own) == seeds


def test_every_figure_leaves_page_numbers_and_claims(made):
    folder, texts = made
    for name, (text, page) in texts.items():
        assert page == folder / name / f"{name}.html"
        assert page.is_file()
        made_again = document(folder, name)
        assert made_again.text() == text
        assert all(claim.effect.n == 2 for claim in made_again.claims)
        assert made_again.findings[0].text in " ".join(text.split())


def test_a_row_of_figure_4_may_have_an_alpha_of_its_own(made, tmp_path, monkeypatch):
    folder, _ = made
    shutil.copytree(folder / "runs", tmp_path / "runs")
    (setting,) = fig4.PRESETS["smoke"]
    alone = dataclasses.replace(setting, alphas=(1.0,))
    monkeypatch.setitem(fig4.PRESETS, "smoke", (alone,))
    reproduce("fig4", tmp_path)
    both, own = (set(document(place, "fig4").claims) for place in (folder, tmp_path))
    assert own == {claim for claim in both if claim.setting.endswith("α = 1")}


def nll(net, data):
    x, y = (torch.cat(parts) for parts in zip(*data.batches("test", 100), strict=True))
    with torch.no_grad():
        return float(cross_entropy(torch.eye(10)[y], net(x)).mean())


@pytest.mark.parametrize(("method", "name"), [("erm", "ERM"), ("mixup", "Mixup")])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_effect_of_rescaling_is_that_of_the_rescaled_model(method, name, alpha, made):
    folder, _ = made
    effects = []
    for run in runs("fig4", folder):
        if run.method == method and (method == "erm" or run.alpha == alpha):
            trained = load_run(run.directory, {})
            rescaled = RescaledModel(trained.net, trained.stats, Beta(alpha))
            effects.append(nll(rescaled, trained.data) - nll(trained.net, trained.data))
    (claim,) = [
        claim
        for claim in document(folder, "fig4").claims
        if claim.measured.startswith(f"test NLL in nats, {name} rescaled − raw")
        and claim.setting.endswith(f"α = {alpha:g}")
    ]
    assert claim.effect.mean == pytest.approx(sum(effects) / len(effects), abs=2e-6)


@pytest.mark.parametrize(
    ("last", "best", "words"),
    [
        ([1.5, 2.75], [1.0, 2.0], "ends 0.6250 ± 1.5883 nats above that of its best epoch."),
        ([1.0, 1.5], [1.0, 1.5], "is lowest in the last epoch."),
    ],
)
def test_figure_4_tells_how_far_erm_overfits(last, best, words):
    rows = [
        Record("digits, mlp", "erm", 1.0, seed, f"{which} epoch", "validation_nll", value)
        for which, values in (("last", last), ("best", best))
        for seed, value in enumerate(values)
    ]
    (table,) = fig4.document(Records(rows), Made([], [], "smoke"), []).tables
    assert table.note.endswith(f"The validation NLL of ERM {words}")


def test_overfitting_is_that_of_the_history(made):
    folder, _ = made
    records = document(folder, "fig4").records
    for run in [run for run in runs("fig4", folder) if run.method == "erm"]:
        history = RunDirectory(run.directory).read_result().history
        losses = [entry["validation_nll"] for entry in history]
        for prediction, loss in (("last epoch", losses[-1]), ("best epoch", min(losses))):
            values = records.by_seed("validation_nll", prediction=prediction)
            assert values[run.seed] == loss


def test_terms_are_those_of_the_stored_networks(made):
    folder, _ = made
    run = next(run for run in runs("fig3", folder) if run.method == "mixup")
    trained = load_run(run.directory, {})
    x, y = next(iter(trained.data.train_batches(40, seed=run.seed, epoch=0)))
    records = document(folder, "fig3").records.where(method="mixup", seed=run.seed)
    assert list(dict.fromkeys(record.prediction for record in records)) == ["epoch 1", "epoch 2"]
    terms = {r.metric: r.value for r in records.where(prediction="epoch 2")}
    expected = approximate_mixup_risk(trained.net, x, y, "cross_entropy", Beta(1.0))
    assert terms == pytest.approx({name: getattr(expected, name) for name in terms}, rel=1e-9)
    direct = modified_risk(trained.net, x, y, "cross_entropy", Beta(1.0))
    assert terms["modified"] == pytest.approx(direct, rel=1e-5)


def test_figure_2_has_the_histories(made):
    folder, _ = made
    records = document(folder, "fig2").records
    for run in runs("fig2", folder):
        history = RunDirectory(run.directory).read_result().history
        own = records.where(method=run.method, seed=run.seed)
        for metric, name in fig2.LOGGED.items():
            values = [record.value for record in own.where(metric=metric)]
            assert values == [entry[name] for entry in history]


@pytest.mark.parametrize(
    ("figure", "starts", "first", "second", "metric", "prediction", "expected"),
    [
        ("fig7", "test Entropy in nats, Mixup −", "mixup", "erm", "entropy", "raw", "positive"),
        ("fig7", "test Confidence in points, Mixup −", "mixup", "label-smoothing", "confidence",
         "raw", "negative"),
        ("fig7", "test Confidence in points, approximate", "approximate", "erm", "confidence",
         "raw", "negative"),
        ("fig3", "R1 + R3, Mixup − ERM,", "mixup", "erm", "r1_plus_r3", "epoch 2", "negative"),
        ("fig3", "R1, Mixup − ERM on", "mixup", "modified", "r1", "epoch 2", "negative"),
        ("fig3", "loss on modified", "mixup", "modified", "modified", "epoch 2", "positive"),
        ("fig2", "test NLL", "approximate", "mixup", "nll", "epoch 2", "zero"),
        ("ablation", "test NLL in nats, Mixup − inputs only", "mixup", "inputs-only", "nll", "raw",
         "negative"),
        ("ablation", "test ECE in points, Mixup − inputs and", "mixup", "independent", "ece", "raw",
         "negative"),
    ],
)  # fmt: skip
def test_claims_are_what_the_stored_numbers_say(
    made, figure, starts, first, second, metric, prediction, expected
):
    folder, _ = made
    stored = document(folder, figure)
    values = [[], []]
    for record in stored.records:
        for kept, method in zip(values, (first, second), strict=True):
            if (record.method, record.prediction, record.metric) == (method, prediction, metric):
                kept.append((100 if metric in {"ece", "confidence"} else 1) * record.value)
    (claim,) = [claim for claim in stored.claims if claim.measured.startswith(starts)]
    effect = sum(a - b for a, b in zip(*values, strict=True)) / 2
    assert claim.effect.mean == pytest.approx(effect, abs=1e-9)
    assert claim.expected == expected


def test_finished_runs_are_not_run_again(made):
    folder, texts = made
    results = sorted(folder.glob("runs/*/result.json"))
    before = [file.stat().st_mtime_ns for file in results]
    assert reproduce("fig7", folder) == texts["fig7"]
    assert [file.stat().st_mtime_ns for file in results] == before


@pytest.mark.parametrize(
    ("figure", "kept"),
    [
        (
            "fig4",
            {
                "digits-mlp-erm-alpha1-seed0/evaluation.json": -9,
                "digits-mlp-erm-alpha1-seed0/alpha0.5/evaluation.json": 0,
            },
        ),
        ("fig3", {"digits-mlp-erm-alpha1-seed0-watched/terms-40.json": -9}),
    ],
)
def test_damaged_measurements_are_made_again(figure, kept, made, tmp_path):
    folder, texts = made
    shutil.copytree(folder / "runs", tmp_path / "runs")
    whole = {name: (tmp_path / "runs" / name).read_text() for name in kept}
    for name, end in kept.items():
        (tmp_path / "runs" / name).write_text(whole[name][:end])
    assert reproduce(figure, tmp_path)[0] == texts[figure][0]
    assert {name: (tmp_path / "runs" / name).read_text() for name in kept} == whole


def test_missing_data_are_refused_or_shown_as_a_hole(made, tmp_path, monkeypatch):
    monkeypatch.delenv("MIXREG_DATA", raising=False)
    folder, _ = made
    absent = Setting(data="cifar10", model="lenet", changes={"epochs": 1}, seeds=1, costly_seeds=1)
    monkeypatch.setitem(fig4.PRESETS, "smoke", (*fig4.PRESETS["smoke"], absent))
    with pytest.raises(MissingDataError, match="cifar10"):
        reproduce("fig4", folder, data_root=tmp_path)
    reproduce("fig4", folder, data_root=tmp_path, skip_missing=True)
    stored = document(folder, "fig4")
    assert any("cifar10" in hole and str(tmp_path) in hole for hole in stored.missing)
    assert stored.subtitle == "digits, mlp; scale smoke"


def test_differences_are_written_with_their_unit():
    assert difference("accuracy", "a − b") == "test Accuracy in points, a − b"
    assert difference("brier", "a − b") == "test Brier, a − b"
