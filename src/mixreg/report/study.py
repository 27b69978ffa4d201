"""The page of a study: sentences, tables and pictures, as one HTML file and as plain text."""

import csv
import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from mixreg._errors import CheckpointError
from mixreg._files import write_bytes, write_json
from mixreg.report.claims import Claim
from mixreg.report.page import Article, render_page
from mixreg.report.pages import settings
from mixreg.report.replacing import check_replaceable
from mixreg.report.sequence import PictureSequence
from mixreg.report.style import Picture
from mixreg.report.wording import Judgement, claim_text

STUDY_FORMAT = "mixreg.Study/1"
_WIDTH = 100
_FILE_NAME = re.compile(r"\w[\w.+-]*")


class Entry(NamedTuple):
    """One cell of a table, or one sentence, with what it is judged to say."""

    text: str
    judgement: Judgement = "undecided"


@dataclass(frozen=True)
class StudyTable:
    """A table of texts.

    Args:
        name: name for links and files.
        title: heading.
        note: what its numbers mean.
        headings: of the columns, the first one over the names of the rows.
        rows: name and cells of each row.
    """

    name: str
    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry]]]

    def text(self) -> str:
        """The table in columns of plain text, its cells to the right, + or − where judged.

        Returns:
            Lines without an ending line break.
        """
        marks: dict[Judgement, str] = {"better": " +", "worse": " −", "undecided": "  "}
        marked = any(cell.judgement != "undecided" for _, cells in self.rows for cell in cells)
        lines = [[f"{heading}  " if marked else heading for heading in self.headings]]
        for name, cells in self.rows:
            lines.append([name, *(c.text + marks[c.judgement] * marked for c in cells)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join([f"{line[0]:<{widths[0]}}", *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *(f"  {text}" for text in texts)])

    def csv(self) -> str:
        """The table as CSV.

        Returns:
            Lines with the headings first.
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows([name, *(cell.text for cell in cells)] for name, cells in self.rows)
        return file.getvalue()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back the table from the values that a study stores.

        Args:
            values: values by name.

        Returns:
            The table.
        """
        rows = [(name, [Entry(*cell) for cell in cells]) for name, cells in values["rows"]]
        return cls(**(values | {"rows": rows}))


@dataclass(frozen=True)
class Study:
    """What a study found.

    Args:
        title: heading.
        subtitle: on what data, with how many samples and seeds.
        findings: what the numbers say, in sentences.
        caveats: what they do not say.
        tables: the numbers.
        pictures: the pictures.
        settings: configuration, one JSON-safe mapping for each run.
        environment: versions and hardware, one mapping for each run.
        frames: pictures at several values of a parameter, each shown as a slider.
        claims: sentences of the paper that were tested.
        missing: what should be here and is not, and why: runs left out, data not at hand.

    Raises:
        ValueError: two pictures, sequences or tables have one name, or a name is none for a file.
    """

    title: str
    subtitle: str
    findings: Sequence[Entry]
    caveats: Sequence[str]
    tables: Sequence[StudyTable]
    pictures: Sequence[Picture] = ()
    settings: Sequence[Mapping[str, Any]] = ()
    environment: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    frames: Sequence[PictureSequence] = ()
    claims: Sequence[Claim] = ()
    missing: Sequence[str] = ()

    def __post_init__(self) -> None:
        pictures = [picture.name for picture in self.all_pictures]
        sequences = [sequence.name for sequence in self.frames]
        for names in ([*pictures, *sequences], [table.name for table in self.tables]):
            twice = sorted({name for name in names if names.count(name) > 1})
            odd = [name for name in names if not _FILE_NAME.fullmatch(name)]
            if twice:
                raise ValueError(f"names must be unique on a page, got several of {twice}")
            if odd:
                raise ValueError(f"names are also those of files, got {odd}")

    @property
    def all_pictures(self) -> tuple[Picture, ...]:
        """The pictures, those of the sequences included."""
        framed = (frame.picture for sequence in self.frames for frame in sequence.frames)
        return (*self.pictures, *framed)

    def text(self) -> str:
        """Tables, findings and caveats for the terminal.

        Returns:
            The text, ending in a line break.
        """
        tables = [f"{table.text()}\n" for table in self.tables]
        sentences = [
            textwrap.fill(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  ")
            for sentence in self._sentences()
        ]
        return "\n".join([f"{self.title}: {self.subtitle}\n", *tables, *sentences]) + "\n"

    def _sentences(self) -> Iterator[str]:
        yield from (finding.text for finding in self.findings)
        yield from map(claim_text, self.claims)
        yield from self.caveats
        yield from (f"missing: {hole}" for hole in self.missing)

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON-safe values, from which its page can be made again.

        Returns:
            Values by name, with the format under "format".
        """
        return {
            "format": STUDY_FORMAT,
            **vars(self),
            "findings": [list(finding) for finding in self.findings],
            "caveats": list(self.caveats),
            "tables": [asdict(table) for table in self.tables],
            "pictures": [asdict(picture) for picture in self.pictures],
            "settings": [dict(values) for values in self.settings],
            "environment": [dict(values) for values in self.environment],
            "frames": [sequence.to_dict() for sequence in self.frames],
            "claims": [claim.to_dict() for claim in self.claims],
            "missing": list(self.missing),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The study.

        Raises:
            CheckpointError: they were written by another version, or are damaged.
        """
        if values.get("format") != STUDY_FORMAT:
            raise CheckpointError(
                f"the study has the format {values.get('format')!r} and this version of mixreg "
                f"reads {STUDY_FORMAT!r}; read it with the version that wrote it, or make the "
                "result again with this one"
            )
        stored = {name: value for name, value in values.items() if name != "format"}
        try:
            return cls(
                **(
                    stored
                    | {
                        "findings": [Entry(*finding) for finding in values["findings"]],
                        "tables": [StudyTable.from_dict(table) for table in values["tables"]],
                        "pictures": [Picture(**picture) for picture in values["pictures"]],
                        "frames": [PictureSequence.from_dict(s) for s in values["frames"]],
                        "claims": [Claim.from_dict(claim) for claim in values["claims"]],
                    }
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the study is damaged ({error!r}); make the result again"
            ) from error


def write_study(study: Study, folder: Path, numbers: Mapping[str, Any], *, name: str) -> Path:
    """Write the page, the numbers, the tables and the pictures, each whole or not at all.

    The numbers also hold the study itself, under "study", so that `mixreg report` can make the
    page again from that file alone.

    Args:
        study: what was found.
        folder: where to; made if missing.
        numbers: JSON-safe values behind the study; "format" names their format.
        name: file name of the page and of the numbers, without ending.

    Returns:
        The page's path.

    Raises:
        ValueError: the numbers have an entry "study" of their own.
        CheckpointError: the numbers there have another format.
    """
    if "study" in numbers:
        raise ValueError('the numbers have an entry "study", which is kept for the study itself')
    check_replaceable(folder / f"{name}.json", numbers.get("format"))
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for picture in study.all_pictures:
        write_bytes(figures / f"{picture.name}.svg", picture.svg.encode())
    for table in study.tables:
        write_bytes(folder / f"{table.name}.csv", table.csv().encode())
    write_json(folder / f"{name}.json", {**numbers, "study": study.to_dict()})
    page = folder / f"{name}.html"
    write_bytes(page, render_page([study_article(study, source=f"{name}.json")]).encode())
    return page


def study_article(study: Study, *, source: str | None = None) -> Article:
    """A study as a part of a page.

    Args:
        study: what was found.
        source: where its numbers are, as a link from the page.

    Returns:
        The article.
    """
    sections = {
        "findings": ("Findings" if study.findings else "Limits", study.findings or study.caveats),
        "pictures": ("Pictures", study.all_pictures),
        "tables": ("Tables", study.tables),
        "settings": ("Settings", study.settings or study.environment),
    }
    return Article(
        title=study.title,
        subtitle=study.subtitle,
        template="study.html.j2",
        values={
            "study": study,
            "settings": settings(study.settings) if study.settings else None,
            "environment": settings(study.environment) if study.environment else None,
        },
        sections=[(name, text) for name, (text, content) in sections.items() if content],
        claims=study.claims,
        missing=study.missing,
        source=source,
    )
