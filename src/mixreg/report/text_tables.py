"""The numbers of a comparison as plain text: for the terminal and for spreadsheets."""

import csv
import io

from mixreg.evaluation import METRICS, MetricName
from mixreg.report.summary import Comparison, Row
from mixreg.report.wording import JUDGED, SCALES, Judgement, judge, mean_text

_WIDTH = 100
_NAME, _CELL = 20, 19
_MARKS: dict[Judgement, str] = {"better": "+", "worse": "-", "undecided": " "}


def print_table(comparison: Comparison) -> str:
    """Means over seeds as plain text, at most 100 columns wide.

    Values that differ from the raw prediction of the baseline, by a paired difference whose 95%
    interval excludes 0, have a + or - beside them.

    Args:
        comparison: the summed up runs.

    Returns:
        The table, ending in a line break.
    """
    headings = [f"{SCALES[name].heading}  " for name in JUDGED]
    lines = ["".join([" " * (_NAME + 2), *(f"{heading:>{_CELL}}" for heading in headings)])]
    for group in comparison.groups:
        lines += ["", _cut(group.label)]
        for row in comparison.rows:
            if row.group == group:
                cells = (f"{_cell(row, name):>{_CELL}}" for name in JUDGED)
                lines.append("".join([f"  {row.correction:<{_NAME}}", *cells]))
    n = dict.fromkeys(str(row.means["accuracy"].n) for row in comparison.rows)
    seeds = "1 seed" if list(n) == ["1"] else f"{' or '.join(n)} seeds"
    lines += [
        "",
        f"Mean ± 95% confidence interval over {seeds}, {comparison.count} test examples.",
        "+ better, - worse: the 95% interval of the paired difference excludes 0 (none is widened",
        _cut(f"for many comparisons); compared with {comparison.baseline.label}, raw."),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def csv_table(comparison: Comparison) -> str:
    """One line for each group, correction and metric, neither rounded nor scaled.

    Args:
        comparison: the summed up runs.

    Returns:
        CSV with a header; cells that do not apply are empty.
    """
    header = ["method", "alpha", "correction", "metric", "n", "mean", "ci95_half_width"]
    for reference in ("baseline", "raw"):
        header += [f"difference_to_{reference}", f"difference_to_{reference}_ci95_half_width"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for row in comparison.rows:
        for name in METRICS:
            mean = row.means[name]
            line = [*row.group, row.correction, name, mean.n, mean.mean, mean.half_width]
            for differences in (row.to_baseline, row.to_raw):
                line += differences[name][:2] if differences else (None, None)
            writer.writerow(line)
    return file.getvalue()


def _cell(row: Row, name: MetricName) -> str:
    mark = " "
    if row.to_baseline is not None:
        mark = _MARKS[judge(row.to_baseline[name], SCALES[name].direction)]
    return f"{mean_text(row.means[name], SCALES[name])} {mark}"


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
