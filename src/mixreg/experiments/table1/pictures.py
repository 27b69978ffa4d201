"""The pictures of Table 1: paired differences, and accuracy against label noise and input scale."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import mean_interval
from mixreg.experiments.table1.effects import BASELINE, MEASURES, Measure, Measured, Row, RunKey
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
_BARS = "Bars are 95% confidence intervals over seeds."


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
    if len(rows) == 1:
        return
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
        "Test accuracy at inputs x̄ + s(x − x̄) less that of ERM there, paired by seed, models "
        f"trained without label noise. {_BARS}",
        "Averages over the scales stand in the table of input normalization.",
        draw(partial(_input_scale, rows, measured, scales)),
    )
    if len({key.noise for key in measured}) > 1:
        yield Picture(
            "label-noise",
            "Accuracy against label noise",
            "Test accuracy of models trained with a share of the labels replaced by other classes "
            f"less that of ERM trained so, paired by seed. {_BARS}",
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
    places = sorted((scale, k) for k, scale in enumerate((*scales, 1.0)))

    def accuracies(row: Row, seed: int) -> list[float]:
        found = measured[RunKey(row.key.method, 0.0, seed)][row.key.prediction]
        values = (*found.scaled_accuracy, found.accuracy)
        return [values[k] for _, k in places]

    figure = _curves(rows, measured, [scale for scale, _ in places], accuracies)
    figure.axes[0].set_xlabel("scale s of the test inputs")
    return figure


def _label_noise(rows: Sequence[Row], measured: Measured) -> Figure:
    noises = sorted({key.noise for key in measured})

    def accuracies(row: Row, seed: int) -> list[float]:
        found = [measured[RunKey(row.key.method, noise, seed)] for noise in noises]
        return [predictions[row.key.prediction].accuracy for predictions in found]

    figure = _curves(rows, measured, [100 * noise for noise in noises], accuracies)
    figure.axes[0].set_xlabel("training labels replaced (%)")
    return figure


def _curves(
    rows: Sequence[Row],
    measured: Measured,
    places: Sequence[float],
    accuracies: Callable[[Row, int], list[float]],
) -> Figure:
    """Mean paired differences of accuracies to the baseline, rows a little apart at each place."""
    figure, (axes,) = panels(1, size=(7.6, 3.4))
    seeds = sorted({key.seed for key in measured})
    reference = np.array([accuracies(rows[0], seed) for seed in seeds])
    # A temperature changes no decision.
    shown = [row for row in rows[1:] if row.key.prediction != "temperature"]
    step = 0.4 * min(np.diff(places), default=1.0) / max(len(shown), 1)
    for k, row in enumerate(shown):
        differences = 100 * (np.array([accuracies(row, seed) for seed in seeds]) - reference)
        intervals = [mean_interval(column.tolist()) for column in differences.T]
        axes.errorbar(
            np.array(places) + step * (k - (len(shown) - 1) / 2),
            [interval.mean for interval in intervals],
            yerr=[interval.half_width or 0.0 for interval in intervals],
            color=GROUP_COLOURS[1:][k % 6],
            linestyle=GROUP_LINES[(k % 6 + k // 6) % len(GROUP_LINES)],
            linewidth=1.3,
            marker="o",
            markersize=4,
            capsize=2,
            label=row.key.label,
        )
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.set_xticks(places)
    axes.set_ylabel("test accuracy to ERM (points)")
    axes.grid(visible=False, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure
