"""The pictures of Table 1: paired differences, and accuracy against label noise and input scale."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import mean_interval
from mixreg.experiments.table1.effects import BASELINE, MEASURES, Measure, Measured, Row
from mixreg.report.style import (
    FAINT,
    GROUP_COLOURS,
    GROUP_LINES,
    INK,
    PAPER,
    Picture,
    draw,
    panels,
)

_COLUMNS = 5


def table1_pictures(
    rows: Sequence[Row], measured: Measured, scales: Sequence[float]
) -> Iterator[Picture]:
    """All pictures of Table 1.

    Args:
        rows: effects and verdicts, the baseline first.
        measured: the measurements behind the rows.
        scales: factors of the scaled inputs.

    Yields:
        Pictures.
    """
    if len(rows) > 1:
        yield Picture(
            "effects",
            "Differences to ERM",
            "Paired by seed. Bars are 95% confidence intervals over seeds; filled marks are "
            "differences whose interval excludes 0.",
            "The same numbers stand in the tables.",
            draw(partial(_effects, rows)),
        )
    yield Picture(
        "input-scale",
        "Accuracy against the scale of the test inputs",
        "Test accuracy at inputs x̄ + s(x − x̄), models trained without label noise. Bands are 95% "
        "confidence intervals over seeds.",
        "Averages over the scales stand in the table of input normalization.",
        draw(partial(_input_scale, rows, measured, scales)),
    )
    if len({key.noise for key in measured}) > 1:
        yield Picture(
            "label-noise",
            "Accuracy against label noise",
            "Test accuracy of models trained with a share of the labels replaced by other "
            "classes. Bands are 95% confidence intervals over seeds.",
            "Averages over the levels stand in the table of robustness to label noise.",
            draw(partial(_label_noise, rows, measured)),
        )


def _effects(rows: Sequence[Row]) -> Figure:
    shown = [row for row in rows if row.key != BASELINE]
    height = 0.9 + 0.25 * len(shown)
    figure, axes = panels(_COLUMNS, -(-len(MEASURES) // _COLUMNS), size=(2.3, height))
    for k, (measure, panel) in enumerate(zip(MEASURES, axes, strict=False)):
        _effect_panel(panel, shown, measure)
        panel.set_yticks(range(len(shown)), [row.key.label for row in shown])
        panel.set_ylim(len(shown) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0, labelleft=k % _COLUMNS == 0)
    for panel in axes[len(MEASURES) :]:
        panel.remove()
    return figure


def _effect_panel(axes: Axes, rows: Sequence[Row], measure: Measure) -> None:
    scale = measure.scale
    axes.set_title(scale.label)
    unit = f", {scale.step}" if scale.step else ""
    axes.set_xlabel(f"difference{unit}\n{'better →' if scale.direction > 0 else '← better'}")
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=4)
    axes.spines.left.set_visible(False)
    for height, row in enumerate(rows):
        effect = row.effects.get(measure.name)
        if effect is None or effect.difference is None:
            continue
        axes.errorbar(
            scale.factor * effect.difference.mean,
            height,
            xerr=scale.factor * (effect.difference.half_width or 0.0),
            color=INK,
            marker="o",
            markersize=6,
            markerfacecolor=PAPER if effect.judgement == "undecided" else INK,
            capsize=3,
            linewidth=1.6,
        )


def _input_scale(rows: Sequence[Row], measured: Measured, scales: Sequence[float]) -> Figure:
    figure, (axes,) = panels(1, size=(6.4, 3.6))
    places = [*scales, 1.0]
    order = np.argsort(places)
    for k, row in enumerate(rows):
        runs = [
            found[row.key.prediction]
            for key, found in measured.items()
            if key.method == row.key.method and key.noise == 0
        ]
        accuracies = np.array([[*run.scaled_accuracy, run.accuracy] for run in runs])
        _curve(axes, np.array(places)[order], accuracies[:, order], row.key.label, k)
    axes.set_xlabel("scale s of the test inputs")
    return _finished(figure, axes)


def _label_noise(rows: Sequence[Row], measured: Measured) -> Figure:
    figure, (axes,) = panels(1, size=(6.4, 3.6))
    noises = sorted({key.noise for key in measured})
    seeds = sorted({key.seed for key in measured})
    for k, row in enumerate(rows):
        found = {
            (key.seed, key.noise): predictions[row.key.prediction].accuracy
            for key, predictions in measured.items()
            if key.method == row.key.method
        }
        accuracies = np.array([[found[seed, noise] for noise in noises] for seed in seeds])
        _curve(axes, 100 * np.array(noises), accuracies, row.key.label, k)
    axes.set_xlabel("training labels replaced (%)")
    return _finished(figure, axes)


def _curve(axes: Axes, places: np.ndarray, values: np.ndarray, label: str, k: int) -> None:
    """Mean over the seeds, which are the rows of the values, and its interval as a band."""
    intervals = [mean_interval(column.tolist()) for column in 100 * values.T]
    mean = np.array([interval.mean for interval in intervals])
    half = np.array([interval.half_width or 0.0 for interval in intervals])
    colour = GROUP_COLOURS[k % len(GROUP_COLOURS)]
    line = GROUP_LINES[(k + k // len(GROUP_COLOURS)) % len(GROUP_LINES)]
    axes.plot(places, mean, color=colour, linestyle=line, marker="o", markersize=4, label=label)
    axes.fill_between(places, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)


def _finished(figure: Figure, axes: Axes) -> Figure:
    axes.set_ylabel("test accuracy (%)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure
