"""Documents as text and as files: read back whole, refused in one line, nobody else's replaced."""

import csv
import dataclasses
import json

import pytest

from mixreg import CheckpointError
from mixreg.report import (
    Document,
    Entry,
    Picture,
    PictureSequence,
    Record,
    Table,
    check_replaceable,
    read_document,
    write_document,
)
from mixreg.report.figures import Frame
from mixreg.report.page import settings

TABLE = Table(
    "numbers",
    "Numbers",
    "What they mean.",
    ["name", "a", "b"],
    [
        ("first, quoted", [Entry("1.5"), Entry("−2")]),
        ("second", [Entry("10", "better"), Entry("", "worse")]),
    ],
)
PICTURE = Picture("one", "One", "A caption.", "In words.", "<svg><g id='a'/></svg>")


@pytest.fixture
def document():
    return Document(
        "A <document>",
        "two seeds",
        findings=[Entry("It is better.", "better"), Entry("It is not.", "worse", "Then")],
        advice=["Use it."],
        caveats=["Not more than that."],
        tables=[TABLE],
        pictures=[PICTURE],
    )


def test_columns_of_the_text_are_aligned_and_judged():
    assert TABLE.text().splitlines() == [
        "Numbers",
        "  name             a     b",
        "  first, quoted  1.5    −2",
        "  second          10 +     −",
    ]
    assert Table("t", "T", "", ["", "v"], [("x", [Entry("1")])]).text() == "T\n     v\n  x  1"


def test_rows_without_cells_are_headings():
    table = Table("t", "T", "", ["", "v"], [("a", []), ("x", [Entry("1")]), ("b", [])])
    assert table.text() == "T\n       v\n\n  a\n    x  1\n\n  b"
    assert table.groups == [("a", [("x", [Entry("1")])]), ("b", [])]


def test_the_csv_is_read_back():
    rows = list(csv.reader(TABLE.csv().splitlines()))
    assert rows == [["name", "a", "b"], ["first, quoted", "1.5", "−2"], ["second", "10", ""]]


def test_the_terminal_gets_tables_and_sentences_in_lines_of_100(document):
    long = dataclasses.replace(document, caveats=["word " * 60], missing=["a run"])
    text = long.text()
    assert text.startswith(f"A <document>: two seeds\n\n{TABLE.text()}\n\n- It is better.\nThen\n")
    assert text.endswith("\n- missing: a run\n")
    assert max(map(len, text.splitlines())) <= 100
    hidden = dataclasses.replace(document, tables=[dataclasses.replace(TABLE, media=["page"])])
    assert "first, quoted" not in hidden.text()


def test_claims_and_holes_are_told_in_the_terminal(everything):
    text = " ".join(everything.text().split())
    assert "Claim two (section 5; digits): does not hold; NLL −1.00, 95% CI −1.40 to −0.60" in text
    assert "missing: CIFAR-100 is not at hand." in text


def test_a_stored_document_is_read_back_whole_and_makes_the_same_page(everything, tmp_path):
    records = [Record("s", "erm", None, 0, "raw", "nll", 1.5)]
    document = dataclasses.replace(everything, records=records, numbers={"x": {"y": [1, None]}})
    page = write_document(document, tmp_path / "new", name="all", page="report")
    again = read_document(tmp_path / "new" / "all.json")
    assert again.records.by_seed("nll") == {0: 1.5}
    assert (again.claims, again.frames, again.numbers) == (
        document.claims,
        document.frames,
        document.numbers,
    )
    assert page == tmp_path / "new" / "report.html"
    other = write_document(again, tmp_path / "b", name="all", page="report")
    assert other.read_bytes() == page.read_bytes()
    files = {p.relative_to(tmp_path / "b").as_posix() for p in (tmp_path / "b").rglob("*.*")}
    figures = {
        f"figures/{name}.svg" for name in ("alone", *(f"line-{a}" for a in (0.25, 0.5, 1, 2)))
    }
    assert files == {"report.html", "all.json", "numbers.csv"} | figures
    stored = json.loads((tmp_path / "b" / "all.json").read_text())
    assert stored["document"]["pictures"][0]["svg"] == "figures/alone.svg"
    assert "<svg" not in (tmp_path / "b" / "all.json").read_text()


def test_the_same_document_is_written_again_with_other_pictures(document, tmp_path):
    write_document(document, tmp_path, name="found")
    changed = dataclasses.replace(PICTURE, svg="<svg><path d='M 0 0'/></svg>")
    write_document(dataclasses.replace(document, pictures=[changed]), tmp_path, name="found")
    assert read_document(tmp_path / "found.json").pictures == [changed]


