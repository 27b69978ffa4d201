"""Comparisons: what is paired with what, the tables, and a verdict that says no more than they."""

import csv
import dataclasses
import io

import pytest

from mixreg.evaluation import CORRECTIONS, METRICS, mean_interval
from mixreg.report import Group, comparison, read_document, write_document
from mixreg.report.groups import Groups
from mixreg.report.records import JUDGED, METRIC_FORMATS, mean_text, number

pytestmark = pytest.mark.usefixtures("no_pictures")
ERM, MIXUP = Group("erm", None), Group("mixup", 1.0)
STEADY, SHAKY = (0.010, 0.011, 0.012), (0.05, -0.04, 0.01)


def compared(runs, baseline="erm", title="digits, mlp", **about):
    return comparison(list(runs), title=title, baseline=baseline, **about)


def table(document, name):
    return next(table for table in document.tables if table.name == name)


def test_groups_come_with_the_baseline_first_and_pair_seeds(make_run):
    runs = [
        make_run(*group, raw={"nll": value}, rescaled={"nll": value - 0.1 * seed})
        for seed, (erm, mixup) in enumerate([(2.0, 1.5), (2.2, 1.9), (2.1, 1.4)])
        for group, value in ((("mixup", seed, 1.0), mixup), (("erm", seed, None), erm))
    ]
    groups = Groups(runs[::-1], "erm")
    assert groups.rows == [(g, c) for g in (ERM, MIXUP) for c in ("raw", "rescaled")]
    rescaled = (MIXUP, "rescaled", "nll")
    assert groups.values(*rescaled) == pytest.approx({0: 1.5, 1: 1.8, 2: 1.2})
    for effect, values in (
        (groups.mean(*rescaled), [1.5, 1.8, 1.2]),
        (groups.effect(*rescaled, "baseline"), [-0.5, -0.4, -0.9]),
        (groups.effect(*rescaled, "raw"), [0, -0.1, -0.2]),
    ):
        assert effect == pytest.approx(mean_interval(values))
    assert groups.effect(ERM, "raw", "nll", "baseline") is None
    assert groups.effect(MIXUP, "raw", "nll", "raw") is None
    assert groups.mean(MIXUP, "temperature", "nll") is None
    assert MIXUP.label == "mixup (α = 1)"


def test_only_common_seeds_are_paired_and_it_is_said(make_run):
    runs = [make_run("erm", s, raw={"nll": 1.0}) for s in (0, 1, 2)]
    runs += [make_run("mixup", s, 1.0, raw={"nll": 0.5}) for s in (1, 2, 3, 4)]
    assert Groups(runs, "erm").effect(MIXUP, "raw", "nll", "baseline") == (-0.5, 0.0, 2)
    unpaired = "mixup (α = 1) has the seeds [1, 2, 3, 4] and the baseline [0, 1, 2];"
    assert compared(runs).caveats[-1].startswith(unpaired)
    assert Groups([runs[0], runs[-1]], "erm").effect(MIXUP, "raw", "nll", "baseline") is None


def test_absent_corrections_and_bounds_are_remarked_on(make_run):
    runs = [make_run("erm", s, raw={}, absent=["temperature"]) for s in (0, 1)]
    remarks = (None, "too few errors")
    runs += [make_run("mixup", s, 1.0, raw={}, temperature={}, remark=remarks[s]) for s in (0, 1)]
    document = compared(runs)
    absent, bound = document.caveats[-2:]
    assert absent == "erm, temperature: absent in 2 of 2 runs, since it needs held-out examples."
    assert bound.startswith("mixup (α = 1), temperature: in 1 of 2 runs too few errors;")
    assert table(document, "means").rows[-1][1][-2] == ("1.500", "undecided", "± 0.000")


@pytest.mark.parametrize(
    ("made", "baseline", "message"),
    [
        ([], "erm", "at least one run"),
        ([("erm", 3, None), ("erm", 3, None)], "erm", r"several runs with one seed: \[3, 3\]"),
        ([("erm", 0, None), ("mixup", 0, 1)], "dropout", "'dropout' has no runs; .* erm, mixup"),
        ([("mixup", 0, 0.5), ("mixup", 0, 1)], "mixup", "'mixup' stands for 2 values of α"),
    ],
)
def test_refuses(make_run, made, baseline, message):
    with pytest.raises(ValueError, match=message):
        compared([make_run(*about, raw={}) for about in made], baseline)


