"""The numbers of a comparison as the tables of the page."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mixreg.evaluation import METRICS, MeanInterval, MetricName
from mixreg.report.summary import Comparison, Row
from mixreg.report.wording import JUDGED, SCALES, Judgement, Scale, judge, number, range_text

_TEMPERATURE = Scale("T", 0, 1, 3, "", "")


class Cell(NamedTuple):
    """A number with its interval; both are empty where there is none."""

    value: str = ""
    interval: str = ""
    judgement: Judgement = "undecided"


class Line(NamedTuple):
    """One correction over n seeds."""

    correction: str
    n: int
    cells: Sequence[Cell]


class Block(NamedTuple):
    """The lines of one group, which its corrections rescale by θ̄."""

    label: str
    theta_mean: str
    lines: Sequence[Line]


class Table(NamedTuple):
    """A table with its heading, what its numbers mean, and its lines by group."""

    name: str
    title: str
    note: str
    headings: Sequence[str]
    blocks: Sequence[Block]


def page_tables(comparison: Comparison) -> list[Table]:
    """Means, differences to the baseline, and effects of each correction.

    Args:
        comparison: the summed up runs.

    Returns:
        The tables that have lines.
    """
    base = comparison.baseline.label
    judged = [SCALES[name].heading for name in JUDGED]
    tables = [
        Table(
            "means",
            "Means",
            "Mean ± half the width of its 95% confidence interval over n seeds. T is the "
            "temperature fitted to held-out examples; the rescaled prediction instead divides by "
            "θ̄, which the mixing law gives without fitting.",
            [*(SCALES[name].heading for name in METRICS), "T"],
            _blocks(comparison, lambda row: Line(row.correction, _n(row.means), _means(row))),
        ),
        Table(
            "differences",
            f"Differences to {base}, raw",
            f"Paired by seed: each prediction less the raw prediction of {base}, with the 95% "
            "confidence interval of the mean difference. Bold where it excludes 0.",
            judged,
            _blocks(comparison, lambda row: _line(row.correction, row.to_baseline)),
        ),
        Table(
            "effects",
            "Effect of each correction on the same models",
            "Paired by seed: each correction less the raw prediction of the same trained models, "
            "with the 95% confidence interval of the mean difference. Bold where the interval "
            "excludes 0.",
            judged,
            _blocks(comparison, lambda row: _line(row.correction, row.to_raw)),
        ),
    ]
    return [table for table in tables if table.blocks]


def _blocks(comparison: Comparison, make: Callable[[Row], Line | None]) -> list[Block]:
    """The groups that have lines."""
    blocks = []
    for group in comparison.groups:
        rows = [row for row in comparison.rows if row.group == group]
        lines = [line for line in map(make, rows) if line is not None]
        if lines:
            blocks.append(Block(group.label, f"{rows[0].theta_mean:.4g}", lines))
    return blocks


def _means(row: Row) -> list[Cell]:
    cells = [_mean(row.means[name], SCALES[name]) for name in METRICS]
    return [*cells, Cell() if row.temperature is None else _mean(row.temperature, _TEMPERATURE)]


def _mean(mean: MeanInterval, scale: Scale) -> Cell:
    half = "" if mean.half_width is None else f"± {number(mean.half_width, scale)}"
    return Cell(number(mean.mean, scale), half)


def _line(correction: str, differences: dict[MetricName, MeanInterval] | None) -> Line | None:
    if differences is None:
        return None
    cells = [_difference(differences[name], SCALES[name]) for name in JUDGED]
    return Line(correction, _n(differences), cells)


def _difference(difference: MeanInterval, scale: Scale) -> Cell:
    return Cell(
        number(difference.mean, scale, signed=True),
        f"({range_text(difference, scale)})",
        judge(difference, scale.direction),
    )


def _n(means: dict[MetricName, MeanInterval]) -> int:
    return means["nll"].n
