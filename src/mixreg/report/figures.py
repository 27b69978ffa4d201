"""One look for all pictures, and their SVG, the same bytes every time.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart. In a page,
they become CSS variables that a dark theme redefines.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from mixreg.evaluation import Correction, MeanInterval

INK, FAINT, GRID, PAPER = "#1c2026", "#8b949e", "#d8dee4", "#ffffff"
BLUE, RED, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, PINK, GREY = "#56b4e9", "#cc79a7", "#6e7681"

CORRECTION_COLOURS: dict[Correction, str] = {
    "raw": GREY,
    "rescaled": BLUE,
    "shrink-only": SKY,
    "scale-only": ORANGE,
    "two-views": PINK,
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

_STYLE: Any = {
    **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), FAINT),
    **dict.fromkeys(("figure.facecolor", "savefig.facecolor"), PAPER),
    **dict.fromkeys(("axes.labelsize", "font.size", "legend.fontsize"), 9.5),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "mixreg",
    "text.parse_math": False,
}

_ELEMENTS = re.compile("svg|defs|g|path|use|rect|circle|clipPath|text|tspan|title|desc")
_ATTRIBUTES = re.compile(
    "clip-path|clip-rule|cx|cy|d|fill(-opacity|-rule)?|font-(family|size)|height|id|opacity|"
    "r|stroke(-dasharray|-linecap|-linejoin|-width)?|style|text-anchor|transform|version|viewBox|"
    "width|x|xlink:href|y"
)
_STYLES = re.compile(
    "fill(-opacity|-rule)?|font(-family|-size|-style|-weight)?|opacity|text-anchor|"
    "stroke(-dasharray|-dashoffset|-linecap|-linejoin|-miterlimit|-opacity|-width)?"
)
"""All that pictures are drawn with: elements, attributes, properties of their style."""


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
        """The SVG as an element of a page, in its colours; a ValueError for more than a drawing."""
        return _Inlining(f"{prefix}{self.name}-", f"{self.title}. {self.description}").of(self.svg)


class Frame(NamedTuple):
    """The picture at one value of the parameter, and the value as it is written."""

    value: str
    picture: Picture


@dataclass(frozen=True)
class PictureSequence:
    """Pictures that differ in one parameter, shown one at a time where the page's script runs.

    Without a script, and in print, all of them are shown.

    Args:
        name: name for links, unique on its page.
        title: heading.
        caption: what all of them show; each picture has its own caption besides.
        parameter: what differs, such as "α".
        frames: a picture for each value, in the order of the slider.
        start: place of the frame that is shown first.

    Raises:
        ValueError: no frames, two for one value, or a start that is none of them.
    """

    name: str
    title: str
    caption: str
    parameter: str
    frames: Sequence[Frame]
    start: int = 0

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError(f"the sequence {self.name!r} needs at least one frame, got none")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"{self.name!r} has several frames for one value: {self.values}")
        if not 0 <= self.start < len(self.frames):
            raise ValueError(
                f"{self.name!r} has {len(self.frames)} frames and should start with frame "
                f"{self.start}, counted from 0"
            )

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the parameter."""
        return tuple(frame.value for frame in self.frames)


def draw(plot: Callable[[], Figure]) -> str:
    """The SVG of a plotting function run in the common style, without date or program in it."""
    with mpl.rc_context(_STYLE):
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        plot().savefig(file, format="svg", metadata=nothing)
    return file.getvalue()