def test_refuses_other_test_sets(make_run, sample_run):
    with pytest.raises(ValueError, match=r"one test set, got .*\(100, 10\), \(300, 5\)"):
        compared([make_run("erm", 0, raw={}), sample_run("mixup", 0, 1.0)])


def test_the_terminal_table_holds_every_mean_within_100_columns(two_methods):
    groups, text = Groups(two_methods, "erm"), compared(two_methods).text()
    assert max(map(len, text.splitlines())) <= 100
    means = [mean_text(groups.mean(*r, m), METRIC_FORMATS[m]) for r in groups.rows for m in JUDGED]
    assert all(mean in text for mean in means)
    assert all(text.count(f"  {correction} ") >= 2 for correction in CORRECTIONS)
    assert "over 3 seeds, 300 test examples" in text


def test_marks_follow_the_intervals(make_run):
    runs = [make_run("erm", s, raw={"nll": 1.0, "ece": 0.1}) for s in range(3)]
    worse = [{"nll": 0.5 + 0.01 * s, "ece": 0.2 + 0.01 * s} for s in range(3)]
    runs += [make_run("mixup", s, 1.0, raw=worse[s]) for s in range(3)]
    text = table(compared(runs), "performance").text()
    erm, mixup = (line for line in text.splitlines() if line.startswith("    raw"))
    assert not {"+", "−"} & set(erm)
    assert "0.5100 ± 0.0248 +" in mixup
    assert "21.00 ± 2.48 −" in mixup


def test_the_csv_holds_unrounded_numbers(two_methods):
    groups, numbers = Groups(two_methods, "erm"), table(compared(two_methods), "table")
    assert numbers.media == ["csv"]
    lines = list(csv.DictReader(io.StringIO(numbers.csv())))
    rows = [(*row, metric) for row in groups.rows for metric in METRICS]
    for line, (group, correction, metric) in zip(lines, rows, strict=True):
        assert (line["correction"], line["metric"]) == (correction, metric)
        assert (line["method"], line["alpha"]) == (group.method, str(group.alpha or ""))
        mean = groups.mean(group, correction, metric)
        assert (line["mean"], line["ci95_half_width"]) == (str(mean.mean), str(mean.half_width))
        for reference in ("baseline", "raw"):
            effect = groups.effect(group, correction, metric, reference)
            assert line[f"difference_to_{reference}"] == (str(effect.mean) if effect else "")


def test_the_document_holds_all_numbers_of_the_runs(two_methods, tmp_path):
    document = compared(two_methods, missing=["seed 3 is out"])
    page = write_document(document, tmp_path, name="metrics", page="report")
    stored = read_document(tmp_path / "metrics.json")
    assert stored.missing == ["seed 3 is out"]
    run = two_methods[1]
    (nll,) = stored.records.where(method="mixup", seed=0, prediction="rescaled", metric="nll")
    assert nll.value == run.evaluation.results["rescaled"].metrics.nll
    bins = stored.numbers["runs"][3]["evaluation"]["results"]["raw"]["reliability"]["counts"]
    assert tuple(bins) == run.evaluation.results["raw"].reliability.counts
    assert stored.settings[3] == {"method": "mixup", "alpha": 1.0, "seed": 0} | run.config
    assert [file.name for file in tmp_path.glob("*.csv")] == ["table.csv"]
    again = compared(two_methods[::-1], missing=["seed 3 is out"])
    other = write_document(again, tmp_path / "other", name="metrics", page="report")
    assert other.read_bytes() == page.read_bytes()


