"""Figure 1: what shrinking the data and what regularization do to the decision boundary."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mixreg.experiments.two_moons.methods import Method
from mixreg.experiments.two_moons.picture import METHODS, ZOOM, Picture
from mixreg.experiments.two_moons.result import TwoMoonsResult
from mixreg.report.style import BLUE, FAINT, INK, ORANGE, PAPER, RED, SKY, draw, panels

_TITLES: dict[Method, str] = {
    "erm": "original data",
    "mixup": "Mixup",
    "modified": "modified data",
}
_COLOURS: dict[Method, str] = {"erm": INK, "mixup": RED, "modified": BLUE}
_POINTS = LinearSegmentedColormap.from_list("points", [ORANGE, PAPER, SKY])
_LEVELS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
_OPACITIES = (0.32, 0.2, 0.08)
_GROUND = [*((ORANGE, o) for o in _OPACITIES), *((SKY, o) for o in _OPACITIES[::-1])]
"""Colours of the levels; what is behind them shows through, on a light page or a dark one."""


def fig1_svg(result: TwoMoonsResult) -> str:
    """Functions learnt from the original data, with Mixup and from modified data (Figure 1).

    Colours are the predicted probability of the classes, dots the data that the method is shown,
    lines the decision boundaries. The fourth panel enlarges the place between the moons: from the
    black to the blue line is the shift of the data, from blue to red the regularization.

    Args:
        result: the finished experiment.

    Returns:
        The SVG document.
    """
    return draw(lambda: _figure(result.picture))


def _figure(picture: Picture) -> Figure:
    figure, axes = panels(4, 1, size=(3.4, 2.6))
    for method, panel in zip(METHODS, axes, strict=False):
        _shade(panel, picture, method)
        panel.set_title(_TITLES[method])
    _enlarge(axes[3], picture)
    lines = [Line2D([], [], color=_COLOURS[method]) for method in METHODS]
    labels = [f"boundary, {_TITLES[method]}" for method in METHODS]
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def _shade(panel: Axes, picture: Picture, method: Method) -> None:
    """One function in the plane, with the data it was learnt from."""
    x, y = picture.horizontal, picture.vertical
    p = 1 / (1 + np.exp(-np.array(picture.logits[method])))
    panel.contourf(x, y, p, levels=_LEVELS, colors=_GROUND)
    points = np.array(picture.points[method])
    panel.scatter(
        points[:, 0],
        points[:, 1],
        c=points[:, 2],
        cmap=_POINTS,
        vmin=0,
        vmax=1,
        s=10,
        edgecolors=INK,
        linewidths=0.3,
    )
    panel.contour(x, y, picture.logits[method], [0], colors=_COLOURS[method], linewidths=1.8)
    (left, right), (low, high) = ZOOM
    frame = Rectangle((left, low), right - left, high - low, fill=False, edgecolor=FAINT)
    panel.add_patch(frame)
    panel.set(xlim=(min(x), max(x)), ylim=(min(y), max(y)))
    panel.grid(visible=False)


def _enlarge(panel: Axes, picture: Picture) -> None:
    """All boundaries between the moons."""
    for method in METHODS:
        panel.contour(
            picture.horizontal,
            picture.vertical,
            picture.logits[method],
            [0],
            colors=_COLOURS[method],
            linewidths=1.8,
        )
    panel.set(title="between the moons", xlim=ZOOM[0], ylim=ZOOM[1])
