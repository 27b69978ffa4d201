"""The pictures of a comparison: effects, reliability, histograms, training curves."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import (
    Correction,
    Histogram,
    MeanInterval,
    MetricName,
    ReliabilityCurve,
    mean_interval,
)
from mixreg.report.figures import (
    CORRECTION_COLOURS,
    CORRECTION_LINES,
    FAINT,
    GROUP_COLOURS,
    GROUP_LINES,
    INK,
    PAPER,
    Frame,
    Line,
    Picture,
    PictureSequence,
    draw,
    draw_band,
    legend_above,
    panels,
    unit_ticks,
)
from mixreg.report.groups import Group, Groups, Reference, Row, RunResult
from mixreg.report.records import JUDGED, METRIC_FORMATS, MetricFormat, mean_text

Quantity = Literal["confidence", "entropy"]

_CHOICES: tuple[Correction, ...] = (
    "raw",
    "rescaled",
    "two-views",
    "temperature",
    "rescaled+temperature",
)
_FEWEST = 20
"""Bins with fewer examples over all seeds are left out of reliability diagrams."""
_COLUMNS = 3

_BANDS = "Bands are 95% confidence intervals over seeds; one seed has none."
_BARS = (
    "Bars are 95% confidence intervals, over seeds or, for corrections of one model, by its test "
    "examples; filled marks are differences whose interval excludes 0."
)
_HISTOGRAMS: dict[Quantity, str] = {
    "confidence": "Test examples by the probability of their most probable class, in 20 bins. "
    "The dotted line is the accuracy, which the mean confidence of calibrated predictions equals.",
    "entropy": "Test examples by the entropy of their predicted class probabilities, in 20 bins; "
    "it is at most log c nats for c classes.",
}
_RELIABILITY = (
    "Accuracy of the test examples by the confidence of their prediction, and the share of "
    "examples in each of 15 bins. On the dashed line predictions are right as often as they "
    "claim; above it they are too timid, below it too sure. Dots are means over seeds, their area "
    "the share of examples, bars 95% confidence intervals. Bins with fewer than 20 examples in "
    "all are left out of the upper row."
)


def charts(groups: Groups) -> tuple[list[Picture], list[PictureSequence]]:
    """The pictures, and the sliders of methods with several α."""
    pictures, sequences = list(_differences(groups)), list[PictureSequence]()
    makers: tuple[Callable[[Groups, Group, str], Iterator[Picture]], ...] = (_effects, _reliability)
    for make in makers:
        frames: dict[str, list[tuple[Group, Picture]]] = {}
        for group, name in _names(groups.runs).items():
            made = frames.setdefault(group.method, [])
            made += [(group, picture) for picture in make(groups, group, name)]
        for method, of_method in frames.items():
            if len(of_method) > 1:
                sequences.append(_over_alpha(method, of_method))
            else:
                pictures += [picture for _, picture in of_method]
    return [*pictures, *_histograms(groups), *_curves(groups)], sequences


def _differences(groups: Groups) -> Iterator[Picture]:
    """A forest plot of the paired differences to the baseline, where there are any."""
    base = groups.baseline.label
    if len(groups.runs) > 1:
        yield Picture(
            "effects-baseline",
            f"Differences to {base}, raw",
            f"Every prediction less the raw prediction of {base}. {_BARS}",
            "The same numbers stand in the table of differences to the baseline.",
            draw(partial(effects_figure, groups, groups.rows, "baseline")),
        )


def _effects(groups: Groups, group: Group, name: str) -> Iterator[Picture]:
    """A forest plot of what each correction does to the models of a group."""
    rows = [row for row in groups.rows if row[0] == group]
    if any(groups.effect(*row, "nll", "raw") for row in rows):
        yield Picture(
            f"effects-{name}",
            f"What each correction does to {group.label}",
            f"Each correction less the raw prediction of the same models. {_BARS}",
            "The same numbers stand in the table of effects of each correction.",
            draw(partial(effects_figure, groups, rows, "raw")),
        )


def _reliability(groups: Groups, group: Group, name: str) -> Iterator[Picture]:
    """The reliability diagram of a group."""
    errors = [
        f"{choice} {mean_text(mean, METRIC_FORMATS['ece'])}"
        for choice in _CHOICES
        if (mean := groups.mean(group, choice, "ece"))
    ]
    yield Picture(
        f"reliability-{name}",
        f"Reliability of {group.label}",
        _RELIABILITY,
        f"Expected calibration error in percent: {', '.join(errors)}.",
        draw(partial(reliability_figure, groups.runs[group])),
    )


def _histograms(groups: Groups) -> Iterator[Picture]:
    """Histograms of confidence and entropy."""
    for quantity, caption in _HISTOGRAMS.items():
        means = [
            f"{group.label} {correction} {mean_text(mean, METRIC_FORMATS[quantity])}"
            for group, correction in groups.rows
            if correction in {"raw", "rescaled"}
            and (mean := groups.mean(group, correction, quantity))
        ]
        yield Picture(
            f"{quantity}-histograms",
            f"{quantity.capitalize()} of the predictions",
            f"{caption} {_BANDS}",
            f"Mean {quantity}: {', '.join(means)}.",
            draw(partial(histogram_figure, groups.runs, quantity)),
        )


def _curves(groups: Groups) -> Iterator[Picture]:
    """Training curves, where the runs have a history."""
    if names := logged(groups.runs):
        yield Picture(
            "training-curves",
            "Training curves",
            f"What was logged in each epoch, mean over seeds. {_BANDS}",
            f"One panel for each of {', '.join(names)}, one line for each method.",
            draw(partial(curves_figure, groups.runs)),
        )


def _over_alpha(method: str, pictures: Sequence[tuple[Group, Picture]]) -> PictureSequence:
    """The pictures of one method as a slider over α."""
    ordered = sorted(pictures, key=lambda item: item[0].alpha or 0.0)
    first, picture = ordered[0]
    title = picture.title.replace(first.label, method)
    frames = [Frame(f"{group.alpha:g}", each) for group, each in ordered]
    return PictureSequence(f"{picture.name}-over-alpha", title, "", "α", frames)


def _names(groups: Iterable[Group]) -> dict[Group, str]:
    """Groups with names for files and ids, no two the same."""
    names: dict[Group, str] = {}
    for group in groups:
        text = group.method if group.alpha is None else f"{group.method}-alpha-{group.alpha:g}"
        name = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "method"
        while name in names.values():
            name += "-again"
        names[group] = name
    return names


def effects_figure(groups: Groups, rows: Sequence[Row], reference: Reference) -> Figure:
    """Paired differences, one panel a metric; filled where the interval excludes 0."""
    lines: list[tuple[str, str, dict[MetricName, MeanInterval]]] = []
    headed: Group | None = None
    for group, correction in rows:
        effects = {m: e for m in JUDGED if (e := groups.effect(group, correction, m, reference))}
        if effects:
            lines += [(group.label, INK, {})] if group != headed else []
            lines.append((correction, CORRECTION_COLOURS[correction], effects))
            headed = group
    figure, axes = panels(len(JUDGED), size=(2.45, 0.85 + 0.25 * len(lines)))
    for metric, panel in zip(JUDGED, axes, strict=True):
        drawn = {k: (effects[metric], ink) for k, (_, ink, effects) in enumerate(lines) if effects}
        names = [name for name, *_ in lines]
        draw_effects(panel, METRIC_FORMATS[metric], names, drawn, ticks=3)
        panel.tick_params(axis="y", labelleft=panel is axes[0])
    for text, (*_, effects) in zip(axes[0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if effects else "bold")
    return figure


def draw_effects(
    axes: Axes,
    form: MetricFormat,
    names: Sequence[str],
    effects: Mapping[int, tuple[MeanInterval, str]],
    *,
    ticks: int,
) -> None:
    """Differences in their colours beside the rows' names; filled where the interval excludes 0."""
    axes.axvline(0, color=FAINT, linewidth=1)
    for row, (effect, colour) in effects.items():
        axes.errorbar(
            form.factor * effect.mean,
            row,
            xerr=form.factor * (effect.half_width or 0.0),
            color=colour,
            marker="o",
            markersize=6,
            markerfacecolor=colour if effect.sign else PAPER,
            capsize=3,
            linewidth=1.6,
        )
    unit = f", {form.step}" if form.step else ""
    axes.set_title(form.label)
    axes.set_xlabel(f"difference{unit}\n{'better →' if form.direction > 0 else '← better'}")
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=ticks)
    axes.spines.left.set_visible(False)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def reliability_figure(runs: Sequence[RunResult]) -> Figure:
    """One panel for each correction of one group, the shares of the examples below it."""
    by_choice = {
        name: [r.evaluation.results[name].reliability for r in runs if name in r.evaluation.results]
        for name in _CHOICES
    }
    curves = {name: of_name for name, of_name in by_choice.items() if of_name}
    figure, axes = panels(len(curves), 2, size=(2.5, 1.75), heights=(3.4, 1.0))
    above, below = axes[: len(curves)], axes[len(curves) :]
    for name, upper, lower in zip(curves, above, below, strict=True):
        colour = CORRECTION_COLOURS[name]
        error = mean_interval([curve.expected_error for curve in curves[name]])
        upper.set_title(f"{name}\nECE {mean_text(error, METRIC_FORMATS['ece'])} %", color=colour)
        _reliability_panel(upper, curves[name], colour)
        counts, edges = _counts(curves[name]), np.array(curves[name][0].edges)
        shares = 100 * np.asarray((counts / counts.sum(1, keepdims=True)).mean(0))
        lower.stairs(shares, edges, fill=True, color=colour, alpha=0.45, linewidth=0)
        lower.stairs(shares, edges, color=colour, linewidth=0.8)
        lower.set_xlim(0, 1.02)
        unit_ticks(lower.xaxis)
        lower.grid(visible=False, axis="x")
    above[0].set_ylabel("accuracy")
    below[0].set_ylabel("share (%)")
    top = max(axis.get_ylim()[1] for axis in below)
    for axis in below:
        axis.set(xlabel="confidence", ylim=(0, top))
    for axis in (*above[1:], *below[1:]):
        axis.tick_params(labelleft=False)
    return figure


