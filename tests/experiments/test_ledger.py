"""The ledger of the claims, from stored results alone."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from mixreg._errors import CheckpointError
from mixreg.evaluation import MeanInterval
from mixreg.experiments.least_squares import LeastSquaresSettings, least_squares
from mixreg.experiments.ledger import Line, claims, markdown, read_claims
from mixreg.experiments.reproduce import ReproduceOptions, reproduce
from mixreg.report.claims import Claim

RESULTS = Path(__file__).parents[2] / "results"


def _claim(statement, place, mean):
    return Claim(
        statement, place, "digits | mlp", "an effect", MeanInterval(mean, 0.1, 5), "positive"
    )


def test_collects_what_lies_below_a_folder(tmp_path):
    least_squares(LeastSquaresSettings(samples=20, repetitions=2), tmp_path / "a" / "b")
    lines = read_claims(tmp_path)
    assert [line.source for line in lines] == ["a/b/corollary3.json"] * 3
    text, page = reproduce(ReproduceOptions(name="claims", output=tmp_path))
    assert page == tmp_path / "claims" / "report.html"
    assert (
        "| Mixup does not change linear least squares. | section 4, Corollary 3 | 3 | 3 |" in text
    )
    assert (tmp_path / "claims" / "claims.md").read_text() == markdown(lines)
    assert (tmp_path / "claims" / "claims.csv").read_text().count("\n") == 4
    assert claims(tmp_path) == (text, page)


def test_refuses_a_folder_without_results(tmp_path):
    with pytest.raises(CheckpointError, match="holds no result"):
        claims(tmp_path)


def test_counts_verdicts_and_escapes_cells():
    lines = [
        Line(_claim("A holds.", "section 3", 1.0), "a.json"),
        Line(_claim("A holds.", "section 4", -1.0), "b.json"),
        Line(_claim("A holds.", "section 4", 0.0), "c.json"),
    ]
    text = markdown(lines)
    assert "| A holds. | section 3, section 4 | 3 | 1 | 1 | 1 |" in text
    assert r"digits \| mlp" in text
    assert text.count("\n## ") == 1
    assert "| +1.00 | +0.90 to +1.10 | holds | `a.json` |" in text


def test_a_result_that_cannot_be_read_is_named_everywhere(tmp_path):
    for name in ("a", "b"):
        least_squares(LeastSquaresSettings(samples=20, repetitions=2), tmp_path / name)
    damaged = tmp_path / "b" / "corollary3.json"
    damaged.write_text(damaged.read_text()[:-9])
    text, page = claims(tmp_path)
    told = (text, page.read_text(), (tmp_path / "claims" / "claims.md").read_text())
    assert all(str(damaged) in place for place in told)


def test_stored_ledger_is_that_of_the_stored_results():
    lines = read_claims(RESULTS)
    sources = [line.source for line in lines]
    assert sources.count("compare-cifar10-lenet/metrics.json") > 3
    assert (RESULTS / "claims" / "claims.md").read_text() == markdown(lines)
    assert Counter(line.claim.verdict for line in lines).total() > 20
    with (RESULTS / "claims" / "claims.csv").open() as file:
        rows = [
            (row["claim"], row["setting"], row["measured"], row["verdict"], row["numbers"])
            for row in csv.DictReader(file)
        ]
    expected = [
        (c.statement, c.setting, c.measured, c.verdict, f"../{source}") for c, source in lines
    ]
    assert sorted(rows) == sorted(expected)


def test_stored_results_are_small():
    files = [file for file in RESULTS.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".csv", ".json", ".md", ".svg"}
    assert max(file.stat().st_size for file in files) < 3e6
    assert sum(file.stat().st_size for file in files) < 15e6
