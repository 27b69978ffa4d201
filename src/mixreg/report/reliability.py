"""Reliability diagrams: how often predictions of each confidence are right."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import Correction, MeanInterval, ReliabilityCurve, mean_interval
from mixreg.report.results import RunResult
from mixreg.report.style import CORRECTION_COLOURS, FAINT, PAPER, panels, unit_ticks
from mixreg.report.wording import SCALES, mean_text

SHOWN: tuple[Correction, ...] = ("raw", "rescaled", "temperature", "rescaled+temperature")
"""The corrections a user chooses from."""

_FEWEST = 20
"""Bins with fewer examples over all seeds are left out."""


def reliability_figure(runs: Sequence[RunResult]) -> Figure:
    """One panel for each correction of one group, the shares of the examples below it.

    Args:
        runs: the runs of the group.

    Returns:
        The figure.
    """
    shown = [name for name in SHOWN if any(name in run.evaluation.results for run in runs)]
    figure, axes = panels(len(shown), 2, size=(2.5, 1.75), heights=(3.4, 1.0))
    above, below = axes[: len(shown)], axes[len(shown) :]
    for correction, upper, lower in zip(shown, above, below, strict=True):
        curves = [
            run.evaluation.results[correction].reliability
            for run in runs
            if correction in run.evaluation.results
        ]
        errors = mean_interval([curve.expected_error for curve in curves])
        title = f"{correction}\nECE {mean_text(errors, SCALES['ece'])} %"
        upper.set_title(title, color=CORRECTION_COLOURS[correction])
        _curve(upper, curves, CORRECTION_COLOURS[correction])
        _shares(lower, curves, CORRECTION_COLOURS[correction])
    above[0].set_ylabel("accuracy")
    below[0].set_ylabel("share (%)")
    top = max(axis.get_ylim()[1] for axis in below)
    for axis in below:
        axis.set(xlabel="confidence", ylim=(0, top))
    for axis in (*above[1:], *below[1:]):
        axis.tick_params(labelleft=False)
    return figure


def _curve(axes: Axes, curves: Sequence[ReliabilityCurve], colour: str) -> None:
    """Mean accuracy in each bin over seeds, its interval, and the gap to perfect calibration."""
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    totals = np.array([curve.counts for curve in curves]).sum(0)
    filled = np.flatnonzero(totals >= _FEWEST)
    bins = [_bin(curves, int(k)) for k in filled]
    x = np.array([confidence for confidence, _ in bins])
    y = np.array([accuracy.mean for _, accuracy in bins])
    half = np.array([accuracy.half_width or 0.0 for _, accuracy in bins])
    ends = [np.minimum(half, y), np.minimum(half, 1 - y)]
    area = 12 + 240 * totals[filled] / totals.sum()
    axes.fill_between(x, x, y, color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, y, color=colour, linewidth=1.4)
    axes.errorbar(x, y, yerr=ends, fmt="none", ecolor=colour, elinewidth=1.1, capsize=2)
    axes.scatter(x, y, s=area, color=colour, edgecolor=PAPER, lw=0.7, zorder=3, clip_on=False)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    unit_ticks(axes.xaxis)
    unit_ticks(axes.yaxis)
    axes.tick_params(labelbottom=False)


def _bin(curves: Sequence[ReliabilityCurve], k: int) -> tuple[float, MeanInterval]:
    """Mean confidence and accuracy in one bin over the seeds that have examples in it."""
    confidences = [c.confidence[k] for c in curves]
    accuracies = [c.accuracy[k] for c in curves]
    return (
        mean_interval([value for value in confidences if value is not None]).mean,
        mean_interval([value for value in accuracies if value is not None]),
    )


def _shares(axes: Axes, curves: Sequence[ReliabilityCurve], colour: str) -> None:
    """Share of the examples in each bin."""
    edges = np.array(curves[0].edges)
    shares = 100 * _mean_shares(curves)
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45, linewidth=0)
    axes.stairs(shares, edges, color=colour, linewidth=0.8)
    axes.set_xlim(0, 1.02)
    unit_ticks(axes.xaxis)
    axes.grid(visible=False, axis="x")


def _mean_shares(curves: Sequence[ReliabilityCurve]) -> np.ndarray:
    counts = np.array([curve.counts for curve in curves], dtype=float)
    return np.asarray((counts / counts.sum(1, keepdims=True)).mean(0))
