"""The pictures of a report, each with a caption and a description in words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from mixreg.report.curves import curves_figure, logged
from mixreg.report.effects import effects_figure
from mixreg.report.histograms import Quantity, histogram_figure
from mixreg.report.reliability import SHOWN, reliability_figure
from mixreg.report.results import Group, RunResult
from mixreg.report.style import Picture, draw
from mixreg.report.summary import Comparison
from mixreg.report.wording import SCALES, mean_text

_BANDS = "Bands are 95% confidence intervals over seeds; one seed has none."
_HISTOGRAMS: dict[Quantity, str] = {
    "confidence": "Test examples by the probability of their most probable class, in 20 bins. "
    "The dotted line is the accuracy, which the mean confidence of calibrated predictions equals.",
    "entropy": "Test examples by the entropy of their predicted class probabilities, in 20 bins; "
    "it is at most log c nats for c classes.",
}
_BARS = (
    "Bars are 95% confidence intervals over seeds; filled marks are differences whose interval "
    "excludes 0."
)


def difference_pictures(comparison: Comparison) -> Iterator[Picture]:
    """A forest plot of the paired differences to the baseline.

    Args:
        comparison: the summed up runs.

    Yields:
        At most one picture; none where there is nothing to compare.
    """
    figure = partial(effects_figure, comparison.rows, "baseline")
    if any(row.to_baseline for row in comparison.rows):
        base = comparison.baseline.label
        yield Picture(
            "effects-baseline",
            f"Differences to {base}, raw",
            f"Paired by seed: every prediction less the raw prediction of {base}. {_BARS}",
            "The same numbers stand in the table of differences to the baseline.",
            draw(figure),
        )


def effect_pictures(comparison: Comparison) -> dict[Group, Picture]:
    """Forest plots of what each correction does to the models of each group.

    Args:
        comparison: the summed up runs.

    Returns:
        Pictures of the groups that have corrections to compare.
    """
    pictures = {}
    for group, name in _names(comparison.groups).items():
        rows = [row for row in comparison.rows if row.group == group]
        if any(row.to_raw for row in rows):
            pictures[group] = Picture(
                f"effects-{name}",
                f"What each correction does to {group.label}",
                "Paired by seed: each correction less the raw prediction of the same models. "
                f"{_BARS}",
                "The same numbers stand in the table of effects of each correction.",
                draw(partial(effects_figure, rows, "raw")),
            )
    return pictures


def reliability_pictures(
    comparison: Comparison, groups: Mapping[Group, Sequence[RunResult]]
) -> dict[Group, Picture]:
    """One reliability diagram for each group.

    Args:
        comparison: the summed up runs.
        groups: runs by group.

    Returns:
        Pictures.
    """
    pictures = {}
    for group, name in _names(comparison.groups).items():
        rows = [row for row in comparison.rows if row.group == group and row.correction in SHOWN]
        errors = [f"{row.correction} {mean_text(row.means['ece'], SCALES['ece'])}" for row in rows]
        pictures[group] = Picture(
            f"reliability-{name}",
            f"Reliability of {group.label}",
            "Accuracy of the test examples by the confidence of their prediction, and the share of "
            "examples in each of 15 bins. On the dashed line predictions are right as often as "
            "they claim; above it they are too timid, below it too sure. Dots are means over "
            "seeds, their area the share of examples, bars 95% confidence intervals. Bins with "
            "fewer than 20 examples in all are left out of the upper row.",
            f"Expected calibration error in percent: {', '.join(errors)}.",
            draw(partial(reliability_figure, groups[group])),
        )
    return pictures


def distribution_pictures(
    comparison: Comparison, groups: Mapping[Group, Sequence[RunResult]]
) -> Iterator[Picture]:
    """Histograms of confidence and entropy.

    Args:
        comparison: the summed up runs.
        groups: runs by group.

    Yields:
        Pictures.
    """
    for quantity in _HISTOGRAMS:
        means = [
            f"{row.group.label} {row.correction} {mean_text(row.means[quantity], SCALES[quantity])}"
            for row in comparison.rows
            if row.correction in ("raw", "rescaled")
        ]
        yield Picture(
            f"{quantity}-histograms",
            f"{quantity.capitalize()} of the predictions",
            f"{_HISTOGRAMS[quantity]} {_BANDS}",
            f"Mean {quantity}: {', '.join(means)}.",
            draw(partial(histogram_figure, groups, quantity)),
        )


def curve_pictures(groups: Mapping[Group, Sequence[RunResult]]) -> Iterator[Picture]:
    """Training curves, where the runs have a history.

    Args:
        groups: runs by group.

    Yields:
        At most one picture.
    """
    if names := logged(groups):
        yield Picture(
            "training-curves",
            "Training curves",
            f"What was logged in each epoch, mean over seeds. {_BANDS}",
            f"One panel for each of {', '.join(names)}, one line for each method.",
            draw(partial(curves_figure, groups)),
        )


def _names(groups: Sequence[Group]) -> dict[Group, str]:
    """Groups with names for files and ids, no two the same."""
    names: dict[Group, str] = {}
    for group in groups:
        text = group.method if group.alpha is None else f"{group.method}-alpha-{group.alpha:g}"
        name = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "method"
        while name in names.values():
            name += "-again"
        names[group] = name
    return names
