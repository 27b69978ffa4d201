"""Figure 3: the terms of the approximate Mixup risk on the way, whatever was minimised."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixreg.evaluation import mean_interval
from mixreg.experiments.images.outcomes import Outcomes
from mixreg.experiments.images.parts import one_alpha
from mixreg.experiments.images.testing import Sentence
from mixreg.report.claims import Claim
from mixreg.report.lines import Line, draw_band, legend_above
from mixreg.report.study import Entry, StudyTable
from mixreg.report.style import BLUE, GREEN, GREY, Picture, draw, panels

PLACE = "section 5, figure 3"
_METHODS = {
    "mixup": ("Mixup", BLUE, "-"),
    "modified": ("ERM on modified data", GREEN, "--"),
    "erm": ("ERM", GREY, "-."),
}
_TERMS = {
    "modified": "loss on modified data (20)",
    "r1_plus_r3": "R1 + R3",
    "r1": "R1",
    "r3": "R3",
    "r2": "R2",
    "r4": "R4",
    "total": "approximate risk (12)",
}
_DRAWN = ("modified", "r1_plus_r3", "r1", "total")


def _picture(outcomes: Outcomes) -> Picture:
    ends = [
        f"{label} {_TERMS[term]} {_end(outcomes, method, term):.4g}"
        for method, (label, _, _) in _METHODS.items()
        if outcomes.of(method)
        for term in _DRAWN
    ]
    return Picture(
        "fig3",
        "The terms of the approximate Mixup risk while training",
        "Evaluated after some epochs on training images, taken as the training set of the risk, "
        "for functions learnt by each method; mean over seeds. Bands are 95% confidence intervals "
        "over seeds. R1 and R3 are large and of opposite signs where predictions are nearly "
        "one-hot; their sum is what enters the risk. The axis of R1 is logarithmic.",
        f"At the end: {', '.join(ends)}.",
        draw(lambda: _figure(outcomes)),
    )


def _table(outcomes: Outcomes) -> StudyTable:
    rows = []
    for method, (label, _, _) in _METHODS.items():
        runs = outcomes.of(method)
        if runs:
            cells = [Entry(_text(outcomes, method, term)) for term in _TERMS]
            rows.append((label, [*cells, Entry(str(len(runs)))]))
    return StudyTable(
        "fig3",
        "Terms at the end of training",
        "Mean over seeds ± half the width of its 95% confidence interval. R2 and R4 are zero: "
        "ReLU networks have no second derivatives almost everywhere, and cross-entropy is linear "
        "in the labels.",
        ["learnt with", *_TERMS.values(), "n"],
        rows,
    )


def _claims(outcomes: Outcomes, setting: str) -> Iterator[Claim]:
    """Mixup has the smallest regularization terms, but not the smallest loss on modified data."""
    smallest = Sentence(
        "Functions learnt with Mixup have the smallest regularization terms.", PLACE, setting
    )
    for other in ("erm", "modified"):
        for term in ("r1_plus_r3", "r1"):
            yield from smallest.claim(
                f"{_TERMS[term]}, Mixup − {_METHODS[other][0]}",
                outcomes.last_term("mixup", term),
                outcomes.last_term(other, term),
                "negative",
            )
    larger = Sentence(
        "Functions learnt with Mixup do not have the smallest loss on modified data.",
        PLACE,
        setting,
    )
    yield from larger.claim(
        f"{_TERMS['modified']}, Mixup − {_METHODS['modified'][0]}",
        outcomes.last_term("mixup", "modified"),
        outcomes.last_term("modified", "modified"),
        "positive",
    )


def _figure(outcomes: Outcomes) -> Figure:
    figure, axes = panels(2, 2, size=(4.2, 2.6))
    for panel, term in zip(axes, _DRAWN, strict=True):
        panel.set_title(_TERMS[term])
        panel.set_xlabel("epoch")
        for method, (label, colour, style) in _METHODS.items():
            courses = [run.terms for run in outcomes.of(method) if run.terms]
            if courses:
                epochs = [entry["epoch"] for entry in courses[0]]
                means = [mean_interval([c[k][term] for c in courses]) for k in range(len(epochs))]
                draw_band(panel, Line(label, colour, style, epochs, means))
        if term == "r1":
            _logarithmic(panel)
    legend_above(figure, axes[0])
    return figure


def _logarithmic(panel: Axes) -> None:
    """Powers of ten, down to a little below the smallest mean."""
    lowest = min(float(np.min(line.get_ydata())) for line in panel.get_lines())
    if lowest > 0:
        panel.set_yscale("log")
        panel.set_ylim(bottom=lowest / 2)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")


def _end(outcomes: Outcomes, method: str, term: str) -> float:
    return mean_interval(list(outcomes.last_term(method, term).values())).mean


def _text(outcomes: Outcomes, method: str, term: str) -> str:
    interval = mean_interval(list(outcomes.last_term(method, term).values()))
    half = "" if interval.half_width is None else f" ± {interval.half_width:.2g}"
    return f"{interval.mean:.4g}{half}".replace("-", "−")


fig3 = one_alpha(_picture, _table, _claims)
