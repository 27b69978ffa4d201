"""Figure 7: how sure the predictions are, and the entropy that smoothing and mixing add."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from mixreg.evaluation import Histogram, MetricName
from mixreg.experiments import _runs
from mixreg.experiments._runs import LENET
from mixreg.report import (
    Claim,
    Document,
    Expected,
    Records,
    Sentence,
    charts,
    figures,
    paired,
    table,
)
from mixreg.report.comparison import UNSURE
from mixreg.report.records import METRIC_FORMATS
from mixreg.settings import ReproduceOptions

PRESETS = LENET

ARMS = {
    "erm": ("ERM", figures.GREY),
    "label-smoothing": ("label smoothing", figures.ORANGE),
    "mixup": ("Mixup", figures.BLUE),
    "approximate": ("approximate Mixup", figures.RED),
}
PANELS = (("erm", "label-smoothing", "mixup"), ("mixup", "approximate"))
METRICS: tuple[MetricName, ...] = ("accuracy", "confidence", "entropy")

LESS = Sentence(
    "Mixup produces even less confident predictions than label smoothing.", UNSURE.place
)
LIKE = Sentence("Approximate Mixup, like Mixup, produces less confident predictions.", UNSURE.place)
TESTS: tuple[tuple[Sentence, MetricName, str, str, Expected], ...] = (
    (UNSURE, "entropy", "label-smoothing", "erm", "positive"),
    (UNSURE, "entropy", "mixup", "erm", "positive"),
    (LESS, "confidence", "mixup", "label-smoothing", "negative"),
    (LIKE, "confidence", "approximate", "erm", "negative"),
)

Histograms = Mapping[str, Sequence[Histogram]]


runs = partial(_runs.at_one_alpha, PRESETS, tuple(ARMS))
plan = partial(_runs.plan, runs)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, evaluate, and write the figure."""
    made, evaluated = _runs.evaluated(options, runs(options))
    records = Records(record for item in evaluated for record in item.records())
    raw = [(run.method, evaluation.results["raw"]) for run, _, evaluation in evaluated]
    histograms = {m: [r.confidence for method, r in raw if method == m] for m, _ in raw}
    return _runs.write(options, document(records, made, histograms))


def document(records: Records, made: _runs.Made, histograms: Histograms) -> Document:
    """The whole figure."""
    raw = records.where(prediction="raw")
    return _runs.figure_document(
        made,
        "Figure 7: confidence of the predictions",
        records=records,
        claims=claims(raw),
        tables=[
            table(
                "fig7",
                "Raw predictions on the test set",
                f"{_runs.MEANS}. Label smoothing is by ε = 1 − θ̄, what mixup amounts to.",
                ["method", *(METRIC_FORMATS[metric].heading for metric in METRICS), "n"],
                METRICS,
                _runs.rows(raw, {method: name for method, (name, _) in ARMS.items()}, Records()),
            )
        ],
        pictures=[
            figures.Picture(
                "fig7",
                "Confidence of the predictions",
                "Test examples by the probability of their most probable class, in 20 bins, mean "
                "over seeds. Bands are 95% confidence intervals over seeds.",
                "Mean confidences stand in the table.",
                figures.draw(lambda: figure(histograms)),
            )
        ],
    )


def claims(raw: Records) -> Iterator[Claim]:
    """Smoothing is less sure than ERM, Mixup still less, and its approximation likewise."""
    for said, metric, method, other, expected in TESTS:
        effect = paired(*(raw.by_seed(metric, method=m) for m in (method, other)))
        measured = _runs.difference(metric, f"{ARMS[method][0]} − {ARMS[other][0]}")
        yield from said.test(_runs.place(raw), measured, effect, expected)


def figure(histograms: Histograms) -> Figure:
    """Shares of the test examples by confidence."""
    drawn, axes = figures.panels(len(PANELS), size=(4.2, 2.9))
    for panel, methods in zip(axes, PANELS, strict=True):
        for method in methods:
            if method in histograms:
                name, colour = ARMS[method]
                charts.outline(panel, histograms[method], colour=colour, label=name)
        figures.unit_ticks(panel.xaxis)
        panel.set_xlabel("confidence of the prediction")
        panel.grid(visible=False, axis="x")
        panel.legend(loc="upper left")
    axes[0].set_ylabel("share of examples (%)")
    top = max(panel.get_ylim()[1] for panel in axes)
    for panel in axes:
        panel.set_ylim(0, top)
    return drawn
