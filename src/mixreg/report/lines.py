"""Lines with intervals, the common part of the figures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import MeanInterval
from mixreg.report.style import PAPER


class Line(NamedTuple):
    """A mean with its interval at each of several places, drawn `factor` times as large."""

    label: str
    colour: str
    style: str
    x: Sequence[float]
    y: Sequence[MeanInterval]
    factor: float = 1.0


def draw_band(axes: Axes, line: Line) -> None:
    """A line with its interval as a band.

    Args:
        axes: where to draw.
        line: what to draw.
    """
    mean, half = _arrays(line)
    axes.plot(line.x, mean, color=line.colour, linestyle=line.style, label=line.label)
    axes.fill_between(line.x, mean - half, mean + half, color=line.colour, alpha=0.2, linewidth=0)


def draw_bars(axes: Axes, line: Line) -> None:
    """A line with marks, hollow ones on a dotted line, and its intervals as bars.

    Args:
        axes: where to draw.
        line: what to draw.
    """
    mean, half = _arrays(line)
    axes.errorbar(
        line.x,
        mean,
        yerr=half,
        color=line.colour,
        linestyle=line.style,
        marker="o",
        markersize=3.5,
        markerfacecolor=PAPER if line.style == ":" else line.colour,
        capsize=2,
        linewidth=1.5,
        elinewidth=1,
        label=line.label,
    )


def legend_above(figure: Figure, axes: Axes) -> None:
    """One legend over the whole figure.

    Args:
        figure: the figure.
        axes: a panel that has all lines.
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)


def _arrays(line: Line) -> tuple[np.ndarray, np.ndarray]:
    mean = np.array([interval.mean for interval in line.y])
    half = np.array([interval.half_width or 0.0 for interval in line.y])
    return line.factor * mean, line.factor * half
