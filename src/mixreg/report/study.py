"""The page of a study: sentences, tables and pictures, as one HTML file and as plain text."""

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from mixreg.files import write_bytes, write_json
from mixreg.report.settings import settings
from mixreg.report.style import DARK, Picture, variable
from mixreg.report.wording import Judgement

_WIDTH = 100


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
    """

    title: str
    subtitle: str
    findings: Sequence[Entry]
    caveats: Sequence[str]
    tables: Sequence[StudyTable]
    pictures: Sequence[Picture] = ()
    settings: Sequence[Mapping[str, Any]] = ()
    environment: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def text(self) -> str:
        """Tables, findings and caveats for the terminal.

        Returns:
            The text, ending in a line break.
        """
        tables = [f"{table.text()}\n" for table in self.tables]
        sentences = [
            textwrap.fill(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  ")
            for sentence in (*(finding.text for finding in self.findings), *self.caveats)
        ]
        return "\n".join([f"{self.title}: {self.subtitle}\n", *tables, *sentences]) + "\n"


def write_study(study: Study, folder: Path, numbers: Mapping[str, Any], *, name: str) -> Path:
    """Write the page, the numbers, the tables and the pictures, each whole or not at all.

    Args:
        study: what was found.
        folder: where to; made if missing.
        numbers: JSON-safe values behind the study.
        name: file name of the page and of the numbers, without ending.

    Returns:
        The page's path.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for picture in study.pictures:
        write_bytes(figures / f"{picture.name}.svg", picture.svg.encode())
    for table in study.tables:
        write_bytes(folder / f"{table.name}.csv", table.csv().encode())
    write_json(folder / f"{name}.json", numbers)
    page = folder / f"{name}.html"
    write_bytes(page, _page(study).encode())
    return page


def _page(study: Study) -> str:
    environment = Environment(
        loader=PackageLoader("mixreg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("study.html.j2").render(
        study=study,
        settings=settings(study.settings) if study.settings else None,
        environment=settings(study.environment) if study.environment else None,
        colours=[(variable(light), light, dark) for light, dark in DARK.items()],
    )