def _reliability_panel(axes: Axes, curves: Sequence[ReliabilityCurve], colour: str) -> None:
    """Mean accuracy in each bin over seeds, its interval, and the gap to perfect calibration."""
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    totals = np.array([curve.counts for curve in curves]).sum(0)
    filled = np.flatnonzero(totals >= _FEWEST)
    # over the seeds that have examples in the bin
    x, _ = _arrays([c.confidence[k] for c in curves] for k in filled)
    y, half = _arrays([c.accuracy[k] for c in curves] for k in filled)
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


def histogram_figure(groups: Mapping[Group, Sequence[RunResult]], quantity: Quantity) -> Figure:
    """Share of the test examples by confidence or entropy (Figures 7 and 9), a panel a group."""
    figure, axes, columns = _grid(len(groups), _COLUMNS, 2.7)
    for (group, runs), panel in zip(groups.items(), axes, strict=True):
        panel.set_title(group.label)
        results = [run.evaluation.results for run in runs]
        for name, line in CORRECTION_LINES.items():
            if histograms := [getattr(r[name], quantity) for r in results if name in r]:
                outline(panel, histograms, colour=CORRECTION_COLOURS[name], line=line, label=name)
        if quantity == "confidence":
            # What the mean confidence should equal.
            accuracy = mean_interval([result["raw"].metrics.accuracy for result in results]).mean
            dots, label = (0, (1, 1.5)), "accuracy (raw)"
            panel.axvline(accuracy, color=FAINT, linewidth=1.2, linestyle=dots, label=label)
            unit_ticks(panel.xaxis)
    top = max(panel.get_ylim()[1] for panel in axes)
    unit = "" if quantity == "confidence" else " (nats)"
    for k, panel in enumerate(axes):
        panel.set(ylim=(0, top), xlabel=f"{quantity} of the prediction{unit}")
        panel.tick_params(labelleft=k % columns == 0)
        panel.grid(visible=False, axis="x")
    for panel in axes[::columns]:
        panel.set_ylabel("share of examples (%)")
    legend_above(figure, axes[0])
    return figure