def panels(
    columns: int,
    rows: int = 1,
    *,
    size: tuple[float, float],
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A grid of axes without global state, each `size` inches on the average, row by row."""
    figure = Figure(figsize=(columns * size[0], rows * size[1]))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)


def unit_ticks(axis: Axis) -> None:
    """Ticks for shares from 0 to 1 that do not run into those of the next panel."""
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])


def arrays(means: Iterable[MeanInterval]) -> tuple[np.ndarray, np.ndarray]:
    """Means, and half the widths of their intervals, 0 where there is none."""
    pairs = [(mean.mean, mean.half_width or 0.0) for mean in means]
    mean, half = np.array(pairs).reshape(-1, 2).T
    return mean, half


def draw_band(
    axes: Axes, label: str, colour: str, style: str, means: Mapping[float, MeanInterval]
) -> None:
    """A line through the means at their places, with their intervals as a band."""
    x, (mean, half) = list(means), arrays(means.values())
    axes.plot(x, mean, color=colour, linestyle=style, label=label)
    axes.fill_between(x, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)


def draw_bars(
    axes: Axes, label: str, colour: str, style: str, means: Mapping[float, MeanInterval]
) -> None:
    """A line with marks, hollow ones on a dotted line, and the intervals as bars."""
    mean, half = arrays(means.values())
    axes.errorbar(
        list(means),
        mean,
        yerr=half,
        color=colour,
        linestyle=style,
        marker="o",
        markersize=3.5,
        markerfacecolor=PAPER if style == ":" else colour,
        capsize=2,
        linewidth=1.5,
        elinewidth=1,
        label=label,
    )


def legend_above(figure: Figure, axes: Axes) -> None:
    """One legend over the whole figure, for the lines of a panel that has all of them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)


def variable(colour: str) -> str:
    """CSS variable of a colour of the pictures."""
    return f"--ink-{colour[1:]}"


class _Inlining:
    """An SVG document read as XML and written again as the element of a page."""

    def __init__(self, prefix: str, label: str) -> None:
        self._prefix, self._label = prefix, label
        self._parts: list[str] = []
        self._style = 0

    def of(self, svg: str) -> str:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler, parser.EntityDeclHandler = self._text, self._entity
        try:
            parser.Parse(svg.encode(), True)
        except expat.ExpatError as error:
            raise ValueError(f"it is no SVG: {error}") from error
        return "".join(self._parts)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "style":  # that of matplotlib, which the page's own replaces
            self._style += 1
            return
        first = not self._parts
        if not _ELEMENTS.fullmatch(name) or self._style or first != (name == "svg"):
            raise ValueError(f"its element <{name}> is no part of a drawing")
        about = f' role="img" aria-label={quoteattr(self._label)}' if first else ""
        kept = {k: v for k, v in attributes.items() if k not in {"xmlns", "xmlns:xlink", "type"}}
        written = [f" {k}={quoteattr(self._value(name, k, v))}" for k, v in kept.items()]
        self._parts.append(f"<{name}{about}{''.join(written)}>")

    def _value(self, name: str, key: str, value: str) -> str:
        allowed = _ATTRIBUTES.fullmatch(key) and (key != "xlink:href" or value.startswith("#"))
        if key == "style":
            names = [part.partition(":")[0].strip() for part in value.split(";") if part.strip()]
            allowed = all(map(_STYLES.fullmatch, names))
        if not allowed or re.search(r"url|\\|@|/\*", re.sub(r"url\(#[\w.-]*\)", "", value)):
            raise ValueError(f"{key}={value!r} of its element <{name}> is no part of a drawing")
        if key in {"id", "xlink:href"}:
            return re.sub(r"^#?", rf"\g<0>{self._prefix}", value)
        value = value.replace("url(#", f"url(#{self._prefix}")
        for colour in DARK if key in {"style", "fill", "stroke"} else ():
            value = re.sub(colour, f"var({variable(colour)})", value, flags=re.IGNORECASE)
        return value

    def _end(self, name: str) -> None:
        if name == "style":
            self._style -= 1
        else:
            self._parts.append(f"</{name}>")

    def _text(self, data: str) -> None:
        if not self._style:
            self._parts.append(escape(data))

    def _entity(self, name: str, *_: object) -> None:
        raise ValueError(f"its entity {name!r} is no part of a drawing")