@pytest.mark.parametrize("name", ["found.json", "found.html", "numbers.csv", "figures/one.svg"])
def test_files_of_somebody_else_are_never_replaced(document, tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(CheckpointError, match=rf"{name} is (there|damaged).*again|repeated"):
        write_document(document, tmp_path, name="found")
    assert file.read_text() == "mine"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [file]


@pytest.mark.parametrize("name", ["metrics.json", "report.html"])
def test_what_cannot_be_replaced_is_known_before_any_work(document, tmp_path, name):
    check_replaceable(tmp_path / "new", name="metrics", page="report")
    write_document(document, tmp_path, name="metrics", page="report")
    check_replaceable(tmp_path, name="metrics", page="report")
    (tmp_path / name).write_text('{"format": "mixreg.Report/1"}')
    with pytest.raises(CheckpointError, match=rf"{name} is there and was not written by this vers"):
        check_replaceable(tmp_path, name="metrics", page="report")


NESTED = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"format": "mixreg.Document/1"',
            '"format": "mixreg.Study/1"',
            r"same `mixreg reproduce all`",
        ),
        ('"format": "mixreg.Document/1"', '"format": "mixreg.Report/1"', r"same `mixreg compare`"),
        ('"format": "mixreg.Document/1",', "", r"format"),
        (
            '"title": "Everything"',
            '"title": 1',
            r"`str`, got `int` - at `\$.document.title`",
        ),
        ('"title": "Everything",', "", r"missing required field `title`"),
        ('"title": "Everything"', '"title": "a", "title": "b"', r"'title' is there twice"),
        ('"title": "Everything"', '"tittle": 1, "title": "b"', r"unknown field 'tittle'"),
        ('"numbers": {}', '"numbers": {"x": NaN}', r"all.json is damaged"),
        ('"numbers": {}', '"numbers": {"x": ' + "9" * 5000 + "e5000}", r"all.json is damaged"),
        ('"numbers": {}', '"numbers": {"x": ' + NESTED + "}", r"all.json is damaged"),
        ('"expected": "positive"', '"expected": "up"', r"at `\$.document.claims\[\S*\].expected`"),
        ('"name": "alone"', '"name": "../alone"', r"names are also those of files"),
        ('"start": 1', '"start": 9', r"should start with frame 9"),
        (
            '"records": []',
            '"records": [["s", "e", null, "x", "r", "nll", 1]]',
            r"records\[\d*\]\[3\]",
        ),
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


def test_numbers_that_are_not_finite_are_not_stored(document, tmp_path):
    endless = dataclasses.replace(document, numbers={"x": float("inf")})
    with pytest.raises(CheckpointError, match=r"inf is not a finite number.*numbers.x"):
        write_document(endless, tmp_path, name="found")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_is_missing_is_named(document, tmp_path):
    write_document(document, tmp_path, name="found")
    (tmp_path / "figures" / "one.svg").unlink()
    with pytest.raises(CheckpointError, match=r"one.svg cannot be shown: .*make it again"):
        read_document(tmp_path / "found.json")
    with pytest.raises(CheckpointError, match=r"found2.json is missing"):
        read_document(tmp_path / "found2.json")


def test_names_are_unique_and_fit_for_files(document):
    with pytest.raises(ValueError, match=r"several of \['one'\]"):
        dataclasses.replace(document, pictures=[PICTURE, PICTURE])
    odd = dataclasses.replace(PICTURE, name="../one")
    with pytest.raises(ValueError, match=r"names are also those of files, got \['../one'\]"):
        dataclasses.replace(document, pictures=[odd])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "needs at least one frame, got none"),
        ({"frames": [Frame("1", PICTURE)] * 2}, "several frames for one value"),
        ({"start": 2}, "has 1 frames and should start with frame 2"),
        ({"start": -1}, "should start with frame -1"),
    ],
)
def test_sequences_that_cannot_be_shown_are_refused(changes, message):
    sequence = PictureSequence("s", "S", "", "α", [Frame("0.2", PICTURE)])
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(sequence, **changes)


def test_settings_are_split_into_shared_and_differing_ones():
    split = settings([{"a": {"b": {"c": [1, None]}}, "d": "text", "e": 1}, {"a": {}, "d": "text"}])
    assert split == ([("d", "text")], ["a.b.c", "e"], [["[1, null]", "1"], ["", ""]])
