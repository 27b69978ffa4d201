"""`mixreg report` on everything that can be named, and on everything that cannot be shown."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from mixreg import Beta
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.cli import main
from mixreg.evaluation import MeanInterval, Predictions, evaluate
from mixreg.experiments.report import ReportOptions, report
from mixreg.report import Claim, Document, Entry, RunResult, comparison, write_document
from mixreg.training import RunDirectory, TrainConfig

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    """Comparisons are not drawn here, which takes seconds each; tests/report looks at those."""
    monkeypatch.setattr("mixreg.report.charts.draw", lambda _: "<svg/>")


def evaluation(seed, *, count=60):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 4, generator=g)
    labels = torch.multinomial(logits.softmax(1), 1, generator=g).squeeze(1)
    predictions = Predictions(2.0 * logits, 1.5 * logits, labels)
    return evaluate(None, predictions, y_mean=torch.full((4,), 0.25), law=Beta(1.0))


def make_run(folder, method="mixup", seed=0, *, finished=True, evaluated=True, count=60, **changes):
    """The directory of a run as `mixreg train` and `mixreg evaluate` leave it."""
    config = TrainConfig(method=method, seed=seed, output=folder, **changes)
    run = RunDirectory(folder)
    run.prepare(config)
    if finished:
        run.write_result([{"epoch": 1.0, "train_nll": 0.5}], 1.0)
    if evaluated:
        run.write_evaluation(evaluation(seed, count=count))
    return folder


def make_comparison(folder, title="digits, mlp, α = 1", missing=()):
    runs = [
        RunResult(method, seed, alpha, evaluation(seed))
        for seed in (0, 1)
        for method, alpha in (("erm", None), ("mixup", 1.0))
    ]
    document = comparison(runs, title=title, baseline="erm", missing=missing)
    write_document(document, folder, name="metrics", page="report")
    return folder


def make_figure(folder, name="fig2", **changes):
    claim = Claim("It helps.", "section 5", "digits", "NLL", MeanInterval(1, 0.5, 5), "positive")
    about = {"findings": [Entry("So.")], "claims": [claim]} | changes
    write_document(Document(f"About {name}", **about), folder, name=name)
    return folder


def shown(tmp_path, *paths):
    text, page = report(ReportOptions(runs=list(paths), output=tmp_path / "page"))
    assert page == tmp_path / "page" / "report.html"
    return text, page.read_text()


def test_any_mix_of_results_is_one_page(tmp_path):
    runs = [make_run(tmp_path / f"{m}{s}", m, s) for m in ("erm", "mixup") for s in (0, 1)]
    paths = [make_figure(tmp_path / "study"), *runs, make_comparison(tmp_path / "compared")]
    text, html = shown(tmp_path, *paths)
    assert text.splitlines()[0] == "About fig2 (claims: 1 holds)"
    assert [line.partition(" (")[0] for line in text.splitlines()] == [
        "About fig2",
        "digits, mlp",
        "digits, mlp, α = 1",
    ]
    assert 'href="../study/fig2.json"' in html
    assert 'href="../compared/metrics.json"' in html
    assert html.count("<article ") == 3


def test_links_lead_from_the_page_to_the_numbers_whatever_their_folder_is_called(tmp_path):
    make_figure(tmp_path / "a folder" / "50% & #1")
    _, html = shown(tmp_path, tmp_path / "a folder")
    assert 'href="../a%20folder/50%25%20%26%20%231/fig2.json"' in html


def test_the_claims_are_also_a_csv(tmp_path):
    shown(tmp_path, make_figure(tmp_path / "study"))
    (row,) = csv.DictReader((tmp_path / "page" / "claims.csv").read_text().splitlines())
    assert (row["claim"], row["verdict"], row["n"]) == ("It helps.", "holds", "5")
    assert (float(row["low"]), float(row["high"])) == (0.5, 1.5)
    assert (row["result"], row["numbers"]) == ("About fig2", "../study/fig2.json")


def test_a_comparison_looks_the_same_as_when_it_was_made(tmp_path):
    folder = make_comparison(tmp_path / "compared")
    _, html = shown(tmp_path, folder)
    made = (folder / "report.html").read_text()
    for table in ("means", "differences", "effects"):
        rows = made.partition(f'id="table-{table}"')[2].partition("</table>")[0]
        assert rows.partition("<tbody>")[2] in html


def test_a_folder_stands_for_what_lies_below_but_not_for_the_runs_behind_it(tmp_path):
    make_figure(tmp_path / "all" / "fig2")
    make_figure(tmp_path / "all" / "deep" / "er", "fig3")
    make_run(tmp_path / "all" / "runs" / "erm0", "erm")
    text, _ = shown(tmp_path, tmp_path / "all")
    assert text.splitlines() == ["About fig3 (claims: 1 holds)", "About fig2 (claims: 1 holds)"]
    shutil.rmtree(tmp_path / "all" / "fig2")
    shutil.rmtree(tmp_path / "all" / "deep")
    assert shown(tmp_path, tmp_path / "all")[0].startswith("digits, mlp")


def test_what_is_named_twice_is_shown_once(tmp_path):
    folder = make_figure(tmp_path / "study")
    _, html = shown(tmp_path, folder, folder / "fig2.json", folder / ".." / "study")
    assert html.count("<article ") == 1


def test_results_of_one_title_are_told_apart(tmp_path):
    paths = [make_comparison(tmp_path / name) for name in ("first", "second")]
    text, _ = shown(tmp_path, *paths)
    assert "digits, mlp, α = 1 (first)" in text
    assert "digits, mlp, α = 1 (second)" in text


def test_runs_with_other_settings_are_compared_apart(tmp_path):
    paths = [make_run(tmp_path / f"{e}-{m}", m, epochs=e) for e in (3, 5) for m in ("erm", "mixup")]
    text, _ = shown(tmp_path, *paths)
    assert [line.partition(" (c")[0] for line in text.splitlines()] == [
        "digits, mlp (epochs 3)",
        "digits, mlp (epochs 5)",
    ]


def test_an_alpha_of_its_own_is_a_comparison_where_every_method_has_several(tmp_path):
    mixed = [make_run(tmp_path / f"m{a}", "mixup", alpha=a) for a in (1.0, 0.2)]
    text, html = shown(tmp_path, *mixed)
    assert [line.partition(" (")[0] for line in text.splitlines()] == [
        "digits, mlp, α = 0.2",
        "digits, mlp, α = 1",
    ]
    text, html = shown(tmp_path, make_run(tmp_path / "erm", "erm"), *mixed)
    assert len(text.splitlines()) == 1
    assert html.count('type="range"') == 2


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"finished": False}, r"not trained to the end; run its `mixreg train` again.*evaluate"),
        ({"evaluated": False}, r"not evaluated; run `mixreg evaluate \S*run`"),
    ],
)
def test_unfinished_runs_are_refused_where_named_and_holes_where_found(tmp_path, state, message):
    run = make_run(tmp_path / "all" / "run", **state)
    with pytest.raises(CheckpointError, match=message):
        shown(tmp_path, run)
    with pytest.raises(CheckpointError, match=r"no result, and none that can be shown: .*not "):
        shown(tmp_path, tmp_path / "all")
    make_figure(tmp_path / "all" / "study", missing=["CIFAR-100: not at hand"])
    text, html = shown(tmp_path, tmp_path / "all")
    assert "\nmissing: " in text
    assert "\n  missing: CIFAR-100: not at hand" in text
    assert html.count('class="missing"') == 2


def test_holes_of_a_comparison_are_told_again(tmp_path):
    text, html = shown(tmp_path, make_comparison(tmp_path / "compared", missing=["seed 2 is out"]))
    assert "\n  missing: seed 2 is out" in text
    assert "seed 2 is out" in html


def test_the_same_run_twice_would_count_twice(tmp_path):
    run = make_run(tmp_path / "run")
    shutil.copytree(run, tmp_path / "copy")
    with pytest.raises(ConfigurationError, match=r"run and .*copy are runs with the same settings"):
        shown(tmp_path, run, tmp_path / "copy")


def test_runs_that_saw_other_test_sets_are_refused(tmp_path):
    runs = [make_run(tmp_path / f"{n}", seed=n, count=n) for n in (60, 70)]
    with pytest.raises(CheckpointError, match=r"digits, mlp: these runs cannot be compared: .*one"):
        shown(tmp_path, *runs)


def test_nothing_to_show(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is nothing at .*gone"):
        shown(tmp_path, tmp_path / "gone")
    (tmp_path / "empty" / "er").mkdir(parents=True)
    (tmp_path / "empty" / "notes.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"empty holds no result\. A result is"):
        shown(tmp_path, tmp_path / "empty")
    with pytest.raises(CheckpointError, match=r"notes.json is no result"):
        shown(tmp_path, tmp_path / "empty" / "notes.json")
    with pytest.raises(ConfigurationError, match="at least one"):
        ReportOptions(runs=[])


def test_results_of_other_versions_and_damaged_ones_are_named(tmp_path):
    file = make_comparison(tmp_path / "compared") / "metrics.json"
    text = file.read_text()
    nested = text.partition('"title"')[0] + '"title": ' + "[" * 1000
    for found, message in (
        (text.replace("mixreg.Document/1", "mixreg.Report/1"), "the same `mixreg compare` again"),
        (text.replace("mixreg.Document/1", "mixreg.Later/1"), "`mixreg reproduce metrics` again"),
        (text[:-9], r"metrics.json is damaged: .*make it again"),
        (nested, r"metrics.json is damaged"),
    ):
        file.write_text(found)
        with pytest.raises(CheckpointError, match=message):
            shown(tmp_path, file.parent)
    run = make_run(tmp_path / "run")
    (run / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is damaged"):
        shown(tmp_path, run)


@pytest.mark.parametrize("name", ["report.html", "claims.csv"])
def test_pages_of_somebody_else_are_not_replaced_and_ours_are(tmp_path, name):
    folder = make_figure(tmp_path / "figure")
    shown(tmp_path, folder)
    shown(tmp_path, folder, make_figure(tmp_path / "other", "fig3"))
    (tmp_path / "page" / name).write_text("mine")
    with pytest.raises(CheckpointError, match=rf"{name} is there and was not written by this vers"):
        shown(tmp_path, folder)
    assert (tmp_path / "page" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "sections"),
    [("compare-cifar10-lenet", ("Reliability",))],
)
def test_the_results_of_this_repository_can_be_reported(tmp_path, name, sections):
    text, html = shown(tmp_path, RESULTS / name)
    assert "claims: " in text
    assert all(section in html for section in sections)
    assert "<svg role=" in html


def test_the_command_line_takes_several(tmp_path, capsys):
    paths = [make_figure(tmp_path / name, name) for name in ("fig2", "fig3")]
    main(["report", *map(str, paths), "--output", str(tmp_path / "page")])
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == f"report: {tmp_path / 'page' / 'report.html'}"
    with pytest.raises(SystemExit) as exit_:
        main(["report", str(tmp_path / "gone")])
    assert exit_.value.code == 2
    assert "there is nothing at" in capsys.readouterr().err
