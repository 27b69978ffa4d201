"""Figure 2: training and test of LeNet under Mixup and approximate Mixup, and under ERM."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from mixreg.experiments import _runs
from mixreg.experiments._runs import LENET
from mixreg.report import Claim, Document, Record, Records, Sentence, figures, paired, table
from mixreg.report.records import half_way
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, TrainConfig

PRESETS = LENET

METHODS = {
    "mixup": ("mixup", figures.BLUE, "-"),
    "approximate": ("approximate", figures.RED, "--"),
    "erm": ("erm", figures.GREY, "-."),
}
METRICS = {
    "objective": "training objective",
    "nll": "test NLL (nats)",
    "accuracy": "test accuracy (%)",
}
LOGGED = {"objective": "objective", "nll": "test_nll", "accuracy": "test_accuracy"}
"""The metrics as the history of a run names them."""
MIMICS = Sentence(
    "Approximate Mixup mimics the performance of Mixup, both in training and test.",
    "section 5, figure 2",
)


runs = partial(_runs.at_one_alpha, PRESETS, tuple(METHODS))
plan = partial(_runs.plan, runs)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, and write the figure."""
    made = _runs.make(options, runs(options))
    records = Records(record for run in made.runs for record in recorded(run))
    return _runs.write(options, document(records, made))


def recorded(run: TrainConfig) -> Iterator[Record]:
    """What a run minimised and how it predicted the test set, epoch by epoch."""
    for entry in RunDirectory(run.directory).read_result().history:
        epoch = _runs.after(entry["epoch"])
        for metric, name in LOGGED.items():
            row = _runs.label(run), run.method, run.alpha, run.seed, epoch
            yield Record(*row, metric, entry[name])


def document(records: Records, made: _runs.Made) -> Document:
    """The whole figure from its numbers."""
    ends = _runs.at_end(records)
    return _runs.figure_document(
        made,
        "Figure 2: Mixup and its approximation",
        records=records,
        claims=claims(ends),
        tables=[
            table(
                "fig2",
                "At the end of training",
                f"{_runs.MEANS}.",
                ["method", *METRICS.values(), "n"],
                METRICS,
                _runs.rows(ends, {method: method for method in METHODS}, Records()),
            )
        ],
        pictures=[
            figures.Picture(
                "fig2",
                "Training with Mixup, approximate Mixup and ERM",
                "What each method minimises, averaged over the steps of an epoch, and the test set "
                "after it, mean over seeds. Bands are 95% confidence intervals over seeds. The "
                "objectives of Mixup and approximate Mixup estimate the same risk (4) and its "
                "approximation (12); that of ERM is the risk on unmixed examples.",
                "The same numbers stand in the table, those of the end of training.",
                figures.draw(lambda: figure(records)),
            )
        ],
    )


def claims(ends: Records) -> Iterator[Claim]:
    """Approximate Mixup mimics Mixup: on the test set, it is nearer than half way to ERM."""
    for metric, title in METRICS.items():
        mixup, approximate, erm = (ends.by_seed(metric, method=method) for method in METHODS)
        margin, within = (None, "") if metric == "objective" else half_way(mixup, erm)
        measured = f"{title.replace('%', 'points')} at the end, approximate − mixup{within}"
        effect = paired(approximate, mixup)
        yield from MIMICS.test(_runs.place(ends), measured, effect, "zero", margin)


def figure(records: Records) -> Figure:
    """One panel for each number, a line with its band for each method."""
    drawn, axes = figures.panels(len(METRICS), size=(3.4, 2.8))
    for panel, (metric, title) in zip(axes, METRICS.items(), strict=True):
        panel.set_title(title)
        _runs.draw_courses(panel, records, metric, METHODS)
    figures.legend_above(drawn, axes[0])
    return drawn
