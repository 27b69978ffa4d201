"""Figures 8 and 9: the course of training, and the confidence of predictions."""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.experiments.two_moons.claims import ERM_RESCALED
from mixreg.experiments.two_moons.measures import PREDICTIONS, Prediction
from mixreg.experiments.two_moons.methods import METHODS, Method
from mixreg.experiments.two_moons.result import Outcome, TwoMoonsResult
from mixreg.report.lines import Line, draw_band
from mixreg.report.style import BLUE, GREEN, GREY, INK, RED, draw, panels

_METHODS: dict[Method, tuple[str, str]] = {
    "erm": ("ERM", GREY),
    "mixup": ("Mixup", BLUE),
    "approximate": ("approximate Mixup", RED),
    "modified": ("ERM on modified data", GREEN),
}
_LINES: dict[Prediction, str] = {"raw": "-", "rescaled": "--"}
_HIGHEST_SHARE = 60

_PANELS = {
    "train_nll": ("train loss (nats)", 1),
    "test_nll": ("test loss (nats)", 1),
    "train_accuracy": ("train accuracy (%)", 100),
    "test_accuracy": ("test accuracy (%)", 100),
}


def fig8_svg(result: TwoMoonsResult) -> str:
    """Train loss, test loss, train and test accuracy during training (Figure 8).

    Lines are means over repetitions, bands their 95% confidence intervals. Losses are those of
    unmixed points; the training labels are the partly flipped ones. Dashes are predictions by
    equation 22; those of ERM, which only make it worse, are left out.

    Args:
        result: the finished experiment.

    Returns:
        The SVG document.
    """
    return draw(lambda: _course(result))


def fig9_svg(result: TwoMoonsResult) -> str:
    """Histograms of the confidence of predictions on test points (Figure 9).

    Bars are mean shares over repetitions with their 95% confidence intervals; the dotted line is
    the mean accuracy, which the mean confidence of calibrated predictions equals.

    Args:
        result: the finished experiment.

    Returns:
        The SVG document.
    """
    return draw(lambda: _confidence(result))


def _course(result: TwoMoonsResult) -> Figure:
    figure, axes = panels(2, 2, size=(4.2, 3.0))
    for (metric, (title, factor)), panel in zip(_PANELS.items(), axes, strict=True):
        for method, prediction in itertools.product(METHODS, PREDICTIONS):
            if (method, prediction) == ERM_RESCALED:
                continue
            label, colour = _METHODS[method]
            if prediction == "rescaled":
                label = f"{label} (rescaled)"
            means = result.curve((method, prediction), metric).means
            style = _LINES[prediction]
            draw_band(panel, Line(label, colour, style, result.epochs, means, factor))
        panel.set(title=title, xscale="log", xlabel="epoch")
        panel.xaxis.set_major_formatter("{x:g}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _confidence(result: TwoMoonsResult) -> Figure:
    figure, axes = panels(len(METHODS), len(PREDICTIONS), size=(2.6, 2.2))
    arms = [(method, prediction) for prediction in PREDICTIONS for method in METHODS]
    for (method, prediction), panel in zip(arms, axes, strict=True):
        label, colour = _METHODS[method]
        _bars(panel, result.outcome((method, prediction)), colour)
        panel.set(xlim=(0.5, 1), ylim=(0, _HIGHEST_SHARE))
        if prediction == "raw":
            panel.set_title(label)
        else:
            panel.set_xlabel("confidence")
        if method == METHODS[0]:
            panel.set_ylabel(f"{prediction}: test points (%)")
    return figure


def _bars(panel: Axes, outcome: Outcome, colour: str) -> None:
    edges = np.array(outcome.confidence_edges)
    share = 100 * np.array([m.mean for m in outcome.confidence_shares])
    half = 100 * np.array([m.half_width or 0.0 for m in outcome.confidence_shares])
    panel.bar(
        edges[:-1],
        share,
        np.diff(edges),
        align="edge",
        color=colour,
        yerr=half,
        error_kw={"linewidth": 0.9},
    )
    accuracy = outcome.mean("test_accuracy").mean
    panel.axvline(accuracy, color=INK, linestyle=":", linewidth=1.2)