def outline(
    axes: Axes, histograms: Sequence[Histogram], *, colour: str, label: str, line: str = "-"
) -> None:
    """Mean share in each bin over seeds, each with the same bins, with its interval as a band."""
    edges = np.array(histograms[0].edges)
    counts = _counts(histograms)
    mean, half = _arrays(list(s) for s in (100 * counts / counts.sum(1, keepdims=True)).T)
    low, high = np.maximum(mean - half, 0), np.minimum(mean + half, 100)
    axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.2, linewidth=0)
    axes.stairs(mean, edges, color=colour, linestyle=line, linewidth=1.7, label=label)
    axes.set_xlim(edges[0], edges[-1])


def curves_figure(groups: Mapping[Group, Sequence[RunResult]]) -> Figure:
    """Every number of the histories over the epochs, mean and interval over seeds."""
    names = logged(groups)
    figure, axes, _ = _grid(len(names), 2 if len(names) == 4 else _COLUMNS, 2.6)
    for name, panel in zip(names, axes, strict=True):
        words, percent = name.replace("_", " ").replace("nll", "NLL (nats)"), _is_share(name)
        panel.set_title(f"{words} (%)" if percent else words)
        panel.set_xlabel("epoch")
        for k, (group, runs) in enumerate(groups.items()):
            points = [_points(run, name) for run in runs]
            epochs = sorted({epoch for seed in points for epoch in seed})
            means = [mean_interval([p[epoch] for p in points if epoch in p]) for epoch in epochs]
            style = (GROUP_COLOURS[k % len(GROUP_COLOURS)], GROUP_LINES[k % len(GROUP_LINES)])
            draw_band(panel, Line(group.label, *style, epochs, means))
        if percent:
            panel.set_ylim(max(panel.get_ylim()[0], 0), min(panel.get_ylim()[1], 100.5))
    legend_above(figure, axes[0])
    return figure


