"""Documents as text and as files: read back whole, refused in one line, nobody else's replaced."""

import csv
import dataclasses
import json

import pytest

from mixreg import CheckpointError
from mixreg.report import (
    Document,
    Entry,
    Frame,
    Picture,
    PictureSequence,
    Record,
    Table,
    check_replaceable,
    read_document,
    write_document,
)
from mixreg.report.page import settings

ROWS = [
    ("first, quoted", [Entry("1.5"), Entry("−2")]),
    ("second", [Entry("10", "better"), Entry("", "worse")]),
]
TABLE = Table("numbers", "Numbers", "What they mean.", ["name", "a", "b"], ROWS)
PICTURE = Picture("one", "One", "A caption.", "In words.", "<svg><g id='a'/></svg>")
DOCUMENT = Document(
    "A <document>",
    "two seeds",
    findings=[Entry("It is better.", "better"), Entry("It is not.", "worse", "Then")],
    advice=["Use it."],
    tables=[TABLE],
    pictures=[PICTURE],
)


def test_a_table_is_aligned_and_judged_as_text_and_plain_as_csv():
    assert TABLE.text().splitlines() == [
        "Numbers",
        "  name             a     b",
        "  first, quoted  1.5    −2",
        "  second          10 +     −",
    ]
    assert Table("t", "T", "", ["", "v"], [("x", [Entry("1")])]).text() == "T\n     v\n  x  1"
    assert list(csv.reader(TABLE.csv().splitlines())) == [
        ["name", "a", "b"],
        ["first, quoted", "1.5", "−2"],
        ["second", "10", ""],
    ]


def test_rows_without_cells_are_headings():
    table = Table("t", "T", "", ["", "v"], [("a", []), ("x", [Entry("1")]), ("b", [])])
    assert table.text() == "T\n       v\n\n  a\n    x  1\n\n  b"
    assert table.groups == [("a", [("x", [Entry("1")])]), ("b", [])]


def test_the_terminal_gets_tables_and_sentences_in_lines_of_100(everything):
    long = dataclasses.replace(DOCUMENT, caveats=["word " * 60], missing=["a run"])
    text = long.text()
    assert text.startswith(f"A <document>: two seeds\n\n{TABLE.text()}\n\n- It is better.\nThen\n")
    assert text.endswith("\n- missing: a run\n")
    assert max(map(len, text.splitlines())) <= 100
    hidden = dataclasses.replace(DOCUMENT, tables=[dataclasses.replace(TABLE, media=["page"])])
    assert "first, quoted" not in hidden.text()
    text = " ".join(everything.text().split())
    assert "Claim two (section 5; digits): does not hold; NLL −1.00, 95% CI −1.40 to −0.60" in text


def test_a_stored_document_is_read_back_whole_and_makes_the_same_page(everything, tmp_path):
    records = [Record("s", "erm", None, 0, "raw", "nll", 1.5)]
    document = dataclasses.replace(everything, records=records, numbers={"x": {"y": [1, None]}})
    page = write_document(document, tmp_path / "a", name="all", page="report")
    again = read_document(tmp_path / "a" / "all.json")
    assert page == tmp_path / "a" / "report.html"
    assert again.records.by_seed("nll") == {0: 1.5}
    for part in ("claims", "frames", "numbers"):
        assert getattr(again, part) == getattr(document, part)
    write_document(again, tmp_path / "b", name="all", page="report")
    written = [
        {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    figures = {
        f"figures/{name}.svg" for name in ("alone", "line-0.25", "line-0.5", "line-1", "line-2")
    }
    assert written[0] == written[1]
    assert set(written[0]) == {"report.html", "all.json", "numbers.csv"} | figures
    stored = json.loads(written[0]["all.json"])
    assert stored["document"]["pictures"][0]["svg"] == "figures/alone.svg"
    assert b"<svg" not in written[0]["all.json"]


def test_the_same_document_is_written_again_with_other_pictures(tmp_path):
    write_document(DOCUMENT, tmp_path, name="doc")
    changed = dataclasses.replace(PICTURE, svg="<svg><path d='M 0 0'/></svg>")
    write_document(dataclasses.replace(DOCUMENT, pictures=[changed]), tmp_path, name="doc")
    assert read_document(tmp_path / "doc.json").pictures == [changed]


@pytest.mark.parametrize("name", ["doc.json", "doc.html", "numbers.csv", "figures/one.svg"])
def test_files_of_somebody_else_are_never_replaced(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(CheckpointError, match=rf"{name} is (there|damaged).*(again|move it away)"):
        write_document(DOCUMENT, tmp_path, name="doc")
    assert file.read_text() == "mine"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [file]


@pytest.mark.parametrize("name", ["metrics.json", "report.html"])
def test_what_cannot_be_replaced_is_known_before_any_work(tmp_path, name):
    check_replaceable(tmp_path / "new", name="metrics", page="report")
    write_document(DOCUMENT, tmp_path, name="metrics", page="report")
    check_replaceable(tmp_path, name="metrics", page="report")
    (tmp_path / name).write_text('{"format": "mixreg.Report/1"}')
    with pytest.raises(CheckpointError, match=rf"{name} is there and was not written by this vers"):
        check_replaceable(tmp_path, name="metrics", page="report")


FORMAT, TITLE, NUMBERS = '"format": "mixreg.Document/1"', '"title": "Everything"', '"numbers": {'
NESTED = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (FORMAT, '"format": "mixreg.Study/1"', r"same `mixreg reproduce all`"),
        (FORMAT, '"format": "mixreg.Report/1"', r"same `mixreg compare`"),
        (f"{FORMAT},", "", r"format"),
        (TITLE, '"title": 1', r"`str`, got `int` - at `\$.document.title`"),
        (f"{TITLE},", "", r"missing required field `title`"),
        (TITLE, '"title": "a", "title": "b"', r"'title' is there twice"),
        (TITLE, '"tittle": 1, "title": "b"', r"unknown field 'tittle'"),
        (NUMBERS, f'{NUMBERS}"x": NaN', r"all.json is damaged"),
        (NUMBERS, f'{NUMBERS}"x": {"9" * 5000}e5000', r"all.json is damaged"),
        (NUMBERS, f'{NUMBERS}"x": {NESTED}', r"all.json is damaged"),
        ('"expected": "positive"', '"expected": "up"', r"at `\$.document.claims\[\S*\].expected`"),
        ('"name": "alone"', '"name": "../alone"', r"names are also those of files"),
        ('"start": 1', '"start": 9', r"should start with frame 9"),
        ('"records": [', '"records": [["s", "e", null, "x", "r", "n", 1]', r"records\[\d*\]\[3\]"),
        ("}", "", r"all.json is damaged"),
    ],
)
def test_damaged_documents_are_refused_in_one_line(everything, tmp_path, old, new, message):
    write_document(everything, tmp_path, name="all")
    file = tmp_path / "all.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(CheckpointError, match=message) as error:
        read_document(file)
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)
    assert "again" in str(error.value)


def test_numbers_that_are_not_finite_are_not_stored(tmp_path):
    endless = dataclasses.replace(DOCUMENT, numbers={"x": float("inf")})
    with pytest.raises(CheckpointError, match=r"inf is not a finite number.*numbers.x"):
        write_document(endless, tmp_path, name="doc")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(tmp_path):
    write_document(DOCUMENT, tmp_path, name="doc")
    (tmp_path / "figures" / "one.svg").unlink()
    with pytest.raises(CheckpointError, match=r"one.svg cannot be shown: .*make it again"):
        read_document(tmp_path / "doc.json")
    with pytest.raises(CheckpointError, match=r"other.json is missing"):
        read_document(tmp_path / "other.json")


SEQUENCE = PictureSequence("s", "S", "", "α", [Frame("0.2", PICTURE)])
ODD = dataclasses.replace(PICTURE, name="../one")


@pytest.mark.parametrize(
    ("whole", "changes", "message"),
    [
        (DOCUMENT, {"pictures": [PICTURE, PICTURE]}, r"several of \['one'\]"),
        (DOCUMENT, {"tables": [TABLE, TABLE]}, r"several of \['numbers'\]"),
        (DOCUMENT, {"pictures": [ODD]}, r"names are also those of files, got \['../one'\]"),
        (SEQUENCE, {"frames": []}, "needs at least one frame, got none"),
        (SEQUENCE, {"frames": [Frame("1", PICTURE)] * 2}, "several frames for one value"),
        (SEQUENCE, {"start": 2}, "has 1 frames and should start with frame 2"),
        (SEQUENCE, {"start": -1}, "should start with frame -1"),
    ],
)
def test_what_cannot_be_shown_is_refused(whole, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(whole, **changes)


def test_settings_are_split_into_shared_and_differing_ones():
    split = settings([{"a": {"b": {"c": [1, None]}}, "d": "text", "e": 1}, {"a": {}, "d": "text"}])
    assert split == ({"d": "text"}, [{"a.b.c": "[1, null]", "e": "1"}, {"a.b.c": "", "e": ""}])
