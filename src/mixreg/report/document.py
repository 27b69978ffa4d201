"""What an experiment, a comparison or a diagnosis says: sentences, tables, pictures, numbers."""

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, NamedTuple

from mixreg.evaluation import MeanInterval, mean_interval
from mixreg.report.figures import Picture, PictureSequence
from mixreg.report.records import (
    Claim,
    Judgement,
    MetricFormat,
    Record,
    Records,
    judge,
    mean_over_seeds,
    mean_text,
    metric_format,
    number,
    paired,
    range_text,
)

_WIDTH = 100
_FILE_NAME = re.compile(r"\w[\w.+-]*")
_MARKS: dict[Judgement, str] = {"better": " +", "worse": " −", "undecided": "  "}

Medium = Literal["text", "page", "csv"]


class Entry(NamedTuple):
    """One cell of a table, or one sentence, with what it is judged to say.

    Args:
        text: the cell or sentence.
        judgement: better, worse or undecided.
        beside: the interval beside the number of a cell, the heading above a sentence.
    """

    text: str
    judgement: Judgement = "undecided"
    beside: str = ""


def entries(values: Iterable[object]) -> list[Entry]:
    """Cells of plain values, empty for None."""
    return [Entry("" if value is None else str(value)) for value in values]


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        name: name for links and files.
        title: heading.
        note: what its numbers mean.
        headings: of the columns, the first one over the names of the rows.
        rows: name and cells of each row; one without cells is the heading of those below it.
        media: where the table is shown.

    Example:
        >>> print(Table("t", "Test", "", ["", "NLL"], [("raw", [Entry("1.2")])]).text())
        Test
               NLL
          raw  1.2
    """

    name: str
    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry]]]
    media: Sequence[Medium] = ("text", "page", "csv")

    @property
    def groups(self) -> list[tuple[str, list[tuple[str, Sequence[Entry]]]]]:
        """The rows below each heading, those above the first one below no name."""
        groups: list[tuple[str, list[tuple[str, Sequence[Entry]]]]] = [("", [])]
        for name, cells in self.rows:
            if cells:
                groups[-1][1].append((name, cells))
            else:
                groups.append((name, []))
        return [group for group in groups if any(group)]

    def text(self) -> str:
        """The table in columns of plain text, its cells to the right, + or − where judged."""
        marked = any(cell.judgement != "undecided" for _, cells in self.rows for cell in cells)
        indent = "  " if any(name for name, _ in self.groups) else ""
        lines = [[heading + "  " * marked for heading in self.headings]]
        for name, cells in self.rows:
            texts = [cell.text + _MARKS[cell.judgement] * marked for cell in cells]
            lines.append([indent + name, *texts] if cells else [name])
        widths = [max(map(len, c)) for c in zip(*(x for x in lines if len(x) > 1), strict=True)]
        texts = textwrap.wrap(self.title, _WIDTH)
        for first, *rest in lines:
            line = "  ".join([f"  {first:<{widths[0]}}", *map(str.rjust, rest, widths[1:])])
            texts += [line.rstrip()] if rest else ["", f"  {first}"]
        return "\n".join(texts)

    def csv(self) -> str:
        """The table as CSV, the headings first."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows([name, *(cell.text for cell in cells)] for name, cells in self.rows)
        return file.getvalue()


def table(
    name: str,
    title: str,
    note: str,
    headings: list[str],
    metrics: Iterable[str],
    rows: Iterable[tuple[str, str | None, Records, Records]],
) -> Table:
    """Means over seeds, judged against a reference; cells are empty where there is no number.

    Args:
        name: name for links and files.
        title: heading.
        note: what the numbers mean.
        headings: of the name, α, each metric and n.
        metrics: the columns.
        rows: label, α or None for no such column, the records of the row, and those that it is
            judged against.

    Returns:
        The table.
    """
    metrics, filled = list(metrics), []
    for label, alpha, records, reference in rows:
        cells = [_cell(records.by_seed(m), reference.by_seed(m), m) for m in metrics]
        seeds = {record.seed for record in records}
        first = [] if alpha is None else [Entry(alpha)]
        filled.append((label, [*first, *cells, Entry(str(len(seeds)))]))
    return Table(name, title, note, headings, filled)