def test_several_alphas_of_a_method_become_a_slider(two_methods):
    runs = [dataclasses.replace(run, alpha=a) for a in (1.0, 0.2) for run in two_methods[1::2]]
    document = compared([*two_methods[::2], *runs])
    titles = [sequence.title for sequence in document.frames]
    assert titles == ["What each correction does to mixup", "Reliability of mixup"]
    assert all(sequence.values == ("0.2", "1") for sequence in document.frames)
    assert len(document.all_pictures) == 10
    alike = [dataclasses.replace(two_methods[0], method=name) for name in ("a b", "a/b", "A-B")]
    assert len(compared(alike, "a b").all_pictures) == 3 + 3 + 1 + 2 + 1


def test_claims_come_from_paired_differences(make_run):
    runs = []
    for seed in range(3):
        better = {"accuracy": 0.6 + seed / 100, "nll": 0.9, "ece": 0.1, "entropy": 1.5}
        runs.append(make_run("erm", seed, raw={}, rescaled=better))
        runs.append(make_run("mixup", seed, 0.5, raw={"entropy": 1.2 + seed / 50}, rescaled=better))
    claims = compared(runs).claims
    assert [(c.statement.split()[-2], c.measured.split(",")[0], c.verdict) for c in claims] == [
        ("ERM", "test Accuracy in points", "does not hold"),
        ("ERM", "test NLL in nats", "undecided"),  # equal in all seeds: no interval to judge by
        ("ERM", "test ECE in points", "undecided"),
        ("with", "test Accuracy in points", "holds"),
        ("with", "test NLL in nats", "undecided"),
        ("with", "test ECE in points", "undecided"),
        ("the", "test Entropy in nats", "holds"),
    ]
    assert {c.setting for c in claims} == {"digits, mlp", "digits, mlp, α = 0.5"}
    assert claims[3].effect.mean == pytest.approx(11)
    named = compared(runs[1::2], "mixup", title="digits, mlp, α = 0.5").claims
    assert named[0].setting == "digits, mlp, α = 0.5"


def shifted(make_run, shift, *, sign=1, seeds=3, theta_mean=0.75):
    """ERM against mixup, whose rescaled metrics are all its raw ones shifted by seed."""
    raw = {"accuracy": 0.7, "nll": 0.9, "ece": 0.2}
    for seed in range(seeds):
        rescaled = {name: value + sign * shift[seed] for name, value in raw.items()}
        yield make_run("erm", seed, raw={"accuracy": 0.6, "nll": 1.9, "ece": 0.3})
        yield make_run("mixup", seed, 1.0, theta_mean=theta_mean, raw=raw, rescaled=rescaled)


POINTS, NATS = "(95% CI +0.85 to +1.35, n = 3).", "(95% CI +0.0085 to +0.0135, n = 3)."
EQUAL = "Accuracy: 1.00 points higher in each of the 3 seeds; equal differences leave no interval"
ONE_SEED = "Accuracy: 1.00 points higher in the one seed there is; one seed has no interval and "
BETTER = f"""Accuracy: better, 1.10 points higher {POINTS}
NLL: worse, 0.0110 nats higher {NATS}
ECE: worse, 1.10 points higher {POINTS}"""
WORSE = """Accuracy: worse, 1.10 points lower (95% CI −1.35 to −0.85, n = 3).
NLL: better, 0.0110 nats lower (95% CI −0.0135 to −0.0085, n = 3).
ECE: better, 1.10 points lower (95% CI −1.35 to −0.85, n = 3)."""
UNSURE = "NLL: no difference that these 3 seeds can show (mean +0.0067 nats, 95% CI "


@pytest.mark.parametrize(
    ("shift", "changes", "sentences"),
    [
        (STEADY, {}, BETTER),
        (STEADY, {"sign": -1}, WORSE),
        (SHAKY, {}, UNSURE),
        ((0.01, 0.01, 0.01), {}, EQUAL),
        ((0, 0, 0), {}, "NLL: no difference in any of the 3 seeds."),
        (STEADY, {"seeds": 1}, ONE_SEED),
        (STEADY, {"theta_mean": 1.0}, ""),
    ],
)
def test_findings_say_no_more_than_their_intervals(make_run, shift, changes, sentences):
    title = "mixup (α = 1): rescaled prediction (equation 22) against the raw one"
    findings = compared(shifted(make_run, shift, **changes)).findings
    texts = [finding.text for finding in findings if finding.beside == title]
    for sentence in sentences.splitlines():
        assert any(text.startswith(sentence) for text in texts), sentence
    assert bool(sentences) == bool(texts)


