"""Figures 5 and 6 and the rule for shift on a tiny stand-in for CIFAR-10, against its networks."""

import dataclasses
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from mixreg import (
    Beta,
    Constant,
    PowerMatchedModel,
    PowerMatching,
    RescaledModel,
    TrainingStatistics,
)
from mixreg._errors import ConfigurationError
from mixreg.data import InMemoryDataset, MissingDataError, Samples
from mixreg.data.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, FAMILIES, corrupted
from mixreg.data.datasets import IN_MEMORY
from mixreg.data.published import Published
from mixreg.evaluation import metrics
from mixreg.experiments import _shifted, evaluate_shift, fig5, fig6, shift
from mixreg.experiments._runs import Made
from mixreg.experiments.evaluate import evaluate_checkpoint
from mixreg.experiments.evaluate_shift import in_words
from mixreg.report import read_document
from mixreg.settings import EvaluateOptions, ReproduceOptions
from mixreg.training import load_run

KINDS, LEVELS = ("contrast", "fog"), (1, 5)


def samples(seed, n):
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 10
    images = torch.randint(128, (n, 3, 32, 32), generator=source) + 12 * labels.view(-1, 1, 1, 1)
    return Samples(images.to(torch.uint8), labels)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both figures at the smallest preset, on 200 training and 60 test images."""
    folder, patch = tmp_path_factory.mktemp("shift"), pytest.MonkeyPatch()
    tiny = Published(samples(0, 200), samples(1, 60), tuple("abcdefghij"))
    entry = dataclasses.replace(IN_MEMORY["cifar10"], read=lambda *_: tiny)
    patch.setitem(IN_MEMORY, "cifar10", entry)
    (setting,) = fig5.PRESETS["smoke"]
    changes = {"epochs": 2, "batch_size": 20, "learning_rate": 0.05, "milestones": []}
    patch.setitem(fig5.PRESETS, "smoke", (dataclasses.replace(setting, changes=changes),))
    options = {
        name: ReproduceOptions(name=name, scale="smoke", output=folder, data_root=folder, jobs=1)
        for name in ("fig5", "fig6")
    }
    texts = {"fig5": fig5.reproduce(options["fig5"])}
    with patch.context() as later:  # figure 6 computes nothing again
        later.setattr(_shifted, "_compute", None)
        later.setattr(fig5, "score", None)
        texts["fig6"] = fig6.reproduce(options["fig6"])
    yield folder, texts, fig5.runs(options["fig5"])
    patch.undo()


def scores_of(run):
    return fig5.SHIFT.read(run.directory).scores


def document(folder, name):
    return read_document(folder / name / f"{name}.json")


def test_figures_leave_their_numbers_and_pages(made):
    folder, texts, runs = made
    assert sorted((r.method, r.seed) for r in runs) == [
        ("erm", 0), ("erm", 1), ("mixup", 0), ("mixup", 1)
    ]  # fmt: skip
    for name, (text, page) in texts.items():
        assert page == folder / name / f"{name}.html"
        assert document(folder, name).text() == text
        said = "4 corrupted sets (2 kinds) of 60 test images each; generated from the clean images"
        assert said in " ".join(text.split())


def test_other_images_or_measurements_have_another_digest(made):
    folder, _, runs = made
    trained = load_run(runs[0].directory, {})
    splits = {split: trained.data.samples(split) for split in ("train", "validation", "test")}
    images, labels = splits["test"]
    other = InMemoryDataset(
        "cifar10",
        splits | {"test": Samples(255 - images, labels)},
        trained.data.class_names,
        normalisation=trained.data.normalisation,
    )
    options = ReproduceOptions(name="fig5", scale="smoke", output=folder, data_root=folder)
    digests = [
        fig5.test_sets(options, classifier, measured)[0]
        for classifier in (trained, dataclasses.replace(trained, data=other))
        for measured in ("one", "two")
    ]
    assert len(set(digests)) == 4


def test_scores_of_something_else_are_made_again(made):
    folder, _, runs = made
    whole = fig5.SHIFT.read(runs[0].directory)
    fig5.SHIFT.write(runs[0].directory, fig5.Shift("of something else", []))
    options = ReproduceOptions(name="fig5", scale="smoke", output=folder, data_root=folder, jobs=1)
    fig5.reproduce(options)
    assert fig5.SHIFT.read(runs[0].directory) == whole


def test_effects_are_those_of_the_rescaled_models(made):
    folder, _, runs = made
    figure5, figure6 = document(folder, "fig5").records, document(folder, "fig6").records
    for run in (run for run in runs if run.method == "mixup"):
        trained = load_run(run.directory, {})
        rescaled = RescaledModel(trained.net, trained.stats, Beta(1.0)).eval()
        images, labels = trained.data.samples("test")
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        direct = {}
        for kind in KINDS:
            for level in LEVELS:
                bad = torch.from_numpy(corrupted(pixels, kind, level, seed=0)).permute(0, 3, 1, 2)
                with torch.no_grad():
                    for name, model in (("raw", trained.net), ("rescaled", rescaled)):
                        outputs = model(trained.data.normalisation(bad))
                        direct[name, kind, level] = metrics(outputs, labels)
        for metric in ("accuracy", "nll", "ece"):
            for name in ("raw", "rescaled"):
                at = {v: [getattr(direct[name, k, v], metric) for k in KINDS] for v in LEVELS}
                chosen = {"method": "mixup", "prediction": name, "seed": run.seed, "metric": metric}
                (whole,) = figure5.where(**chosen)
                assert whole.value == pytest.approx(np.mean(list(at.values())), abs=2e-5)
                for level in LEVELS:
                    (one,) = figure6.where(**chosen, setting=f"cifar10, lenet, severity {level}")
                    assert one.value == pytest.approx(np.mean(at[level]), abs=2e-5)


def test_claims_are_what_the_records_say(made):
    folder, _, _ = made
    records, claims = document(folder, "fig6").records, document(folder, "fig6").claims

    def difference(level):
        at = records.where(setting=f"cifar10, lenet, severity {level}", metric="nll")
        values = [at.where(prediction=p) for p in ("rescaled", "raw")]
        return np.mean([a.value - b.value for a, b in zip(*values, strict=True)])

    grown, high = [claim for claim in claims if "NLL" in claim.measured]
    assert grown.effect.mean == pytest.approx(difference(5) - difference(1), abs=1e-9)
    assert high.effect.mean == pytest.approx(difference(5), abs=1e-9)
    assert {claim.expected for claim in (grown, high)} == {"positive"}


def test_one_seed_has_no_interval_in_the_numbers(made):
    run = next(run for run in made[2] if run.method == "mixup")
    own = [fig5.Shifted(run, 1.0, scores_of(run))]
    (setting,) = fig5.PRESETS["smoke"]
    cells = [row[-1].text for _, row in fig6.numbers(setting, 1.0, own).rows]
    assert cells
    assert set(cells) == {""}


def test_temperatures_are_those_of_the_clean_held_out_images(made):
    *_, runs = made
    for run in runs:
        clean = scores_of(run)[0]
        assert (clean.kind, clean.severity, clean.count) == ("clean", 0, 60)
        whole = fig5._runs.read_evaluation(run, 1.0).results
        for name, metrics_of in clean.metrics.items():
            assert metrics_of.nll == pytest.approx(whole[name].metrics.nll, abs=1e-6)


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        ("     ", "no difference shown"),
        ("+----", "better on clean images, worse from 1 on"),
        ("++ --", "better on clean images and at 1, worse from 3 on"),
        ("-----", "worse everywhere"),
        ("- - +", "better at 4, worse on clean images and at 2"),
        ("++   ", "better on clean images and at 1"),
        ("    -", "worse from 4 on"),
    ],
)
def test_words_say_from_which_severity_a_correction_loses(judged, words):
    names = {"+": "better", "-": "worse", " ": "undecided"}
    assert in_words({k: names[mark] for k, mark in enumerate(judged)}) == words


def test_presets_have_the_papers_sets_and_the_finished_runs(tmp_path):
    def options(scale):
        return ReproduceOptions(name="fig6", scale=scale, output=tmp_path)

    def of(scale):
        return fig5.runs(options(scale))

    assert {run.data for run in of("paper")} == {"cifar10", "cifar100"}
    assert {(run.model, run.epochs) for run in of("paper")} == {("resnet34", 200)}
    assert fig5.PARTS["paper"] == (None, {})
    small = of("cpu")
    trained = {
        seed: {run.directory.name.removesuffix(f"-seed{seed}") for run in small if run.seed == seed}
        for seed in (1, 4)
    }
    arms = ("erm-alpha1", "mixup-alpha0.5", "mixup-alpha1")
    lenet = {
        f"{data}-lenet-{arm}" for data in ("cifar10", "cifar100", "fashion-mnist") for arm in arms
    }
    resnet = {f"cifar10-resnet20-{arm}" for arm in arms}
    assert trained == {1: lenet | resnet, 4: lenet}
    assert {(run.model, run.epochs, *run.milestones) for run in small} == {
        ("lenet", 20, 10),
        ("resnet20", 10, 6, 9),
    }
    measured = {run.model: fig5.part_of(options("cpu"), run) for run in small}
    assert measured == {
        "lenet": fig5.PARTS["cpu"],
        "resnet20": (500, {"severities": (1, 3, 5)}),
    }


def test_nothing_is_drawn_of_settings_without_runs():
    assert list(fig5.by_setting([], Made([], [], "cpu"))) == []
    assert len(fig6.KINDS["the 15 of the benchmark"]) == 15 < len(CORRUPTIONS)


def evaluated(made, output, shift):
    folder, _, runs = made
    run = next(run for run in runs if run.method == "mixup")
    options = EvaluateOptions(
        checkpoint=run.directory, data_root=folder, shift=str(shift), output=output
    )
    text, page = evaluate_checkpoint(options)
    assert page == output / "shift.html"
    return run, read_document(output / "shift.json"), text


def test_a_classifier_is_evaluated_by_severity(made, tmp_path, monkeypatch):
    patched = partial(_shifted.corrupted_test_sets, kinds=KINDS, severities=LEVELS)
    monkeypatch.setattr(evaluate_shift, "corrupted_test_sets", patched)
    run, document, text = evaluated(made, tmp_path, "generated")
    (table,) = document.tables
    assert table.headings == ["prediction", "clean", "1", "5", "in words"]
    rows = dict(table.rows[1:8])
    scores = {s: [x for x in scores_of(run) if x.severity == s] for s in (0, *LEVELS)}
    for k, (severity, of) in enumerate(scores.items()):
        raw = np.mean([s.metrics["raw"].accuracy for s in of])
        rescaled = np.mean([s.metrics["rescaled"].accuracy for s in of])
        assert rows["raw"][k].text == f"{100 * raw:.2f}", severity
        assert rows["rescaled − raw"][k].text.lstrip("+−") == f"{100 * abs(rescaled - raw):.2f}"
    assert rows["raw"][-1].text == ""
    assert any(f.text.startswith("two-views: ") for f in document.findings)
    assert "generated from the clean images" in " ".join(text.split())


def test_published_files_are_found_by_name_or_folder(made, tmp_path, monkeypatch):
    folder, _, runs = made
    images, labels = load_run(runs[0].directory, {}).data.samples("test")
    pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    (place := folder / "CIFAR-10-C").mkdir()
    np.save(place / "labels.npy", np.tile(labels.numpy(), 5))
    np.save(place / "fog.npy", np.tile(pixels, (5, 1, 1, 1)))
    monkeypatch.setattr(
        evaluate_shift, "corrupted_test_sets", partial(_shifted.corrupted_test_sets, kinds=("fog",))
    )
    for name in ("cifar10-c", place):
        _, document, _ = evaluated(made, tmp_path / str(name).strip("/"), name)
        assert "Images: published files in CIFAR-10-C." in document.caveats
        rows = [row for title, row in document.tables[0].rows if title == "rescaled − raw"]
        assert all(len({cell.text for cell in row[:-1]}) == 1 for row in rows)  # no real shift
    shutil.rmtree(place)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("cifar100-c", ConfigurationError, "made of cifar100, and this classifier is tested on"),
        ("cifar10-c", MissingDataError, "there is no folder .*CIFAR-10-C with labels.npy"),
        ("elsewhere", MissingDataError, "--shift generated makes the images"),
    ],
)
def test_shifts_that_cannot_be_made_are_refused(name, error, words, made, tmp_path):
    with pytest.raises(error, match=words):
        evaluated(made, tmp_path, name)


@pytest.fixture(scope="module")
def judged(made):
    """The comparison of predictors under shift, from the runs of the figures."""
    folder, _, runs = made
    options = ReproduceOptions(name="shift", scale="smoke", output=folder, data_root=folder, jobs=1)
    with pytest.MonkeyPatch.context() as patch:
        first = shift.reproduce(options)
        patch.setattr(shift, "prepared", None)  # the second time nothing is computed
        assert shift.reproduce(options) == first
    return document(folder, "shift"), runs


def test_matched_predictions_are_those_of_the_public_model(judged):
    records, runs = judged[0].records, judged[1]
    for run in runs:
        trained = load_run(run.directory, {})
        batches = trained.data.train_batches(500, seed=run.seed, epoch=0)
        stats = TrainingStatistics.from_loader(batches, 10, second_moments="spectral")
        filtered = torch.nn.Sequential(PowerMatching(stats, Constant(1.0)), trained.net)
        matched = PowerMatchedModel(trained.net, stats, Beta(1.0))
        model = (matched if run.method == "mixup" else filtered).eval()
        images, labels = trained.data.samples("test")
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        values = []
        for kind in KINDS:
            bad = torch.from_numpy(corrupted(pixels, kind, 5, seed=0)).permute(0, 3, 1, 2)
            with torch.no_grad():
                values.append(metrics(model(trained.data.normalisation(bad)), labels).nll)
        (one,) = records.where(
            method=run.method,
            seed=run.seed,
            metric="nll",
            prediction="matched",
            setting="cifar10, lenet, severity 5",
        )
        assert one.value == pytest.approx(np.mean(values), abs=1e-4)


def test_the_goal_is_measured_against_the_better_one(judged):
    page = judged[0]
    at = page.records.where(method="mixup", setting="cifar10, lenet, severity 1", metric="nll")
    assert len(at.where(prediction="matched")) == 2
    claims = [claim for claim in page.claims if claim.setting.endswith("weather")][:3]
    assert [c.expected for c in claims] == ["positive", "negative", "negative"]
    kept = [shift.KEPT.read(run.directory) for run in judged[1]]
    runs = [fig5.Shifted(r, r.alpha, of.scores) for r, of in zip(judged[1], kept, strict=True)]
    for claim, metric in zip(claims, shift.METRICS, strict=True):
        effects = []
        for severity in (1, 5):
            records = fig5.Records(r for item in runs for r in item.means(severity, ["fog"]))
            mean = {
                p: records.mean(metric, method="mixup", prediction=p).mean
                for p in ("raw", "rescaled", "matched")
            }
            best = (max if metric == "accuracy" else min)(mean["raw"], mean["rescaled"])
            effects.append(mean["matched"] - best)
        assert claim.effect.mean == pytest.approx(np.mean(effects), abs=1e-9)
    assert "of 12 families, severities and metrics" in page.findings[0].text
    tables = {table.name: table for table in page.tables}
    table = tables["shift-cifar10-lenet-alpha1"]
    assert [name for name, _ in table.rows] == [*shift.ARMS]
    assert table.title == "2 kinds of corruption, 2 severities: cifar10, lenet, α = 1"
    assert "and 2 seeds" in table.note
    assert any("of 60 test images each; generated from" in c for c in page.caveats)
    assert len(tables["shift-weights-cifar10-lenet-alpha1"].rows) == 5


def test_families_are_the_fifteen_that_nothing_was_chosen_on():
    kinds = [kind for family in FAMILIES.values() for kind in family]
    assert kinds == [kind for kind in CORRUPTIONS if kind not in EXTRA_CORRUPTIONS]
