"""`mixreg report` on everything that can be named, and on everything that cannot be shown."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from mixreg import Beta, _stored
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.cli import main
from mixreg.evaluation import MeanInterval, Predictions, evaluate
from mixreg.experiments.report import report
from mixreg.report import Claim, Document, RunResult, comparison, write_document
from mixreg.settings import ReportOptions
from mixreg.training import RunDirectory, TrainConfig

pytestmark = pytest.mark.usefixtures("no_pictures")
RESULTS = Path(__file__).parents[2] / "results"


def evaluation(seed, *, count=60):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 4, generator=g)
    labels = torch.multinomial(logits.softmax(1), 1, generator=g).squeeze(1)
    predictions = Predictions(2.0 * logits, 1.5 * logits, labels)
    return evaluate(None, predictions, y_mean=torch.full((4,), 0.25), law=Beta(1.0))


def make_run(folder, method="mixup", seed=0, *, finished=True, evaluated=True, count=60, **changes):
    """The directory of a run as `mixreg train` and `mixreg evaluate` leave it."""
    run = RunDirectory(folder)
    run.prepare(TrainConfig(method=method, seed=seed, output=folder, **changes))
    if finished:
        run.write_result([{"epoch": 1.0, "train_nll": 0.5}], 1.0)
    if evaluated:
        _stored.write(run.evaluation, evaluation(seed, count=count))
    return folder


def make_comparison(folder):
    groups = (("erm", None), ("mixup", 1.0))
    runs = [RunResult(m, seed, alpha, evaluation(seed)) for seed in (0, 1) for m, alpha in groups]
    title, missing = "digits, mlp, α = 1", ["seed 2 is out"]
    document = comparison(runs, title=title, baseline="erm", missing=missing)
    write_document(document, folder, name="metrics", page="report")
    return folder


def make_figure(folder, name="fig2", **changes):
    claim = Claim("It helps.", "section 5", "digits", "NLL", MeanInterval(1, 0.5, 5), "positive")
    write_document(Document(f"About {name}", claims=[claim], **changes), folder, name=name)
    return folder


def reported(tmp_path, *paths):
    """The lines for the terminal and the page."""
    text, page = report(ReportOptions(runs=list(paths), output=tmp_path / "page"))
    assert page == tmp_path / "page" / "report.html"
    return text.splitlines(), page.read_text()


def titles(lines):
    return [line.partition(" (c")[0] for line in lines if "missing: " not in line]


def test_any_mix_of_results_is_one_page(tmp_path):
    runs = [make_run(tmp_path / f"{m}{s}", m, s) for m in ("erm", "mixup") for s in (0, 1)]
    figure, compared = make_figure(tmp_path / "study"), make_comparison(tmp_path / "compared")
    again = (figure / "fig2.json", figure / ".." / "study")  # named twice, shown once
    lines, html = reported(tmp_path, figure, *runs, compared, *again)
    assert lines[0] == "About fig2 (claims: 1 holds)"
    assert titles(lines) == ["About fig2", "digits, mlp", "digits, mlp, α = 1"]
    assert "  missing: seed 2 is out" in lines
    assert html.count("<article ") == 3
    for part in ('href="../study/fig2.json"', 'href="../compared/metrics.json"', "seed 2 is out"):
        assert part in html
    made = (compared / "report.html").read_text()
    for table in ("means", "differences", "effects"):
        rows = made.partition(f'id="table-{table}"')[2].partition("</table>")[0]
        assert rows.partition("<tbody>")[2] in html
    row = next(csv.DictReader((tmp_path / "page" / "claims.csv").read_text().splitlines()))
    expected = {"claim": "It helps.", "place": "section 5", "setting": "digits", "measured": "NLL"}
    expected |= {"n": "5", "effect": "1.0", "low": "0.5", "high": "1.5", "verdict": "holds"}
    expected |= {"result": "About fig2", "numbers": "../study/fig2.json"}
    assert {k: v if k != "effect" else str(float(v)) for k, v in row.items()} == expected


def test_links_lead_from_the_page_to_the_numbers_whatever_their_folder_is_called(tmp_path):
    make_figure(tmp_path / "a folder" / "50% & #1")
    _, html = reported(tmp_path, tmp_path / "a folder")
    assert 'href="../a%20folder/50%25%20%26%20%231/fig2.json"' in html


def test_a_folder_stands_for_what_lies_below_but_not_for_the_runs_behind_it(tmp_path):
    everything = tmp_path / "all"
    make_figure(everything / "fig2")
    make_figure(everything / "deep" / "er", "fig3")
    make_run(everything / "runs" / "erm0", "erm")
    assert titles(reported(tmp_path, everything)[0]) == ["About fig3", "About fig2"]
    shutil.rmtree(everything / "fig2")
    shutil.rmtree(everything / "deep")
    assert titles(reported(tmp_path, everything)[0]) == ["digits, mlp"]


def test_results_of_one_title_are_told_apart(tmp_path):
    lines, _ = reported(tmp_path, *(make_comparison(tmp_path / name) for name in ("one", "two")))
    assert titles(lines) == ["digits, mlp, α = 1 (one)", "digits, mlp, α = 1 (two)"]


def test_runs_with_other_settings_are_compared_apart(tmp_path):
    paths = [make_run(tmp_path / f"{e}-{m}", m, epochs=e) for e in (3, 5) for m in ("erm", "mixup")]
    lines, _ = reported(tmp_path, *paths)
    assert titles(lines) == ["digits, mlp (epochs 3)", "digits, mlp (epochs 5)"]


def test_an_alpha_of_its_own_is_a_comparison_where_every_method_has_several(tmp_path):
    mixed = [make_run(tmp_path / f"m{a}", "mixup", alpha=a) for a in (1.0, 0.2)]
    lines, _ = reported(tmp_path, *mixed)
    assert titles(lines) == ["digits, mlp, α = 0.2", "digits, mlp, α = 1"]
    lines, html = reported(tmp_path, make_run(tmp_path / "erm", "erm"), *mixed)
    assert len(lines) == 1
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
        reported(tmp_path, run)
    with pytest.raises(CheckpointError, match=r"no result, and none that can be shown: .*not "):
        reported(tmp_path, tmp_path / "all")
    make_figure(tmp_path / "all" / "study", missing=["CIFAR-100: not at hand"])
    lines, html = reported(tmp_path, tmp_path / "all")
    assert [line.partition(": ")[0] for line in lines[1:]] == ["  missing", "missing"]
    assert html.count('class="missing"') == 2


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    runs = [make_run(tmp_path / f"{n}", seed=n, count=n) for n in (60, 70)]
    with pytest.raises(CheckpointError, match=r"digits, mlp: these runs cannot be compared: .*one"):
        reported(tmp_path, *runs)
    shutil.copytree(runs[0], tmp_path / "copy")
    with pytest.raises(ConfigurationError, match=r"60 and .*copy are runs with the same settings"):
        reported(tmp_path, runs[0], tmp_path / "copy")


def test_nothing_to_show(tmp_path):
    (tmp_path / "empty" / "er").mkdir(parents=True)
    (tmp_path / "empty" / "notes.json").write_text("[1]")
    for name, message in (
        ("gone", r"there is nothing at .*gone"),
        ("empty", r"empty holds no result\. A result is"),
        ("empty/notes.json", r"notes.json is no result"),
    ):
        with pytest.raises(CheckpointError, match=message):
            reported(tmp_path, tmp_path / name)
    with pytest.raises(ConfigurationError, match="at least one"):
        ReportOptions(runs=[])


def test_results_of_other_versions_and_damaged_ones_are_named(tmp_path):
    file = make_figure(tmp_path / "study", "metrics") / "metrics.json"
    text, run = file.read_text(), make_run(tmp_path / "run") / "config.json"
    nested = text.partition('"title"')[0] + '"title": ' + "[" * 1000
    for place, content, message in (
        (file, text.replace("Document/1", "Report/1"), "the same `mixreg compare` again"),
        (file, text.replace("Document/1", "Later/1"), "`mixreg reproduce metrics` again"),
        (file, text[:-9], r"metrics.json is damaged: .*make it again"),
        (file, nested, r"metrics.json is damaged"),
        (run, "{", r"config.json is damaged"),
    ):
        place.write_text(content)
        with pytest.raises(CheckpointError, match=message):
            reported(tmp_path, place.parent)


@pytest.mark.parametrize("name", ["report.html", "claims.csv"])
def test_pages_of_somebody_else_are_not_replaced_and_ours_are(tmp_path, name):
    folder = make_figure(tmp_path / "figure")
    reported(tmp_path, folder)
    reported(tmp_path, folder, make_figure(tmp_path / "other", "fig3"))
    (tmp_path / "page" / name).write_text("mine")
    with pytest.raises(CheckpointError, match=rf"{name} is there and was not written by this vers"):
        reported(tmp_path, folder)
    assert (tmp_path / "page" / name).read_text() == "mine"


def test_the_results_of_this_repository_can_be_reported(tmp_path):
    lines, html = reported(tmp_path, RESULTS / "compare-cifar10-lenet")
    assert "claims: " in lines[0]
    assert "Reliability" in html
    assert "<svg role=" in html


def test_the_command_line_takes_several(tmp_path, capsys):
    paths = [make_figure(tmp_path / name, name) for name in ("fig2", "fig3")]
    main(["report", *map(str, paths), "--output", str(tmp_path / "page")])
    page = tmp_path / "page" / "report.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {page}"
    with pytest.raises(SystemExit) as exit_:
        main(["report", str(tmp_path / "gone")])
    assert exit_.value.code == 2
    assert "there is nothing at" in capsys.readouterr().err
