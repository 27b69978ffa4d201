"""What becomes of Mixup without a part of its perturbations (section 5)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mixreg.experiments import _runs
from mixreg.experiments._runs import DIGITS, LENET, Setting
from mixreg.report import Claim, Document, Records, Sentence, paired, table
from mixreg.report.records import JUDGED, METRIC_FORMATS
from mixreg.settings import ReproduceOptions

PRESETS = {
    "paper": LENET["paper"],
    "cpu": Setting(data="digits", model="mlp", seeds=10, costly_seeds=10),
    "smoke": DIGITS,
}

METHODS = {
    "mixup": "Mixup",
    "inputs-only": "inputs only",
    "labels-only": "labels only",
    "independent": "inputs and labels independently",
    "gaussian": "Gaussian, same covariance",
    "erm": "ERM",
}
WORSE = {
    "inputs-only": Sentence("Mixup on inputs only performs worse than Mixup.", "section 5"),
    "independent": Sentence(
        "Independent Mixup of inputs and labels performs worse than Mixup.", "section 5"
    ),
}


runs = partial(_runs.at_one_alpha, PRESETS, tuple(METHODS))
plan = partial(_runs.plan, runs)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, evaluate, and write the table."""
    made, evaluated = _runs.evaluated(options, runs(options))
    records = Records(record for item in evaluated for record in item.records())
    return _runs.write(options, document(records, made))


def document(records: Records, made: _runs.Made) -> Document:
    """The raw prediction of every method against that of Mixup."""
    raw = records.where(prediction="raw")
    return _runs.figure_document(
        made,
        "Section 5: parts of Mixup",
        records=records,
        claims=claims(raw),
        tables=[
            table(
                "ablation",
                "Test performance of the raw prediction",
                f"{_runs.MEANS}; better or worse than Mixup where the 95% confidence interval of "
                "the difference, paired by seed, excludes 0.",
                ["perturbation of", *(METRIC_FORMATS[metric].heading for metric in JUDGED), "n"],
                JUDGED,
                _runs.rows(raw, METHODS, raw.where(method="mixup")),
            )
        ],
    )


def claims(raw: Records) -> Iterator[Claim]:
    """Less than the whole of Mixup does worse."""
    for method, said in WORSE.items():
        for metric, better in _runs.BETTER.items():
            effect = paired(*(raw.by_seed(metric, method=m) for m in ("mixup", method)))
            measured = _runs.difference(metric, f"Mixup − {METHODS[method]}")
            yield from said.test(_runs.place(raw), measured, effect, better)
