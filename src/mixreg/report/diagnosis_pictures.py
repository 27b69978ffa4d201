"""The pictures of a diagnosis: risks and their terms, entropies, norms of the Jacobian."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mixreg.diagnostics import Diagnosis, EntropyReport
from mixreg.report.figures import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    SKY,
    Picture,
    draw,
    panels,
)

_BINS = 30
_TICKS = slice(0, _BINS + 1, 10)
_SMALLEST, _SMALLEST_SHARE = 1e-12, 1e-6
"""Norms below these, the second a share of the largest, are counted in the first bin."""


def diagnosis_pictures(found: Diagnosis) -> Iterator[Picture]:
    """All pictures of a diagnosis."""
    yield Picture(
        "risks",
        "Risks and regularizers",
        "Left: the empirical risk, the loss on modified data, the approximate Mixup risk, and the "
        "Mixup risk with its 95% interval. Right: what lies between the second and the third; R1 "
        "and R3 stand for their sum, since each alone may be arbitrarily large where predictions "
        "are sure.",
        "The same numbers stand in the table of risks and regularizers.",
        draw(partial(_risks, found)),
    )
    if found.entropy is not None:
        yield Picture(
            "entropies",
            "Mean entropies",
            "Entropy of the predictions at the samples and at the modified inputs, of the smoothed "
            "labels, which bounds the one at the modified inputs where the scale of the logits is "
            "the best, and the bound of Proposition 1.",
            "The same numbers stand in the table of mean entropies.",
            draw(partial(_entropies, found.entropy)),
        )
    yield Picture(
        "jacobians",
        "Norms of the Jacobian at the samples",
        "Share of the samples by the norm of their Jacobian, on a logarithmic scale; the line is "
        "the mean.",
        "Means and quantiles stand in the table of norms of the Jacobian.",
        draw(partial(_jacobians, found)),
    )


def _risks(found: Diagnosis) -> Figure:
    terms = found.approximate
    figure, (risks, parts) = panels(2, size=(4.4, 2.3))
    _bars(
        risks,
        ["empirical (2)", "modified (20)", "approximate (12)", "Mixup (4)"],
        [found.empirical, terms.modified, terms.total, found.mixup.value],
        [GREY, SKY, BLUE, GREEN],
    )
    risks.errorbar(found.mixup.value, 3, xerr=found.half_width, fmt="none", ecolor=INK, capsize=3)
    risks.set_xlabel("risk")
    _bars(
        parts, ["R1 + R3", "R2", "R4"], [terms.r1_plus_r3, terms.r2, terms.r4], [RED, ORANGE, GREY]
    )
    parts.axvline(0, color=FAINT, linewidth=1)
    parts.set_xlabel("added to the loss on modified data")
    return figure


def _bars(
    axes: Axes, names: Sequence[str], values: Sequence[float], colours: Sequence[str]
) -> None:
    """Horizontal bars from top to bottom."""
    axes.barh(range(len(names)), values, color=colours, height=0.62)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)


def _entropies(entropy: EntropyReport) -> Figure:
    figure, (axes,) = panels(1, size=(6.4, 2.2))
    _bars(
        axes,
        ["predictions at x", "predictions at x̃", "smoothed labels ỹ", "bound of Proposition 1"],
        [
            entropy.predictions,
            entropy.modified_predictions,
            entropy.modified_labels,
            entropy.bound,
        ],
        [GREY, BLUE, ORANGE, RED],
    )
    axes.set_xlabel("mean entropy (nats)")
    return figure


def _jacobians(found: Diagnosis) -> Figure:
    jacobian = found.jacobian
    shown: list[tuple[str, Tensor, str]] = [
        ("‖∇f‖_F", jacobian.outputs, BLUE),
        ("‖∇f‖ in the metric Σ_xx", jacobian.data_metric, GREEN),
    ]
    if jacobian.probabilities is not None:
        shown.append(("‖∇p‖_F of probabilities", jacobian.probabilities, RED))
    figure, axes = panels(len(shown), size=(3.2, 2.4))
    for panel, (title, norms, colour) in zip(axes, shown, strict=True):
        values = norms.cpu().numpy()
        low = max(values.min(), values.max() * _SMALLEST_SHARE, _SMALLEST)
        edges = np.geomspace(low, max(values.max(), 1.01 * low), _BINS + 1)
        shares = 100 * np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        panel.stairs(shares, edges, fill=True, color=colour, alpha=0.45, linewidth=0)
        panel.stairs(shares, edges, color=colour, linewidth=0.9)
        panel.axvline(values.mean(), color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        panel.set(xscale="log", title=title)
        panel.minorticks_off()
        panel.set_xticks(edges[_TICKS], [f"{edge:.2g}" for edge in edges[_TICKS]])
        panel.grid(visible=False, axis="x")
    axes[0].set_ylabel("share of samples (%)")
    return figure
