"""Numbers by seed, how they are written and judged, and what their intervals say of a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixreg.evaluation import METRICS, MeanInterval, mean_interval
from mixreg.report import Claim, Entry, Record, Records, Sentence, paired, records_of, table
from mixreg.report.records import (
    METRIC_FORMATS,
    effect_texts,
    half_way,
    judge,
    mean_text,
    metric_format,
    number,
    range_text,
)

ECE = METRIC_FORMATS["ece"]


def rows(method, values, *, metric="ece", prediction="raw", alpha=1.0):
    return [Record("s", method, alpha, k, prediction, metric, v) for k, v in enumerate(values)]


RECORDS = Records([*rows("erm", (0.2, 0.3)), *rows("mixup", (0.1, 0.25, 0.2))])


def test_a_metric_by_seed_is_in_the_unit_it_is_shown_in():
    erm, mixup = (RECORDS.by_seed("ece", method=method) for method in ("erm", "mixup"))
    assert erm == pytest.approx({0: 20.0, 1: 30.0})
    assert paired(mixup, erm) == pytest.approx({0: -10.0, 1: -5.0})
    assert RECORDS.mean("ece", method="erm") == pytest.approx(mean_interval([20.0, 30.0]))
    assert RECORDS.mean("nll", method="erm") is None
    assert RECORDS.where(method="mixup", seed=2) == Records(rows("mixup", (0.1, 0.25, 0.2))[2:])


def test_two_values_for_one_seed_are_refused_and_equal_ones_are_one():
    with pytest.raises(ValueError, match=r"ece has several values for seed 0: 20 and 10; say of"):
        RECORDS.by_seed("ece")
    twice = Records([*rows("erm", (0.2,)), *rows("erm", (0.2,), alpha=2.0)])
    assert twice.by_seed("ece") == {0: 20}


def test_records_of_an_evaluation_are_its_metrics_and_temperatures(sample_run):
    results = sample_run("mixup", 3, 0.5).evaluation
    records = records_of(results, setting="digits", method="mixup", alpha=0.5, seed=3)
    assert len(records) == len(results.results) * len(METRICS) + 2
    assert {r[:4] for r in records} == {("digits", "mixup", 0.5, 3)}
    for prediction, result in results.results.items():
        values = {r.metric: r.value for r in records.where(prediction=prediction)}
        assert values["nll"] == result.metrics.nll
        assert values.get("temperature") == result.temperature


def test_a_table_judges_means_against_a_reference():
    better, raw = Records(rows("mixup", (0.101, 0.2))), RECORDS.where(method="erm")
    lines = [("x", "1", better, raw), ("y", None, raw, Records())]
    made = table("t", "T", "N", ["", "α", "ECE", "NLL", "n"], ["ece", "nll"], lines)
    means = [mean_text(mean_interval(v), ECE._replace(factor=1)) for v in ([10.1, 20], [20, 30])]
    assert made.rows == [
        ("x", [Entry("1"), Entry(means[0], "better"), Entry(""), Entry("2")]),
        ("y", [Entry(means[1]), Entry(""), Entry("2")]),
    ]


def test_numbers_have_the_digits_of_their_metric():
    accuracy, nll = METRIC_FORMATS["accuracy"], METRIC_FORMATS["nll"]
    assert number(0.12345, accuracy) == "12.35"
    assert number(-0.00001, accuracy, signed=True) == "0.00"
    assert number(-0.5, nll) == "−0.5000"
    assert number(0.5, nll, signed=True) == "+0.5000"
    assert mean_text(MeanInterval(0.5, None, 1), ECE) == "50.00"
    assert mean_text(MeanInterval(0.912, 0.004, 5), ECE) == "91.20 ± 0.40"
    assert range_text(MeanInterval(0.5, None, 1), ECE) == "no interval"
    assert range_text(MeanInterval(0.01, 0.02, 3), ECE) == "−1.00 to +3.00"
    assert metric_format("norm") == ("norm", 0, 1, 4, "", "")


@pytest.mark.parametrize(
    ("effect", "texts"),
    [
        ((-0.02268, 0.01059, 30), ("−0.023", "−0.033 to −0.012")),
        ((0.0625, None, 1), ("+0.0625", "no interval")),
        ((6.4e-15, 2.1e-15, 3), ("+6.4e−15", "+4.3e−15 to +8.5e−15")),
        ((6.4e-15, None, 1), ("+6.4e−15", "no interval")),
        ((0.0, 1e-9, 3), ("+0.0e+00", "−1.0e−09 to +1.0e−09")),
    ],
)
def test_effects_have_the_digits_that_their_interval_warrants(effect, texts):
    assert effect_texts(MeanInterval(*effect)) == texts


def test_only_whole_intervals_are_judged():
    narrow, wide = MeanInterval(0.5, 0.2, 5), MeanInterval(0.5, 0.6, 5)
    assert [judge(narrow, direction) for direction in (-1, 0, 1)] == [
        "worse",
        "undecided",
        "better",
    ]
    assert judge(wide, 1) == "undecided"


def claim(mean, half, expected, margin=None):
    effect = MeanInterval(mean, half, 1 if half is None else 5)
    return Claim("It is so.", "section 4", "a setting", "an effect", effect, expected, margin)


@pytest.mark.parametrize(
    ("verdict", "mean", "half", "expected", "margin"),
    [
        ("holds", 1.0, 0.5, "positive", None),
        ("does not hold", 1.0, 0.5, "negative", None),
        ("undecided", 1.0, 1.5, "positive", None),
        ("holds", -1.0, 0.5, "negative", None),
        ("undecided", 1.0, None, "positive", None),
        ("holds", 0.1, 0.2, "zero", 0.4),
        ("undecided", 0.1, 0.2, "zero", 0.25),
        ("does not hold", 0.5, 0.2, "zero", 0.25),
        ("undecided", 0.3, 0.2, "zero", 0.25),
        ("does not hold", -0.5, 0.2, "zero", 0.25),
        ("undecided", 0.1, 0.2, "zero", None),
        ("does not hold", 0.3, 0.2, "zero", None),
        ("undecided", 0.0, None, "zero", 1.0),
    ],
)
def test_verdict(verdict, mean, half, expected, margin):
    assert claim(mean, half, expected, margin).verdict == verdict


@given(st.floats(-2, 2), st.floats(0, 2))
def test_a_side_and_its_opposite_never_hold_together(mean, half):
    verdicts = {claim(mean, half, side).verdict for side in ("positive", "negative")}
    assert verdicts in ({"undecided"}, {"holds", "does not hold"})


@pytest.mark.parametrize(("expected", "margin"), [("positive", 1.0), ("zero", 0.0), ("zero", -1.0)])
def test_refuses_a_margin_that_means_nothing(expected, margin):
    with pytest.raises(ValueError, match="a margin is a positive number"):
        claim(0.1, 0.2, expected, margin)


def test_margin_is_half_way_to_the_other_method():
    assert half_way({0: 1.0, 1: 3.0}, {0: 5.0}) == (1.5, " (none within ±1.5, half way to ERM)")
    assert half_way({0: 1.0}, {0: 1.0}) == (None, "")
    assert half_way({0: 1.0}, {}) == (None, "")


def test_a_sentence_is_tested_by_an_effect_and_by_nothing_else():
    effect = {0: -0.3, 1: -0.31, 2: -0.29}
    (made,) = Sentence("It helps.", "section 4").test("digits", "NLL", effect, "zero", 0.2)
    mean = mean_interval([-0.3, -0.31, -0.29])
    measured = "NLL, paired by seed"
    assert made == Claim("It helps.", "section 4", "digits", measured, mean, "zero", 0.2)
    assert list(Sentence("It helps.", "").test("digits", "NLL", {}, "negative")) == []