def logged(groups: Mapping[Group, Sequence[RunResult]]) -> list[str]:
    """Names of the numbers in the histories, without the epoch."""
    entries = [entry for runs in groups.values() for run in runs for entry in run.history]
    return list(dict.fromkeys(name for entry in entries for name in entry if name != "epoch"))


def _points(run: RunResult, name: str) -> dict[float, float]:
    """Values by epoch, without those that are missing or not finite."""
    return {
        entry.get("epoch", k + 1.0): entry[name] * (100 if _is_share(name) else 1)
        for k, entry in enumerate(run.history)
        if name in entry and math.isfinite(entry[name])
    }


def _is_share(name: str) -> bool:
    return name.endswith("accuracy")


def _grid(count: int, most: int, height: float) -> tuple[Figure, list[Axes], int]:
    """So many panels row by row, and the number of their columns."""
    columns = min(most, count)
    figure, axes = panels(columns, -(-count // columns), size=(3.6, height))
    for panel in axes[count:]:
        panel.remove()
    return figure, axes[:count], columns


def _counts(histograms: Sequence[Histogram | ReliabilityCurve]) -> np.ndarray:
    """Numbers of examples, a row a seed and a column a bin."""
    return np.array([histogram.counts for histogram in histograms], dtype=float)


def _arrays(values: Iterable[Sequence[float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Means, and half the widths of their intervals, of the values over seeds at each place."""
    means = [mean_interval([v for v in at_place if v is not None]) for at_place in values]
    return Line("", "", "", [], means).arrays
