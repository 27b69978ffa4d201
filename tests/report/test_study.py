import csv
import dataclasses
import json

import pytest

from mixreg.report.study import Entry, Study, StudyTable, write_study
from mixreg.report.style import Picture

TABLE = StudyTable(
    "numbers",
    "Numbers",
    "What they mean.",
    ["name", "a", "b"],
    [
        ("first, quoted", [Entry("1.5"), Entry("−2")]),
        ("second", [Entry("10", "better"), Entry("", "worse")]),
    ],
)


@pytest.fixture
def study():
    picture = Picture("one", "One", "A caption.", "In words.", '<svg xmlns="x"><g id="a"/></svg>')
    return Study(
        "A <study>",
        "two seeds",
        [Entry("It is better.", "better"), Entry("Nothing is shown.")],
        ["Not more than that."],
        [TABLE],
        [picture],
        [{"alpha": 1.0, "seed": 0}, {"alpha": 1.0, "seed": 1}],
        [{"python": "3"}],
    )


def test_columns_of_the_text_are_aligned_and_judged():
    assert TABLE.text().splitlines() == [
        "Numbers",
        "  name             a     b",
        "  first, quoted  1.5    −2",
        "  second          10 +     −",
    ]


def test_a_table_without_judgements_has_no_room_for_marks():
    table = StudyTable("t", "T", "", ["", "v"], [("x", [Entry("1")])])
    assert table.text() == "T\n     v\n  x  1"


def test_the_csv_is_read_back():
    rows = list(csv.reader(TABLE.csv().splitlines()))
    assert rows == [["name", "a", "b"], ["first, quoted", "1.5", "−2"], ["second", "10", ""]]


def test_everything_is_written_and_escaped(study, tmp_path):
    page = write_study(study, tmp_path / "new", {"x": 1}, name="found")
    html = page.read_text()
    assert "A &lt;study&gt;" in html
    assert "A <study>" not in html
    for text in ("It is better.", "Not more than that.", "first, quoted", "A caption.", "alpha"):
        assert text in html
    assert 'class="better"' in html
    assert 'aria-label="One. In words."' in html
    stored = json.loads((tmp_path / "new" / "found.json").read_text())
    assert stored["x"] == 1
    assert Study.from_dict(stored["study"]).to_dict() == study.to_dict()
    assert (tmp_path / "new" / "numbers.csv").read_text() == TABLE.csv()
    assert (tmp_path / "new" / "figures" / "one.svg").is_file()


def test_the_terminal_gets_tables_findings_and_caveats(study):
    text = study.text()
    assert text.startswith("A <study>: two seeds\n")
    assert TABLE.text() in text
    assert text.endswith("- It is better.\n- Nothing is shown.\n- Not more than that.\n")


def test_long_sentences_are_broken_for_the_terminal(study):
    long = dataclasses.replace(study, caveats=["word " * 60])
    assert max(map(len, long.text().splitlines())) <= 100
