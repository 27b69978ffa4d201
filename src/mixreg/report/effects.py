"""Paired differences with their intervals, one panel for each metric."""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import MeanInterval, MetricName
from mixreg.report.style import CORRECTION_COLOURS, FAINT, INK, PAPER, panels
from mixreg.report.summary import Row
from mixreg.report.wording import JUDGED, SCALES, judge


class _Line(NamedTuple):
    """One line of the figure, the heading of a group where it has no differences."""

    label: str
    colour: str = INK
    differences: dict[MetricName, MeanInterval] | None = None


def effects_figure(rows: Sequence[Row], reference: Literal["baseline", "raw"]) -> Figure:
    """Paired differences to the raw prediction of the baseline or of the same models.

    Filled marks are differences whose interval excludes 0.

    Args:
        rows: the corrections, group by group, at least one of them with differences.
        reference: what the differences are taken to.

    Returns:
        The figure.
    """
    lines: list[_Line] = []
    for group, members in groupby(rows, key=lambda row: row.group):
        found = [
            _Line(row.correction, CORRECTION_COLOURS[row.correction], differences)
            for row in members
            if (differences := row.to_baseline if reference == "baseline" else row.to_raw)
        ]
        if found:
            lines += [_Line(group.label), *found]
    figure, axes = panels(len(JUDGED), size=(2.45, 0.85 + 0.25 * len(lines)))
    for name, panel in zip(JUDGED, axes, strict=True):
        _panel(panel, lines, name)
        panel.set_yticks(range(len(lines)), [line.label for line in lines])
        panel.set_ylim(len(lines) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0, labelleft=panel is axes[0])
    for text, line in zip(axes[0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if line.differences else "bold")
    return figure


def _panel(axes: Axes, lines: Sequence[_Line], metric: MetricName) -> None:
    scale = SCALES[metric]
    axes.set_title(scale.label)
    unit = f", {scale.step}" if scale.step else ""
    axes.set_xlabel(f"difference{unit}\n{'better →' if scale.direction > 0 else '← better'}")
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=3)
    axes.spines.left.set_visible(False)
    for height, line in enumerate(lines):
        if line.differences is None:
            continue
        difference = line.differences[metric]
        shown = judge(difference, scale.direction) != "undecided"
        axes.errorbar(
            scale.factor * difference.mean,
            height,
            xerr=scale.factor * (difference.half_width or 0.0),
            color=line.colour,
            marker="o",
            markersize=6,
            markerfacecolor=line.colour if shown else PAPER,
            capsize=3,
            linewidth=1.6,
        )
