"""The pictures of a comparison: effects, reliability, histograms, training curves."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from mixreg.report.groups import Group, Groups, Reference, RunResult
from mixreg.report.numbers import JUDGED, METRIC_FORMATS, judge, mean_text

Quantity = Literal["confidence", "entropy"]

_CHOICES: tuple[Correction, ...] = ("raw", "rescaled", "temperature", "rescaled+temperature")
_OUTLINED: tuple[Correction, ...] = ("raw", "rescaled", "temperature")
_FEWEST = 20
"""Bins with fewer examples over all seeds are left out of reliability diagrams."""
_COLUMNS = 3
_EPOCH = "epoch"

_BANDS = "Bands are 95% confidence intervals over seeds; one seed has none."
_BARS = (
    "Bars are 95% confidence intervals over seeds; filled marks are differences whose interval "
    "excludes 0."
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
    pictures = list(_differences(groups))
    sequences: list[PictureSequence] = []
    for by_group in (_effects(groups), _reliability(groups)):
        for method in dict.fromkeys(group.method for group in by_group):
            of_method = {g: picture for g, picture in by_group.items() if g.method == method}
            if len(of_method) == 1:
                pictures += of_method.values()
            else:
                sequences.append(_over_alpha(method, of_method))
    return [*pictures, *_histograms(groups), *_curves(groups)], sequences


def effects_figure(
    groups: Groups, rows: Sequence[tuple[Group, Correction]], reference: Reference
) -> Figure:
    """Paired differences, one panel a metric; filled where the interval excludes 0."""
    lines: list[tuple[str, str, dict[MetricName, MeanInterval]]] = []
    for group in dict.fromkeys(group for group, _ in rows):
        members = []
        for correction in (name for other, name in rows if other == group):
            found = {m: groups.effect(group, correction, m, reference) for m in JUDGED}
            differences = {m: effect for m, effect in found.items() if effect is not None}
            if differences:
                members.append((correction, CORRECTION_COLOURS[correction], differences))
        if members:
            lines += [(group.label, INK, {}), *members]
    figure, axes = panels(len(JUDGED), size=(2.45, 0.85 + 0.25 * len(lines)))
    for name, panel in zip(JUDGED, axes, strict=True):
        _effects_panel(panel, lines, name)
        panel.set_yticks(range(len(lines)), [label for label, *_ in lines])
        panel.set_ylim(len(lines) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0, labelleft=panel is axes[0])
    for text, (*_, differences) in zip(axes[0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if differences else "bold")
    return figure


def reliability_figure(runs: Sequence[RunResult]) -> Figure:
    """One panel for each correction of one group, the shares of the examples below it."""
    chosen = [name for name in _CHOICES if any(name in run.evaluation.results for run in runs)]
    figure, axes = panels(len(chosen), 2, size=(2.5, 1.75), heights=(3.4, 1.0))
    above, below = axes[: len(chosen)], axes[len(chosen) :]
    for correction, upper, lower in zip(chosen, above, below, strict=True):
        results = [run.evaluation.results.get(correction) for run in runs]
        curves = [result.reliability for result in results if result is not None]
        colour = CORRECTION_COLOURS[correction]
        error = mean_interval([curve.expected_error for curve in curves])
        title = f"{correction}\nECE {mean_text(error, METRIC_FORMATS['ece'])} %"
        upper.set_title(title, color=colour)
        _reliability_panel(upper, curves, colour)
        _shares_panel(lower, curves, colour)
    above[0].set_ylabel("accuracy")
    below[0].set_ylabel("share (%)")
    top = max(axis.get_ylim()[1] for axis in below)
    for axis in below:
        axis.set(xlabel="confidence", ylim=(0, top))
    for axis in (*above[1:], *below[1:]):
        axis.tick_params(labelleft=False)
    return figure


def histogram_figure(groups: Mapping[Group, Sequence[RunResult]], quantity: Quantity) -> Figure:
    """Share of the test examples by confidence or entropy (Figures 7 and 9), a panel a group."""
    columns = min(_COLUMNS, len(groups))
    figure, axes = panels(columns, -(-len(groups) // columns), size=(3.6, 2.7))
    for (group, runs), panel in zip(groups.items(), axes, strict=False):
        panel.set_title(group.label)
        for correction in _OUTLINED:
            results = [run.evaluation.results.get(correction) for run in runs]
            drawn = [getattr(result, quantity) for result in results if result is not None]
            if drawn:
                colour, line = CORRECTION_COLOURS[correction], CORRECTION_LINES[correction]
                outline(panel, drawn, colour=colour, line=line, label=correction)
        if quantity == "confidence":
            # What the mean confidence should equal.
            accuracy = mean_interval(
                [run.evaluation.results["raw"].metrics.accuracy for run in runs]
            )
            dots = (0, (1, 1.5))
            panel.axvline(
                accuracy.mean, color=FAINT, linewidth=1.2, linestyle=dots, label="accuracy (raw)"
            )
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
    """Mean share in each bin over seeds, each with the same bins, with its interval as a band."""
    edges = np.array(histograms[0].edges)
    counts = np.array([histogram.counts for histogram in histograms], dtype=float)
    shares = 100 * counts / counts.sum(1, keepdims=True)
    mean, half = _arrays([mean_interval(list(column)) for column in shares.T])
    low, high = np.maximum(mean - half, 0), np.minimum(mean + half, 100)
    axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.2, linewidth=0)
    axes.stairs(mean, edges, color=colour, linestyle=line, linewidth=1.7, label=label)
    axes.set_xlim(edges[0], edges[-1])


def curves_figure(groups: Mapping[Group, Sequence[RunResult]]) -> Figure:
    """Every number of the histories over the epochs, mean and interval over seeds."""
    names = logged(groups)
    columns = 2 if len(names) == 4 else min(_COLUMNS, len(names))
    figure, axes = panels(columns, -(-len(names) // columns), size=(3.6, 2.6))
    for name, panel in zip(names, axes, strict=False):
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
    for panel in axes[len(names) :]:
        panel.remove()
    legend_above(figure, axes[0])
    return figure


def logged(groups: Mapping[Group, Sequence[RunResult]]) -> list[str]:
    """Names of the numbers in the histories, without the epoch."""
    entries = [entry for runs in groups.values() for run in runs for entry in run.history]
    return list(dict.fromkeys(name for entry in entries for name in entry if name != _EPOCH))


def _differences(groups: Groups) -> Iterator[Picture]:
    """A forest plot of the paired differences to the baseline, where there are any."""
    rows = list(groups.rows())
    if any(groups.effect(*row, "nll", "baseline") for row in rows):
        base = groups.baseline.label
        yield Picture(
            "effects-baseline",
            f"Differences to {base}, raw",
            f"Paired by seed: every prediction less the raw prediction of {base}. {_BARS}",
            "The same numbers stand in the table of differences to the baseline.",
            draw(partial(effects_figure, groups, rows, "baseline")),
        )


def _effects(groups: Groups) -> dict[Group, Picture]:
    """Forest plots of what each correction does to the models of each group."""
    pictures = {}
    for group, name in _names(groups.runs).items():
        rows = [(group, correction) for correction in groups.corrections(group)]
        if any(groups.effect(*row, "nll", "raw") for row in rows):
            pictures[group] = Picture(
                f"effects-{name}",
                f"What each correction does to {group.label}",
                "Paired by seed: each correction less the raw prediction of the same models. "
                f"{_BARS}",
                "The same numbers stand in the table of effects of each correction.",
                draw(partial(effects_figure, groups, rows, "raw")),
            )
    return pictures


def _reliability(groups: Groups) -> dict[Group, Picture]:
    """One reliability diagram for each group."""
    pictures = {}
    for group, name in _names(groups.runs).items():
        found = [(name, groups.mean(group, name, "ece")) for name in _CHOICES]
        form = METRIC_FORMATS["ece"]
        errors = ", ".join(f"{name} {mean_text(mean, form)}" for name, mean in found if mean)
        pictures[group] = Picture(
            f"reliability-{name}",
            f"Reliability of {group.label}",
            _RELIABILITY,
            f"Expected calibration error in percent: {errors}.",
            draw(partial(reliability_figure, groups.runs[group])),
        )
    return pictures


def _histograms(groups: Groups) -> Iterator[Picture]:
    """Histograms of confidence and entropy."""
    for quantity in _HISTOGRAMS:
        means = []
        for group, correction in groups.rows():
            mean = groups.mean(group, correction, quantity)
            if correction in ("raw", "rescaled") and mean is not None:
                text = mean_text(mean, METRIC_FORMATS[quantity])
                means.append(f"{group.label} {correction} {text}")
        yield Picture(
            f"{quantity}-histograms",
            f"{quantity.capitalize()} of the predictions",
            f"{_HISTOGRAMS[quantity]} {_BANDS}",
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


def _over_alpha(method: str, pictures: Mapping[Group, Picture]) -> PictureSequence:
    """The pictures of one method as a slider over α."""
    ordered = sorted(pictures.items(), key=lambda item: item[0].alpha or 0.0)
    first, picture = ordered[0]
    return PictureSequence(
        f"{picture.name}-over-alpha",
        picture.title.replace(first.label, method),
        "",
        "α",
        [Frame(f"{group.alpha:g}", each) for group, each in ordered],
    )


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


def _effects_panel(
    axes: Axes, lines: Sequence[tuple[str, str, dict[MetricName, MeanInterval]]], metric: MetricName
) -> None:
    form = METRIC_FORMATS[metric]
    axes.set_title(form.label)
    unit = f", {form.step}" if form.step else ""
    axes.set_xlabel(f"difference{unit}\n{'better →' if form.direction > 0 else '← better'}")
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=3)
    axes.spines.left.set_visible(False)
    for height, (_, colour, differences) in enumerate(lines):
        if not differences:
            continue
        difference = differences[metric]
        decided = judge(difference, form.direction) != "undecided"
        axes.errorbar(
            form.factor * difference.mean,
            height,
            xerr=form.factor * (difference.half_width or 0.0),
            color=colour,
            marker="o",
            markersize=6,
            markerfacecolor=colour if decided else PAPER,
            capsize=3,
            linewidth=1.6,
        )


def _reliability_panel(axes: Axes, curves: Sequence[ReliabilityCurve], colour: str) -> None:
    """Mean accuracy in each bin over seeds, its interval, and the gap to perfect calibration."""
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    totals = np.array([curve.counts for curve in curves]).sum(0)
    filled = np.flatnonzero(totals >= _FEWEST)
    x, _ = _arrays([_bin_mean([curve.confidence[k] for curve in curves]) for k in filled])
    y, half = _arrays([_bin_mean([curve.accuracy[k] for curve in curves]) for k in filled])
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


def _shares_panel(axes: Axes, curves: Sequence[ReliabilityCurve], colour: str) -> None:
    """Share of the examples in each bin."""
    edges = np.array(curves[0].edges)
    counts = np.array([curve.counts for curve in curves], dtype=float)
    shares = 100 * np.asarray((counts / counts.sum(1, keepdims=True)).mean(0))
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45, linewidth=0)
    axes.stairs(shares, edges, color=colour, linewidth=0.8)
    axes.set_xlim(0, 1.02)
    unit_ticks(axes.xaxis)
    axes.grid(visible=False, axis="x")


def _bin_mean(values: Sequence[float | None]) -> MeanInterval:
    """Mean in one bin over the seeds that have examples in it."""
    return mean_interval([value for value in values if value is not None])


def _arrays(means: Sequence[MeanInterval]) -> tuple[np.ndarray, np.ndarray]:
    return Line("", "", "", [], means).arrays


def _is_share(name: str) -> bool:
    return name.endswith("accuracy")


def _points(run: RunResult, name: str) -> dict[float, float]:
    """Values by epoch, without those that are missing or not finite."""
    return {
        entry.get(_EPOCH, k + 1.0): entry[name] * (100 if _is_share(name) else 1)
        for k, entry in enumerate(run.history)
        if name in entry and math.isfinite(entry[name])
    }
