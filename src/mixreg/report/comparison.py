"""Methods compared over seeds, with every correction, as a document."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from mixreg.evaluation import METRICS, Correction, MeanInterval, MetricName
from mixreg.report.charts import charts
from mixreg.report.claims import Claim, Expected
from mixreg.report.document import Document
from mixreg.report.groups import Group, Groups, Reference, RunResult
from mixreg.report.numbers import (
    JUDGED,
    METRIC_FORMATS,
    MetricFormat,
    judge,
    mean_text,
    number,
    range_text,
)
from mixreg.report.records import Record, records_of
from mixreg.report.tables import Entry, Table
from mixreg.report.verdict import advice, caveats, findings

_METRICS = (
    "↑ higher is better, ↓ lower is better. NLL is the negative log-likelihood, ECE the expected "
    "calibration error in 15 equal bins, Brier the squared distance of the predicted "
    "probabilities to the one-hot label (0 to 2)."
)
_TEMPERATURE = MetricFormat("T", 0, 1, 3, "", "")
_RESCALING = {
    "mixup": "Rescaling improves models trained with Mixup.",
    "erm": "Rescaling always makes ERM worse.",
}
_ENTROPY = "Mixup and label smoothing increase the entropy of the predictions."
_SIDES: dict[MetricName, tuple[Expected, Expected]] = {
    "accuracy": ("positive", "negative"),
    "nll": ("negative", "positive"),
    "ece": ("negative", "positive"),
}
"""The side of an improvement, and of the opposite, in the metrics of Figure 4."""

_Row = tuple[Group, Correction]


def comparison(
    runs: Sequence[RunResult], *, title: str, baseline: str, missing: Sequence[str] = ()
) -> Document:
    """A comparison of methods over seeds, every correction included.

    Args:
        runs: trained models, evaluated on one test set.
        title: heading, such as data set and model.
        baseline: method whose raw prediction the others are compared with.
        missing: runs that should be there and are not.

    Returns:
        The document, the same for the same runs in any order within a group.

    Raises:
        ValueError: no runs, two of the same method, α and seed, other test sets, or a baseline
            that is none of the methods or stands for several α.
    """
    groups = Groups(runs, baseline)
    ordered = groups.all_runs
    pictures, frames = charts(groups)
    return Document(
        title,
        _subtitle(groups),
        findings=list(findings(groups)),
        advice=list(advice(groups)),
        caveats=list(caveats(groups)),
        tables=list(_tables(groups)),
        pictures=pictures,
        frames=frames,
        claims=list(_claims(groups, title)),
        settings=[
            {"method": run.method, "alpha": run.alpha, "seed": run.seed} | dict(run.config)
            for run in ordered
        ],
        environment=[run.environment for run in ordered],
        missing=list(missing),
        records=[record for run in ordered for record in _records(run, title)],
        numbers={"baseline": groups.baseline.label, "runs": [_numbers(run) for run in ordered]},
    )


def _records(run: RunResult, setting: str) -> Sequence[Record]:
    return records_of(
        run.evaluation, setting=setting, method=run.method, alpha=run.alpha, seed=run.seed
    )


def _numbers(run: RunResult) -> dict[str, object]:
    """What the records leave out of a run: bins, histograms, history."""
    plain: dict[str, object] = msgspec.to_builtins(run)
    return {name: v for name, v in plain.items() if name not in {"config", "environment"}}


def _subtitle(groups: Groups) -> str:
    runs = groups.all_runs
    methods = ", ".join(group.label for group in groups.runs)
    seeds = sorted({run.seed for run in runs})
    listed, first = ", ".join(map(str, seeds)), runs[0].evaluation
    return (
        f"{methods}; {len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({listed}); "
        f"{first.count} test examples, {first.num_classes} classes"
    )


def _tables(groups: Groups) -> Iterator[Table]:
    base = groups.baseline.label
    judged = ["Prediction", *(METRIC_FORMATS[name].heading for name in JUDGED)]
    counts = dict.fromkeys(str(len(groups.values(*row, "nll"))) for row in groups.rows())
    seeds = "1 seed" if list(counts) == ["1"] else f"{' or '.join(counts)} seeds"
    yield Table(
        "performance",
        f"Mean ± 95% confidence interval over {seeds}, {groups.all_runs[0].evaluation.count} test "
        "examples. + better, − worse: the 95% interval of the paired difference excludes 0 (none "
        f"is widened for many comparisons); compared with {base}, raw.",
        "",
        ["", *judged[1:]],
        _rows(groups, lambda *row: [_performance(groups, row, name) for name in JUDGED]),
        ["text"],
    )
    yield Table(
        "means",
        "Means",
        "Mean ± half the width of its 95% confidence interval over n seeds. T is the "
        "temperature fitted to held-out examples; the rescaled prediction instead divides by "
        f"θ̄, which the mixing law gives without fitting. {_METRICS}",
        ["Prediction", *(METRIC_FORMATS[name].heading for name in METRICS), "T", "n"],
        _rows(groups, lambda *row: _means(groups, row)),
        ["page"],
    )
    if differences := _rows(groups, lambda *row: _effects(groups, row, "baseline")):
        yield Table(
            "differences",
            f"Differences to {base}, raw",
            f"Paired by seed: each prediction less the raw prediction of {base}, with the 95% "
            "confidence interval of the mean difference. Bold where it excludes 0.",
            [*judged, "n"],
            differences,
            ["page"],
        )
    if corrections := _rows(groups, lambda *row: _effects(groups, row, "raw")):
        yield Table(
            "effects",
            "Effect of each correction on the same models",
            "Paired by seed: each correction less the raw prediction of the same trained models, "
            "with the 95% confidence interval of the mean difference. Bold where the interval "
            "excludes 0.",
            [*judged, "n"],
            corrections,
            ["page"],
        )
    yield _spreadsheet(groups)


def _rows(
    groups: Groups, cells: Callable[[Group, Correction], list[Entry]]
) -> list[tuple[str, list[Entry]]]:
    """The corrections that have cells, below the heading of their group."""
    rows: list[tuple[str, list[Entry]]] = []
    for group in groups.runs:
        named = [(name, cells(group, name)) for name in groups.corrections(group)]
        filled = [row for row in named if row[1]]
        if filled:
            rows += [(f"{group.label}, θ̄ = {groups.theta_mean(group):.4g}", []), *filled]
    return rows


def _performance(groups: Groups, row: _Row, metric: MetricName) -> Entry:
    form, mean = METRIC_FORMATS[metric], groups.mean(*row, metric)
    effect = groups.effect(*row, metric, "baseline")
    text = "" if mean is None else mean_text(mean, form)
    return Entry(text) if effect is None else Entry(text, judge(effect, form.direction))


def _means(groups: Groups, row: _Row) -> list[Entry]:
    cells = [_mean(groups.mean(*row, metric), METRIC_FORMATS[metric]) for metric in METRICS]
    temperature = _mean(groups.mean(*row, "temperature"), _TEMPERATURE)
    return [*cells, temperature, Entry(str(len(groups.values(*row, "nll"))))]


def _mean(mean: MeanInterval | None, form: MetricFormat) -> Entry:
    if mean is None:
        return Entry("")
    half = "" if mean.half_width is None else f"± {number(mean.half_width, form)}"
    return Entry(number(mean.mean, form), beside=half)


def _effects(groups: Groups, row: _Row, reference: Reference) -> list[Entry]:
    found = {metric: groups.effect(*row, metric, reference) for metric in JUDGED}
    cells = [
        Entry(
            number(effect.mean, form := METRIC_FORMATS[metric], signed=True),
            judge(effect, form.direction),
            f"({range_text(effect, form)})",
        )
        for metric, effect in found.items()
        if effect is not None
    ]
    counts = [str(effect.n) for effect in found.values() if effect is not None]
    return [*cells, Entry(counts[0])] if counts else []


def _spreadsheet(groups: Groups) -> Table:
    """One line for each group, correction and metric, neither rounded nor scaled."""
    headings = ["method", "alpha", "correction", "metric", "n", "mean", "ci95_half_width"]
    references: tuple[Reference, ...] = ("baseline", "raw")
    for reference in references:
        headings += [f"difference_to_{reference}", f"difference_to_{reference}_ci95_half_width"]
    rows = []
    for group, name in groups.rows():
        for metric in METRICS:
            means = [groups.effect(group, name, metric, reference) for reference in references]
            mean = groups.mean(group, name, metric)
            values: list[object] = [group.alpha, name, metric, mean and mean.n]
            for interval in (mean, *means):
                values += (None, None) if interval is None else interval[:2]
            rows.append((group.method, [Entry("" if v is None else str(v)) for v in values]))
    return Table("table", "Numbers", "Neither rounded nor scaled.", headings, rows, ["csv"])


def _claims(groups: Groups, title: str) -> Iterator[Claim]:
    """What the paper says of rescaling, and of entropies where ERM is the baseline."""
    for group in groups.runs:
        law = "" if group.alpha is None else f"α = {group.alpha:g}"
        setting = title if law in title else f"{title}, {law}"
        if group.method in _RESCALING and groups.theta_mean(group) < 1:
            for metric, sides in _SIDES.items():
                effect = groups.effect(group, "rescaled", metric, "raw")
                form = METRIC_FORMATS[metric]
                told = f"test {form.label} in {form.step}, {group.method} rescaled − raw"
                statement, side = _RESCALING[group.method], sides[group.method == "erm"]
                yield from _claim(statement, 4, setting, told, effect, form.factor, side)
        if group.method in {"mixup", "label-smoothing"} and groups.baseline.method == "erm":
            effect = groups.effect(group, "raw", "entropy", "baseline")
            told = f"test Entropy in nats, {group.method} − erm"
            yield from _claim(_ENTROPY, 7, setting, told, effect, 1, "positive")


def _claim(
    statement: str,
    figure: int,
    setting: str,
    measured: str,
    effect: MeanInterval | None,
    factor: float,
    expected: Expected,
) -> Iterator[Claim]:
    if effect is not None:
        mean, half, n = effect
        shown = MeanInterval(factor * mean, None if half is None else factor * half, n)
        place, told = f"section 5, figure {figure}", f"{measured}, paired by seed"
        yield Claim(statement, place, setting, told, shown, expected)
