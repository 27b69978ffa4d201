"""Figure 3: the terms of the approximate Mixup risk on the way, whatever was minimised."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from mixreg._stored import Kept
from mixreg.covariance import Whitening
from mixreg.experiments import _runs
from mixreg.experiments._runs import DIGITS, LENET
from mixreg.report import Claim, Document, Entry, Record, Records, Sentence, Table, figures, paired
from mixreg.risk import approximate_mixup_risk
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, TrainConfig, load_data, load_run, load_weights

PRESETS = {  # setting, epochs after which the terms are evaluated, and on how many images
    "paper": (LENET["paper"], (1, 2, 5, 10, 20, 50, 100, 150, 200), 2000),
    "cpu": (
        dataclasses.replace(LENET["cpu"], seeds=3),
        (1, 2, 3, 5, 8, 12, 15, 18, 22, 26, 30),
        500,
    ),
    "smoke": (DIGITS, (1, 2), 40),
}

METHODS = {
    "mixup": ("Mixup", figures.BLUE, "-"),
    "modified": ("ERM on modified data", figures.GREEN, "--"),
    "erm": ("ERM", figures.GREY, "-."),
}
TERMS = {
    "modified": "loss on modified data (20)",
    "r1_plus_r3": "R1 + R3",
    "r1": "R1",
    "r3": "R3",
    "r2": "R2",
    "r4": "R4",
    "total": "approximate risk (12)",
}
DRAWN = ("modified", "r1_plus_r3", "r1", "total")

PLACE = "section 5, figure 3"
SMALLEST = Sentence("Functions learnt with Mixup have the smallest regularization terms.", PLACE)
LARGER = Sentence(
    "Functions learnt with Mixup do not have the smallest loss on modified data.", PLACE
)


def runs(options: ReproduceOptions) -> list[TrainConfig]:
    """Every method, with the weights after some epochs."""
    setting, snapshots, _ = PRESETS[options.size]
    return _runs.trainings(options, [_runs.Arm(setting, m) for m in METHODS], snapshots)


plan = partial(_runs.plan, runs)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, evaluate the terms, and write the figure."""
    *_, samples = PRESETS[options.size]
    made = _runs.make(options, runs(options), partial(measure, samples))
    stored = [terms(samples).read(run.directory) for run in made.runs]
    records = Records(record for of_run in stored for record in of_run)
    return _runs.write(options, document(records, made))


def measure(samples: int, run: RunDirectory, config: TrainConfig) -> None:
    """Evaluate the terms at every snapshot, on the same images for all runs of a seed."""
    if terms(samples).find(run.path):
        return
    trained = load_run(run.path, {"data_root": config.data_root, "workers": 0})
    data = load_data(dataclasses.replace(trained.config, augment=False))
    x, y = next(iter(data.train_batches(samples, seed=config.seed, epoch=0)))
    whitening = Whitening.from_data(x)
    records = []
    for epoch in config.snapshots:
        net = load_weights(run.snapshot(epoch), trained.net).eval()
        risk = approximate_mixup_risk(net, x, y, config.loss, trained.law, whitening=whitening)
        row = _runs.label(config), config.method, config.alpha, config.seed, _runs.after(epoch)
        records += [Record(*row, term, getattr(risk, term)) for term in TERMS]
    terms(samples).write(run.path, records)


def terms(samples: int) -> Kept[list[Record]]:
    """Where a run keeps its terms on so many samples."""
    return Kept(f"terms-{samples}.json", list[Record])


def document(records: Records, made: _runs.Made) -> Document:
    """The whole figure from its numbers."""
    ends = _runs.at_end(records)
    *_, samples = PRESETS[made.preset]
    return _runs.figure_document(
        made,
        "Figure 3: the terms of the approximate Mixup risk",
        records=records,
        claims=claims(ends),
        caveats=[f"The terms are evaluated on {samples} of the training images."],
        tables=[
            Table(
                "fig3",
                "Terms at the end of training",
                f"{_runs.MEANS}. R2 and R4 are zero: ReLU networks have no second derivatives "
                "almost everywhere, and cross-entropy is linear in the labels.",
                ["learnt with", *TERMS.values(), "n"],
                list(rows(ends)),
            )
        ],
        pictures=[
            figures.Picture(
                "fig3",
                "The terms of the approximate Mixup risk while training",
                "Evaluated after some epochs on training images, taken as the training set of the "
                "risk, for functions learnt by each method; mean over seeds. Bands are 95% "
                "confidence intervals over seeds. R1 and R3 are large and of opposite signs where "
                "predictions are nearly one-hot; their sum is what enters the risk. The axis of R1 "
                "is logarithmic.",
                "The same numbers stand in the table, those of the end of training.",
                figures.draw(lambda: figure(records)),
            )
        ],
    )


def claims(ends: Records) -> Iterator[Claim]:
    """Mixup has the smallest regularization terms, but not the smallest loss on modified data."""

    def effect(term: str, other: str) -> tuple[str, str, dict[int, float]]:
        values = paired(*(ends.by_seed(term, method=method) for method in ("mixup", other)))
        return _runs.place(ends), f"{TERMS[term]}, Mixup − {METHODS[other][0]}", values

    for other in ("erm", "modified"):
        for term in ("r1_plus_r3", "r1"):
            yield from SMALLEST.test(*effect(term, other), "negative")
    yield from LARGER.test(*effect("modified", "modified"), "positive")


def rows(ends: Records) -> Iterator[tuple[str, list[Entry]]]:
    """All terms of each method, in as many digits as their sizes need."""
    for method, (name, *_) in METHODS.items():
        means = [mean for term in TERMS if (mean := ends.mean(term, method=method))]
        halves = ["" if m.half_width is None else f" ± {m.half_width:.2g}" for m in means]
        texts = [f"{m.mean:.4g}{half}" for m, half in zip(means, halves, strict=True)]
        if means:
            yield name, [Entry(text.replace("-", "−")) for text in (*texts, str(means[0].n))]


def figure(records: Records) -> Figure:
    """One panel for each term, that of R1 with a logarithmic axis."""
    drawn, axes = figures.panels(2, 2, size=(4.2, 2.6))
    for panel, term in zip(axes, DRAWN, strict=True):
        panel.set_title(TERMS[term])
        _runs.draw_courses(panel, records, term, METHODS)
        courses = [_runs.course(records.where(method=method), term) for method in METHODS]
        lowest = min(mean.mean for means in courses for mean in means.values())
        if term == "r1" and lowest > 0:
            panel.set_yscale("log")
            panel.set_ylim(bottom=lowest / 2)
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_formatter("")
    figures.legend_above(drawn, axes[0])
    return drawn
