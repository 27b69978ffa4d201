"""The ledger of the claims, from stored results alone."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from mixreg._errors import CheckpointError
from mixreg.evaluation import MeanInterval
from mixreg.experiments.ledger import Line, claims, counted_once, markdown, read_claims
from mixreg.experiments.reproduce import reproduce
from mixreg.report import Claim, Document, write_document
from mixreg.settings import ReproduceOptions

RESULTS = Path(__file__).parents[2] / "results"


def _claim(statement, place, mean, *, n=5, setting="digits | mlp", measured="an effect"):
    effect = MeanInterval(mean, 0.1, n)
    return Claim(statement, place, setting, measured, effect, "positive")


def _store(folder, *claims, name="fig2"):
    write_document(Document(f"About {folder.name}", claims=claims), folder, name=name)


def test_collects_what_lies_below_a_folder(tmp_path):
    tested = [_claim("It holds.", f"section {k}", 1.0) for k in (10, 3)]
    _store(tmp_path / "a" / "b", *tested, _claim("It holds.", "section 3", -1.0, setting="other"))
    lines = read_claims(tmp_path)
    assert [line.source for line in lines] == ["a/b/fig2.json"] * 3
    text, page = reproduce(ReproduceOptions(name="claims", output=tmp_path))
    assert page == tmp_path / "claims" / "report.html"
    assert "| It holds. | section 3 | 2 | 1 | 1 | 0 |" in text
    assert (tmp_path / "claims" / "claims.md").read_text().startswith(markdown(lines)[:400])
    assert (tmp_path / "claims" / "claims.csv").read_text().count("\n") == 3
    assert claims(tmp_path) == (text, page)


def test_a_situation_counts_once_with_the_largest_n_and_the_others_are_named(tmp_path):
    say = "test NLL, {} rescaled − raw"
    _store(tmp_path / "a", _claim("It helps.", "figure 4", 1.0, n=3, measured=say.format("mixup")))
    _store(tmp_path / "b", _claim("It helps.", "figure 4", -1.0, n=9, measured=say.format("Mixup")))
    _store(tmp_path / "c", _claim("It helps.", "figure 4", 0.0, n=9, measured=say.format("mixup")))
    _store(tmp_path / "d", _claim("It helps.", "figure 4", 1.0, n=2, setting="another"))
    kept, left_out = counted_once(read_claims(tmp_path))
    assert [line.source for line in kept] == ["b/fig2.json", "d/fig2.json"]
    assert [line.source for line in left_out] == ["a/fig2.json", "c/fig2.json"]
    text, page = claims(tmp_path)
    assert "| It helps. | figure 4 | 2 | 1 | 1 | 0 |" in text
    assert "2 left out" in text
    for file in ("claims.md", "report.html"):
        told = (page.parent / file).read_text()
        assert "n = 3: holds, `a/fig2.json`" in told
        assert "n = 9: undecided, `c/fig2.json`" in told
    rows = list(csv.DictReader((page.parent / "claims.csv").read_text().splitlines()))
    assert [row["n"] for row in rows] == ["9", "2"]
    assert page.read_text().count("<tr data-verdict=") == 2


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
        _store(tmp_path / name, _claim("It holds.", name, 1.0))
    damaged = tmp_path / "b" / "fig2.json"
    damaged.write_text(damaged.read_text()[:-9])
    text, page = claims(tmp_path)
    told = (text, page.read_text(), (tmp_path / "claims" / "claims.md").read_text())
    assert all(str(damaged) in place for place in told)


def test_stored_ledger_is_that_of_the_stored_results():
    lines, left_out = counted_once(read_claims(RESULTS))
    sources = [line.source for line in lines]
    assert sources.count("compare-cifar10-lenet/metrics.json") > 3
    assert (RESULTS / "claims" / "claims.md").read_text() == markdown(lines, left_out)
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
