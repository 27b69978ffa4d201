"""One look for all pictures, and their SVG, the same bytes every time.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart. In a page,
they become CSS variables that a dark theme redefines.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from mixreg.evaluation import Correction

INK = "#1c2026"
FAINT = "#8b949e"
GRID = "#d8dee4"
PAPER = "#ffffff"

BLUE, RED, GREEN, ORANGE, SKY, PINK = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#e69f00",
    "#56b4e9",
    "#cc79a7",
)
GREY = "#6e7681"

CORRECTION_COLOURS: dict[Correction, str] = {
    "raw": GREY,
    "rescaled": BLUE,
    "shrink-only": SKY,
    "scale-only": ORANGE,
    "temperature": RED,
    "rescaled+temperature": GREEN,
}
CORRECTION_LINES: dict[Correction, str] = {"raw": "-", "rescaled": "--", "temperature": "-."}
GROUP_COLOURS = (GREY, BLUE, RED, GREEN, ORANGE, PINK, SKY)
GROUP_LINES = ("-", "--", "-.", ":")

DARK = {
    INK: "#e6e9ed",
    FAINT: "#8b949e",
    GRID: "#3a424c",
    PAPER: "#14181d",
    GREY: "#a3abb5",
    BLUE: "#4aa8e0",
    RED: "#f08a3c",
    GREEN: "#2fc49b",
    ORANGE: "#f0b429",
    SKY: "#8fd0f5",
    PINK: "#e09cc4",
}
"""Every colour that pictures use, with the one that replaces it on a dark page."""

_PARAMETERS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "mixreg",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Picture:
    """A finished figure.

    Args:
        name: file name without ending, unique on its page.
        title: heading.
        caption: what it shows and how to read it.
        description: the same for those who cannot see it, with the main numbers.
        svg: a stand-alone SVG document on white ground.
    """

    name: str
    title: str
    caption: str
    description: str
    svg: str

    def inline(self, prefix: str = "") -> str:
        """The SVG as an element of a page: own ids, and colours that follow the page's theme.

        Args:
            prefix: what its ids begin with, for pages with several pictures of one name.

        Returns:
            The element.
        """
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", body)
        body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
        body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}{self.name}-", body)
        for colour in DARK:
            body = re.sub(colour, f"var({variable(colour)})", body, flags=re.IGNORECASE)
        label = quoteattr(f"{self.title}. {self.description}")
        return f'<svg role="img" aria-label={label}{body[4:]}'


def variable(colour: str) -> str:
    """CSS variable of a colour of the pictures.

    Args:
        colour: a key of `DARK`.

    Returns:
        The variable's name.
    """
    return f"--ink-{colour[1:]}"


def draw(plot: Callable[[], Figure]) -> str:
    """Run a plotting function in the common style.

    Args:
        plot: makes the figure.

    Returns:
        The SVG document, without date or program in it.
    """
    with mpl.rc_context(_PARAMETERS):
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        plot().savefig(file, format="svg", metadata=nothing)
    return file.getvalue()


def unit_ticks(axis: Axis) -> None:
    """Ticks for shares from 0 to 1 that do not run into those of the next panel.

    Args:
        axis: the axis of a confidence or an accuracy.
    """
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])


def panels(
    columns: int,
    rows: int = 1,
    *,
    size: tuple[float, float],
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A grid of axes without global state.

    Args:
        columns: panels side by side.
        rows: panels above one another.
        size: mean width and height of a panel in inches.
        heights: relative heights of the rows, equal by default.

    Returns:
        The figure and its axes, row by row.
    """
    figure = Figure(figsize=(columns * size[0], rows * size[1]))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)
