"""Training curves: every number of the history over the epochs, mean and interval over seeds."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import mean_interval
from mixreg.report.lines import Line, draw_band, legend_above
from mixreg.report.results import Group, RunResult
from mixreg.report.style import GROUP_COLOURS, GROUP_LINES, panels

_COLUMNS = 3
_EPOCH = "epoch"


def logged(groups: Mapping[Group, Sequence[RunResult]]) -> list[str]:
    """Names of the numbers in the histories, without the epoch.

    Args:
        groups: runs by group.

    Returns:
        Names in the order of their first appearance.
    """
    entries = [entry for runs in groups.values() for run in runs for entry in run.history]
    return list(dict.fromkeys(name for entry in entries for name in entry if name != _EPOCH))


def curves_figure(groups: Mapping[Group, Sequence[RunResult]]) -> Figure:
    """One panel for each number in the histories.

    Args:
        groups: runs by group, at least one of them with a history.

    Returns:
        The figure.
    """
    names = logged(groups)
    columns = 2 if len(names) == 4 else min(_COLUMNS, len(names))
    figure, axes = panels(columns, -(-len(names) // columns), size=(3.6, 2.6))
    for name, panel in zip(names, axes, strict=False):
        panel.set_title(_title(name))
        panel.set_xlabel("epoch")
        for k, (group, runs) in enumerate(groups.items()):
            style = (GROUP_COLOURS[k % len(GROUP_COLOURS)], GROUP_LINES[k % len(GROUP_LINES)])
            _curve(panel, [_points(run, name) for run in runs], group.label, *style)
        if name.endswith("accuracy"):
            panel.set_ylim(max(panel.get_ylim()[0], 0), min(panel.get_ylim()[1], 100.5))
    for panel in axes[len(names) :]:
        panel.remove()
    legend_above(figure, axes[0])
    return figure


def _title(name: str) -> str:
    """A history's name with its unit."""
    words = name.replace("_", " ").replace("nll", "NLL (nats)")
    return f"{words} (%)" if name.endswith("accuracy") else words


def _points(run: RunResult, name: str) -> dict[float, float]:
    """Values by epoch, without those that are missing or not finite."""
    return {
        entry.get(_EPOCH, k + 1.0): entry[name] * (100 if name.endswith("accuracy") else 1)
        for k, entry in enumerate(run.history)
        if name in entry and math.isfinite(entry[name])
    }


def _curve(
    axes: Axes, seeds: Sequence[Mapping[float, float]], label: str, colour: str, style: str
) -> None:
    """Mean over the seeds that have the epoch, its interval as a band."""
    epochs = sorted({epoch for points in seeds for epoch in points})
    means = [mean_interval([p[epoch] for p in seeds if epoch in p]) for epoch in epochs]
    draw_band(axes, Line(label, colour, style, epochs, means))