def _cell(values: Mapping[int, float], reference: Mapping[int, float], metric: str) -> Entry:
    if not values:
        return Entry("")
    form = metric_format(metric)._replace(factor=1)
    text = mean_text(mean_interval(list(values.values())), form)
    effect = mean_over_seeds(paired(values, reference))
    return Entry(text, judge(effect, form.direction)) if effect else Entry(text)


def effect_cell(effect: MeanInterval, form: MetricFormat) -> Entry:
    """A difference with its sign, whether it is better or worse, and its interval beside it."""
    text, interval = number(effect.mean, form, signed=True), range_text(effect, form)
    return Entry(text, judge(effect, form.direction), f"({interval})")


@dataclass(frozen=True)
class Document:
    """All that is to be said of one result.

    Args:
        title: heading.
        subtitle: on what data, with how many samples and seeds.
        findings: what the numbers say, in sentences; those of one heading stand together.
        advice: what to do, in sentences.
        caveats: what the numbers do not say.
        tables: the numbers as texts.
        pictures: the pictures.
        frames: pictures at several values of a parameter, each shown as a slider.
        claims: sentences of the paper that were tested.
        settings: configuration, one JSON-safe mapping for each run.
        environment: versions and hardware, one mapping for each run.
        missing: what should be here and is not, and why: runs left out, data not at hand.
        records: the measured numbers.
        numbers: further JSON-safe numbers.

    Raises:
        ValueError: two pictures, sequences or tables have one name, or a name is none for a file.

    Example:
        >>> print(Document("Figure 2", "two seeds", findings=[Entry("It rises.")]).text(), end="")
        Figure 2: two seeds
        <BLANKLINE>
        - It rises.
    """

    title: str
    subtitle: str = ""
    _: KW_ONLY
    findings: Sequence[Entry] = ()
    advice: Sequence[str] = ()
    caveats: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    frames: Sequence[PictureSequence] = ()
    claims: Sequence[Claim] = ()
    settings: Sequence[Mapping[str, Any]] = ()
    environment: Sequence[Mapping[str, Any]] = ()
    missing: Sequence[str] = ()
    records: Sequence[Record] = Records()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", Records(self.records))
        pictures = [picture.name for picture in self.all_pictures]
        sequences = [sequence.name for sequence in self.frames]
        for names in ([*pictures, *sequences], [table.name for table in self.tables]):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"names must be unique on a page, got several of {twice}")
            if odd := [name for name in names if not _FILE_NAME.fullmatch(name)]:
                raise ValueError(f"names are also those of files, got {odd}")

    @property
    def all_pictures(self) -> tuple[Picture, ...]:
        """The pictures, those of the sequences included."""
        framed = (frame.picture for sequence in self.frames for frame in sequence.frames)
        return (*self.pictures, *framed)

    def text(self) -> str:
        """Tables and sentences for the terminal."""
        title = f"{self.title}: {self.subtitle}" if self.subtitle else self.title
        tables = [f"{table.text()}\n" for table in self.tables if "text" in table.media]
        return "\n".join([f"{title}\n", *tables, *self._sentences()]) + "\n"

    def _sentences(self) -> Iterator[str]:
        heading = ""
        for finding in self.findings:
            if finding.beside != heading:
                heading = finding.beside
                yield heading
            yield _wrapped(finding.text)
        claims = [claim.text for claim in self.claims]
        missing = [f"missing: {reason}" for reason in self.missing]
        yield from map(_wrapped, [*self.advice, *claims, *self.caveats, *missing])


def _wrapped(sentence: str) -> str:
    return textwrap.fill(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  ")
