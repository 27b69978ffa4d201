"""Tables of texts: for the terminal, for spreadsheets, for the page."""

import csv
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mixreg.evaluation import mean_interval
from mixreg.report.numbers import Judgement, judge, mean_text, metric_format
from mixreg.report.records import Records, paired

_WIDTH = 100

Medium = Literal["text", "page", "csv"]

_MARKS: dict[Judgement, str] = {"better": " +", "worse": " −", "undecided": "  "}


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
        indent = "  " if len(self.groups) > 1 or (self.groups[:1] and self.groups[0][0]) else ""
        lines = [[f"{heading}  " if marked else heading for heading in self.headings]]
        for name, entries in self.rows:
            cells = [cell.text + _MARKS[cell.judgement] * marked for cell in entries]
            lines.append([indent + name, *cells] if entries else [])
        columns = zip(*filter(None, lines), strict=True)
        widths = [max(map(len, column)) for column in columns]
        texts = textwrap.wrap(self.title, _WIDTH)
        names = iter([name for name, entries in self.rows if not entries])
        for line in lines:
            if line:
                cells = [f"  {line[0]:<{widths[0]}}", *map(str.rjust, line[1:], widths[1:])]
                texts.append("  ".join(cells).rstrip())
            else:
                texts += ["", f"  {next(names)}"]
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
    """Means over seeds, judged against a reference.

    Args:
        name: name for links and files.
        title: heading.
        note: what the numbers mean.
        headings: of the name, α, each metric and n.
        metrics: the columns.
        rows: label, α or None for no such column, the records of the row, and those that it is
            judged against.

    Returns:
        The table; cells are empty where there is no number.
    """
    metrics, filled = list(metrics), []
    for label, alpha, records, reference in rows:
        seeds = {record.seed for record in records}
        cells = [_cell(records.by_seed(m), reference.by_seed(m), m) for m in metrics]
        first = [] if alpha is None else [Entry(alpha)]
        filled.append((label, [*first, *cells, Entry(str(len(seeds)))]))
    return Table(name, title, note, headings, filled)


def _cell(values: Mapping[int, float], reference: Mapping[int, float], metric: str) -> Entry:
    if not values:
        return Entry("")
    form = metric_format(metric)._replace(factor=1)
    text = mean_text(mean_interval(list(values.values())), form)
    effect = list(paired(values, reference).values())
    return Entry(text, judge(mean_interval(effect), form.direction)) if effect else Entry(text)
