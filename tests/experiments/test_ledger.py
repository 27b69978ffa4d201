"""The ledger of the claims, from stored results alone."""

import csv
from pathlib import Path

import pytest

from mixreg._errors import CheckpointError
from mixreg.evaluation import MeanInterval
from mixreg.experiments.report import claims, collect, counted_once, lines_of, markdown
from mixreg.experiments.reproduce import reproduce
from mixreg.report import Claim, Document, write_document
from mixreg.settings import ReproduceOptions

RESULTS = Path(__file__).parents[2] / "results"


def _claim(place, mean, *, n=5, setting="digits | mlp", measured="an effect"):
    effect = MeanInterval(mean, 0.1, n)
    return Claim("It holds.", place, setting, measured, effect, "positive")


def _store(folder, *claims):
    write_document(Document(f"About {folder.name}", claims=claims), folder, name="fig2")


def read_claims(folder):
    return lines_of(collect([folder], folder / "claims"))


def _rows(folder):
    return list(csv.DictReader((folder / "claims" / "claims.csv").read_text().splitlines()))


def test_collects_counts_and_writes_what_lies_below_a_folder(tmp_path):
    effects = [("section 10", 1.0), ("section 3", 1.0), ("section 3", -1.0), ("section 4", 0.0)]
    tested = [_claim(place, mean, setting=f"{k} | s") for k, (place, mean) in enumerate(effects)]
    _store(tmp_path / "a" / "b", *tested)
    lines = read_claims(tmp_path)
    assert [line.claim.place[8:] for line in lines] == ["3", "3", "4", "10"]
    assert {line.source for line in lines} == {"a/b/fig2.json"}
    text, page = reproduce(ReproduceOptions(name="claims", output=tmp_path))
    assert page == tmp_path / "claims" / "report.html"
    assert "| It holds. | section 3, section 4, section 10 | 4 | 2 | 1 | 1 |" in text
    ledger = (tmp_path / "claims" / "claims.md").read_text()
    assert ledger == markdown(lines)
    assert ledger.count("\n## ") == 1
    written = r"| 0 \| s | an effect | 5 | +1.00 | +0.90 to +1.10 | holds | `a/b/fig2.json` |"
    assert written in ledger
    assert len(_rows(tmp_path)) == 4
    assert claims(tmp_path) == (text, page)


def test_a_situation_counts_once_with_the_largest_n_and_the_others_are_named(tmp_path):
    mixup, capital = "test NLL, mixup rescaled − raw", "test NLL, Mixup rescaled − raw"
    _store(tmp_path / "a", _claim("figure 4", 1.0, n=3, measured=mixup))
    _store(tmp_path / "b", _claim("figure 4", -1.0, n=9, measured=capital))
    _store(tmp_path / "c", _claim("figure 4", 0.0, n=9, measured=mixup))
    _store(tmp_path / "d", _claim("figure 4", 1.0, n=2, setting="another"))
    kept, left_out = counted_once(read_claims(tmp_path))
    assert [line.source for line in kept] == ["b/fig2.json", "d/fig2.json"]
    assert [line.source for line in left_out] == ["a/fig2.json", "c/fig2.json"]
    text, page = claims(tmp_path)
    assert "| It holds. | figure 4 | 2 | 1 | 1 | 0 |" in text
    assert "2 left out" in text
    for file in ("claims.md", "report.html"):
        written = (page.parent / file).read_text()
        assert "n = 3: holds, `a/fig2.json`" in written
        assert "n = 9: undecided, `c/fig2.json`" in written
    assert [row["n"] for row in _rows(tmp_path)] == ["9", "2"]
    assert page.read_text().count("<tr data-verdict=") == 2


def test_a_result_that_cannot_be_read_is_named_everywhere(tmp_path):
    with pytest.raises(CheckpointError, match="holds no result"):
        claims(tmp_path)
    for name in ("a", "b"):
        _store(tmp_path / name, _claim(name, 1.0))
    damaged = tmp_path / "b" / "fig2.json"
    damaged.write_text(damaged.read_text()[:-9])
    text, page = claims(tmp_path)
    written = (text, page.read_text(), (tmp_path / "claims" / "claims.md").read_text())
    assert all(str(damaged) in place for place in written)


def test_stored_ledger_is_that_of_the_stored_results():
    lines, left_out = counted_once(read_claims(RESULTS))
    sources = [line.source for line in lines]
    assert sources.count("compare-cifar10-lenet/metrics.json") > 3
    assert len(lines) > 20
    assert (RESULTS / "claims" / "claims.md").read_text() == markdown(lines, left_out)
    columns = ("claim", "setting", "measured", "verdict", "numbers")
    stored = [tuple(row[name] for name in columns) for row in _rows(RESULTS)]
    expected = [
        (c.statement, c.setting, c.measured, c.verdict, f"../{source}") for c, source in lines
    ]
    assert sorted(stored) == sorted(expected)


def test_stored_results_are_small():
    files = [file for file in RESULTS.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".csv", ".json", ".md", ".svg"}
    assert max(file.stat().st_size for file in files) < 3e6
    assert sum(file.stat().st_size for file in files) < 18e6
