import csv
import dataclasses
import json

import pytest

from mixreg._errors import CheckpointError
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


def test_a_stored_study_is_read_back_whole_and_makes_the_same_page(everything, tmp_path):
    page = write_study(everything, tmp_path, {"x": 1}, name="all")
    stored = json.loads((tmp_path / "all.json").read_text())["study"]
    assert stored["format"] == "mixreg.Study/1"
    again = Study.from_dict(stored)
    assert again.to_dict() == everything.to_dict()
    assert (again.claims, again.frames) == (everything.claims, everything.frames)
    assert write_study(again, tmp_path / "b", {}, name="all").read_bytes() == page.read_bytes()
    figures = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert figures == {"alone", "line-0.25", "line-0.5", "line-1", "line-2"}


def test_claims_and_holes_are_told_in_the_terminal(everything):
    text = " ".join(everything.text().split())
    assert "Claim two (section 5; digits): does not hold; NLL −1.00, 95% CI −1.40 to −0.60" in text
    assert "missing: CIFAR-100 is not at hand." in text


@pytest.mark.parametrize("wrong", ["mixreg.Study/2", None])
def test_a_study_of_another_version_is_refused(everything, wrong):
    with pytest.raises(CheckpointError, match=r"reads 'mixreg.Study/1'.*make the result again"):
        Study.from_dict(everything.to_dict() | {"format": wrong})


@pytest.mark.parametrize(
    "damage",
    [
        {"tables": None},
        {"frames": [{}]},
        {"claims": [{"effect": {}}]},
        {"unknown": 1},
        {"pictures": [{"name": "../../x"}]},
    ],
)
def test_a_damaged_study_is_refused(everything, damage):
    with pytest.raises(CheckpointError, match="the study is damaged"):
        Study.from_dict(everything.to_dict() | damage)


def test_names_are_unique_and_fit_for_files(study):
    with pytest.raises(ValueError, match=r"several of \['one'\]"):
        dataclasses.replace(study, pictures=[*study.pictures] * 2)
    odd = dataclasses.replace(study.pictures[0], name="../one")
    with pytest.raises(ValueError, match=r"names are also those of files, got \['../one'\]"):
        dataclasses.replace(study, pictures=[odd])


def test_numbers_do_not_hide_the_study(study, tmp_path):
    with pytest.raises(ValueError, match='an entry "study"'):
        write_study(study, tmp_path, {"study": 1}, name="found")
