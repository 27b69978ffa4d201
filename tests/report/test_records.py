"""One long table of numbers, asked for one of them by seed; how numbers are written and judged."""

import pytest

from mixreg.evaluation import METRICS, MeanInterval, mean_interval
from mixreg.report import Entry, Record, Records, Sentence, Table, paired, records_of, table
from mixreg.report.records import (
    METRIC_FORMATS,
    effect_texts,
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
    assert RECORDS.by_seed("ece", method="erm") == pytest.approx({0: 20.0, 1: 30.0})
    assert RECORDS.mean("ece", method="erm") == pytest.approx(mean_interval([20.0, 30.0]))
    assert RECORDS.mean("nll", method="erm") is None
    assert RECORDS.where(method="mixup", seed=2) == Records(rows("mixup", (0.1, 0.25, 0.2))[2:])


def test_two_values_for_one_seed_are_refused_and_equal_ones_are_one():
    with pytest.raises(ValueError, match=r"ece has several values for seed 0: 20 and 10; say of"):
        RECORDS.by_seed("ece")
    assert Records([*rows("erm", (0.2,)), *rows("erm", (0.2,), alpha=2.0)]).by_seed("ece") == {
        0: 20
    }


def test_records_of_an_evaluation_are_its_metrics_and_temperatures(sample_run):
    run = sample_run("mixup", 3, 0.5)
    records = records_of(run.evaluation, setting="digits", method="mixup", alpha=0.5, seed=3)
    results = run.evaluation.results
    assert len(records) == len(results) * len(METRICS) + 2
    assert {r[:4] for r in records} == {("digits", "mixup", 0.5, 3)}
    for prediction, result in results.items():
        (nll,) = records.where(prediction=prediction, metric="nll")
        assert nll.value == result.metrics.nll
        temperatures = [r.value for r in records.where(prediction=prediction, metric="temperature")]
        assert temperatures == ([] if result.temperature is None else [result.temperature])


def test_differences_are_taken_over_common_seeds():
    first, second = (RECORDS.by_seed("ece", method=m) for m in ("mixup", "erm"))
    assert paired(first, second) == pytest.approx({0: -10.0, 1: -5.0})


def test_a_sentence_is_tested_by_an_effect_and_by_nothing_else():
    helps = Sentence("It helps.", "section 4")
    (claim,) = helps.test("digits", "NLL", {0: -0.3, 1: -0.31, 2: -0.29}, "negative")
    assert claim.effect == mean_interval([-0.3, -0.31, -0.29])
    assert (claim.place, claim.measured, claim.verdict) == (
        "section 4",
        "NLL, paired by seed",
        "holds",
    )
    (zero,) = helps.test("digits", "NLL", {0: 0.1, 1: 0.1}, "zero", 0.2)
    assert zero.margin == 0.2
    assert list(helps.test("digits", "NLL", {}, "negative")) == []


def test_a_table_judges_means_against_a_reference():
    better = Records(rows("mixup", (0.101, 0.2), prediction="rescaled"))
    raw = RECORDS.where(method="erm")
    headings = ["", "α", "ECE", "NLL", "n"]
    made = table("t", "T", "N", headings, ["ece", "nll"], [("x", "1", better, raw)])
    mean = mean_text(mean_interval([10.1, 20.0]), ECE._replace(factor=1))
    assert made == Table(
        "t",
        "T",
        "N",
        headings,
        [("x", [Entry("1"), Entry(mean, "better"), Entry(""), Entry("2")])],
    )


@pytest.mark.parametrize(
    ("value", "metric", "signed", "text"),
    [
        (0.12345, "accuracy", False, "12.35"),
        (-0.00001, "accuracy", True, "0.00"),
        (-0.5, "nll", False, "−0.5000"),
        (0.5, "nll", True, "+0.5000"),
    ],
)
def test_numbers_have_the_digits_of_their_metric(value, metric, signed, text):
    assert number(value, METRIC_FORMATS[metric], signed=signed) == text


def test_intervals_in_words():
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
    ],
)
def test_effects_have_the_digits_that_their_interval_warrants(effect, texts):
    assert effect_texts(MeanInterval(*effect)) == texts


@pytest.mark.parametrize(
    ("mean", "half", "direction", "judgement"),
    [
        (0.5, 0.2, -1, "worse"),
        (0.5, 0.2, 1, "better"),
        (0.5, 0.6, 1, "undecided"),
        (1, 0.1, 0, "undecided"),
    ],
)
def test_only_whole_intervals_are_judged(mean, half, direction, judgement):
    assert judge(MeanInterval(mean, half, 5), direction) == judgement
