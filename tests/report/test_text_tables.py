"""Plain-text and CSV tables."""

import csv
import io

import pytest

from mixreg.evaluation import CORRECTIONS, METRICS
from mixreg.evaluation.intervals import MeanInterval
from mixreg.report import csv_table, print_table, summarize
from mixreg.report.wording import SCALES, mean_text, number, range_text


def test_the_terminal_table_holds_every_mean_within_100_columns(two_methods):
    comparison = summarize(two_methods, "erm")
    text = print_table(comparison)
    assert max(map(len, text.splitlines())) <= 100
    for row in comparison.rows:
        for name in ("accuracy", "nll", "ece", "brier"):
            assert mean_text(row.means[name], SCALES[name]) in text
    assert all(text.count(f"  {correction} ") >= 2 for correction in CORRECTIONS)
    assert "over 3 seeds, 300 test examples" in text


def test_marks_follow_the_intervals(make_run):
    runs = [make_run("erm", s, raw={"nll": 1.0, "ece": 0.1}) for s in range(3)]
    runs += [
        make_run("mixup", s, 1.0, raw={"nll": 0.5 + 0.01 * s, "ece": 0.2 + 0.01 * s})
        for s in range(3)
    ]
    erm, mixup = (x for x in print_table(summarize(runs, "erm")).splitlines() if "  raw" in x)
    assert "+" not in erm
    assert "-" not in erm
    assert "0.5100 ± 0.0248 +" in mixup
    assert "21.00 ± 2.48 -" in mixup


def test_one_seed_is_a_bare_number_and_a_long_name_is_cut(make_run):
    text = print_table(summarize([make_run("m" * 300, 0, raw={"nll": 1.25})], "m" * 300))
    assert "over 1 seed," in text
    assert "1.2500\n" not in text.replace("1.2500  ", "")
    assert "±" not in next(line for line in text.splitlines() if "  raw" in line)
    assert max(map(len, text.splitlines())) <= 100


def test_the_csv_holds_unrounded_numbers(two_methods):
    comparison = summarize(two_methods, "erm")
    lines = list(csv.DictReader(io.StringIO(csv_table(comparison))))
    assert len(lines) == len(comparison.rows) * len(METRICS)
    for row in comparison.rows:
        for name in METRICS:
            (line,) = [
                x
                for x in lines
                if (x["method"], x["correction"], x["metric"])
                == (row.group.method, row.correction, name)
            ]
            assert float(line["mean"]) == row.means[name].mean
            assert float(line["ci95_half_width"]) == row.means[name].half_width
            assert line["alpha"] == ("" if row.group.alpha is None else "1.0")
            for reference, differences in (("baseline", row.to_baseline), ("raw", row.to_raw)):
                found = line[f"difference_to_{reference}"]
                assert found == ("" if differences is None else str(differences[name].mean))


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
    assert number(value, SCALES[metric], signed=signed) == text


def test_intervals_in_words():
    assert mean_text(MeanInterval(0.5, None, 1), SCALES["ece"]) == "50.00"
    assert range_text(MeanInterval(0.5, None, 1), SCALES["ece"]) == "no interval"
    assert range_text(MeanInterval(0.01, 0.02, 3), SCALES["ece"]) == "−1.00 to +3.00"