def test_training_is_compared_with_the_baseline_and_one_seed_shows_nothing(make_run):
    document = compared(shifted(make_run, STEADY, seeds=1))
    assert document.findings[-1].beside == "Raw predictions: mixup (α = 1) against erm"
    assert {finding.judgement for finding in document.findings} == {"undecided"}
    (only,) = document.caveats
    assert only.startswith("There is one seed, so there are no intervals over seeds, and no diff")
    unknown = "mixup (α = 1). There is one seed, and its evaluation was stored without intervals by"
    assert document.advice[0].startswith(unknown)


def test_one_model_is_judged_by_its_test_examples(sample_run):
    run = sample_run("mixup", 0, 1.0, sureness=0.5)
    document, choice = compared([run], "mixup"), run.evaluation.choice
    changes, effects = table(document, "changes"), run.evaluation.results["temperature"].effects
    assert "by 300 test examples (paired bootstrap, 100 resamples), for this one" in changes.title
    _, *rows = changes.rows
    assert [name for name, _ in rows] == [name for name in CORRECTIONS if name != "raw"]
    assert effects["nll"].sign < 0
    cell = dict(rows)["temperature"][1]
    form, nll = METRIC_FORMATS["nll"], effects["nll"]
    assert cell == (f"{number(nll.mean, form)} ± {number(nll.half_width, form)}", "better", "")
    names = [table.name for table in document.tables]
    assert names == ["performance", "means", "effects", "changes", "table"]
    assert dict(table(document, "effects").rows)["temperature"][-1].text == "300"
    assert {f.text.partition("n = ")[2] for f in document.findings} == {"300 test examples)."}
    assert not document.claims  # those need seeds
    (advice,) = document.advice
    assert choice.split == "validation"
    assert "on the validation examples (−" in advice
    assert "On the test examples, which had no part in the choice: −" in advice
    assert any("100 resamples of 300 examples" in caveat for caveat in document.caveats)
    assert not any("one seed" in caveat for caveat in document.caveats)
    lines = list(csv.DictReader(io.StringIO(table(document, "table").csv())))
    assert {line["difference_to_raw_paired_by"] for line in lines} == {"example"}


def test_one_model_of_two_trainings_is_not_compared_by_examples(sample_run):
    runs = [sample_run("erm", 0, None), sample_run("mixup", 0, 1.0)]
    document = compared(runs)
    between = [f for f in document.findings if f.beside.startswith("Raw predictions")]
    assert {finding.judgement for finding in between} == {"undecided"}
    assert any("no difference between trainings is shown" in c for c in document.caveats)
    seeds = [sample_run("erm", seed, None) for seed in (0, 1)]
    assert not any(t.name == "changes" for t in compared(seeds).tables)


def advise(make_run, steps, held_out=None):
    """The advice for mixup runs whose NLL is that of raw and these steps, by seed."""
    runs = []
    for seed, raw in enumerate((1.0, 1.1, 0.9, 1.0)):
        nll = {name: {"nll": round(raw + step[seed], 6)} for name, step in steps.items()}
        runs.append(make_run("mixup", seed, 1.0, raw={"nll": raw}, **nll))
    if held_out:
        runs = [with_held_out(run, held_out) for run in runs]
    (advice,) = compared(runs, "mixup").advice
    return advice.removeprefix("mixup (α = 1). ")


