"""Histograms of confidence and entropy, one panel for each group (Figures 7 and 9)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import Correction, Histogram, mean_interval
from mixreg.report.lines import legend_above
from mixreg.report.results import Group, RunResult
from mixreg.report.style import CORRECTION_COLOURS, CORRECTION_LINES, FAINT, panels, unit_ticks

Quantity = Literal["confidence", "entropy"]

_SHOWN: tuple[Correction, ...] = ("raw", "rescaled", "temperature")
_COLUMNS = 3


def histogram_figure(groups: Mapping[Group, Sequence[RunResult]], quantity: Quantity) -> Figure:
    """Share of the test examples by confidence or entropy of their prediction.

    Args:
        groups: runs by group.
        quantity: which of the two.

    Returns:
        The figure.
    """
    columns = min(_COLUMNS, len(groups))
    figure, axes = panels(columns, -(-len(groups) // columns), size=(3.6, 2.7))
    for (group, runs), panel in zip(groups.items(), axes, strict=False):
        panel.set_title(group.label)
        for correction in _SHOWN:
            results = [run.evaluation.results.get(correction) for run in runs]
            drawn = [getattr(result, quantity) for result in results if result is not None]
            if drawn:
                colour, line = CORRECTION_COLOURS[correction], CORRECTION_LINES[correction]
                outline(panel, drawn, colour=colour, line=line, label=correction)
        if quantity == "confidence":
            _mark_accuracy(panel, runs)
            unit_ticks(panel.xaxis)
    for panel in axes[len(groups) :]:
        panel.remove()
    used = axes[: len(groups)]
    top = max(panel.get_ylim()[1] for panel in used)
    unit = "" if quantity == "confidence" else " (nats)"
    for k, panel in enumerate(used):
        panel.set(ylim=(0, top), xlabel=f"{quantity} of the prediction{unit}")
        panel.tick_params(labelleft=k % columns == 0)
        panel.grid(visible=False, axis="x")
    for panel in used[::columns]:
        panel.set_ylabel("share of examples (%)")
    legend_above(figure, used[0])
    return figure


def outline(
    axes: Axes, histograms: Sequence[Histogram], *, colour: str, label: str, line: str = "-"
) -> None:
    """Mean share in each bin over seeds with its interval as a band.

    Args:
        axes: where to draw.
        histograms: one a seed, with the same bins.
        colour: of line and band.
        label: name in the legend.
        line: style of the line.
    """
    edges = np.array(histograms[0].edges)
    counts = np.array([histogram.counts for histogram in histograms], dtype=float)
    shares = 100 * counts / counts.sum(1, keepdims=True)
    intervals = [mean_interval(list(column)) for column in shares.T]
    mean = np.array([interval.mean for interval in intervals])
    half = np.array([interval.half_width or 0.0 for interval in intervals])
    low, high = np.maximum(mean - half, 0), np.minimum(mean + half, 100)
    axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.2, linewidth=0)
    axes.stairs(mean, edges, color=colour, linestyle=line, linewidth=1.7, label=label)
    axes.set_xlim(edges[0], edges[-1])


def _mark_accuracy(axes: Axes, runs: Sequence[RunResult]) -> None:
    """A line at the accuracy of the raw prediction, which the mean confidence should equal."""
    accuracies = [run.evaluation.results["raw"].metrics.accuracy for run in runs]
    mean = mean_interval(accuracies).mean
    axes.axvline(mean, color=FAINT, linewidth=1.2, linestyle=(0, (1, 1.5)), label="accuracy (raw)")