LOW, MIDDLE = (-0.3, -0.31, -0.29, -0.3), (-0.2, -0.21, -0.19, -0.22)
LITTLE, NOISY = (-0.1, -0.12, -0.1, -0.08), (-0.36, -0.3, -0.35, -0.25)
RESCALED = (
    "Use the rescaled prediction (equation 22): it lowers the NLL on the test examples "
    "(−0.3000 nats, 95% CI "
)
UNLABELLED = "It takes no held-out labels and one pass of the network."
ONE, TWO = "one pass of the network.", "two passes of the network."
LABELS = "It takes held-out labels and one pass of the network."
BEST = (
    RESCALED
    + "−0.3130 to −0.2870, n = 4), and of the corrections that do, it has the lowest mean. "
    "It takes no held-out labels and one pass of the network."
)
CHEAPER = RESCALED + "−0.3130 to −0.2870, n = 4). The mean NLL of temperature scaling is lower "
BOTH = {"rescaled": LITTLE, "temperature": MIDDLE, "rescaled_and_temperature": LOW}
NEITHER = {"rescaled": (-0.3, 0.2, -0.3, 0.2), "temperature": (0.1, 0.1, 0.2, 0.1)}
WILD = (-0.9, 0.2, -0.9, 0.4)


@pytest.mark.parametrize(
    ("steps", "begin", "end"),
    [
        ({"rescaled": LOW, "temperature": LITTLE}, BEST, ONE),
        ({"rescaled": LOW, "temperature": NOISY}, CHEAPER, f"it asks for more. {UNLABELLED}"),
        ({"rescaled": LOW, "scale-only": NOISY}, "Use the outer half of equation 22 a", ONE),
        ({"rescaled": LOW, "two-views": NOISY}, RESCALED, f"it asks for more. {UNLABELLED}"),
        ({"rescaled": LITTLE, "two-views": LOW}, "Use the mean of the rescaled and the scal", TWO),
        ({"two-views": LOW, "temperature": NOISY}, "Use the mean of the rescaled and the sc", TWO),
        (BOTH, "Use the rescaled prediction with a fitted temperature: it lowers the NLL", LABELS),
        ({"rescaled": LITTLE, "scale-only": LOW}, "Use the outer half of equation 22 alone (s", ""),
        ({"rescaled": LITTLE, "shrink-only": LOW}, "Use the inner half of equation 22 alone (", ""),
        ({"rescaled": WILD, "temperature": LITTLE}, "Use temperature scaling: it", LABELS),
        (
            NEITHER,
            "Keep the raw prediction: no correction is shown to lower its NLL on th",
            "",
        ),
    ],
)
def test_advice_takes_more_only_where_it_is_shown_to_be_better(make_run, steps, begin, end):
    advice = advise(make_run, steps)
    assert advice.startswith(begin)
    assert advice.endswith(end)


def with_held_out(run, steps):
    """The run with a validation NLL that differs from that of raw by these steps."""
    results = {
        name: dataclasses.replace(
            result,
            held_out=dataclasses.replace(
                result.metrics, nll=1.0 + (steps[name][run.seed] if name in steps else 0)
            ),
        )
        for name, result in run.evaluation.results.items()
    }
    return dataclasses.replace(run, evaluation=dataclasses.replace(run.evaluation, results=results))


def test_advice_is_chosen_on_validation_and_told_on_test(make_run):
    steps = {"rescaled": LITTLE, "scale-only": LOW}
    advice = advise(make_run, steps, {"rescaled": LOW, "scale-only": LITTLE})
    assert advice.startswith(
        "Use the rescaled prediction (equation 22): it lowers the NLL on the v"
    )
    assert "On the test examples, which had no part in the choice: −0.1000 nats, 95% CI" in advice


@pytest.mark.parametrize(("seeds", "few"), [(2, True), (4, True), (5, False)])
def test_caveats_count_the_comparisons_and_warn_of_few_seeds(make_run, seeds, few):
    groups = [("erm", s, None) for s in range(seeds)] + [("mixup", s, 1.0) for s in range(seeds)]
    caveats = compared(make_run(*group, raw={}, rescaled={}) for group in groups).caveats
    # erm rescaled and mixup rescaled to both references, mixup raw to one: 5 times 4 metrics
    assert "20 paired 95% intervals" in caveats[0]
    assert "about 1 of them" in caveats[0]
    assert any(f"With {seeds} seeds" in caveat for caveat in caveats) == few
    assert any("chosen on the same test examples" in caveat for caveat in caveats)
