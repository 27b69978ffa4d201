"""Methods compared over seeds, with every correction: tables, claims, and a verdict in words."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from mixreg.evaluation import CORRECTIONS, METRICS, Correction, MeanInterval, MetricName
from mixreg.report.charts import charts
from mixreg.report.document import Document, Entry, Table, entries
from mixreg.report.groups import Group, Groups, Reference, Row, RunResult
from mixreg.report.records import (
    JUDGED,
    METRIC_FORMATS,
    Claim,
    Expected,
    MetricFormat,
    judge,
    mean_text,
    metric_format,
    number,
    range_text,
)

_REFERENCES: tuple[Reference, ...] = ("baseline", "raw")

_PERFORMANCE = (
    "Mean ± 95% confidence interval over {seeds}, {count} test examples. + better, − worse: the "
    "95% interval of the paired difference excludes 0 (none is widened for many comparisons); "
    "compared with {base}, raw."
)
_MEANS = (
    "Mean ± half the width of its 95% confidence interval over n seeds. T is the temperature "
    "fitted to held-out examples; the rescaled prediction instead divides by θ̄, which the mixing "
    "law gives without fitting. ↑ higher is better, ↓ lower is better. NLL is the negative "
    "log-likelihood, ECE the expected calibration error in 15 equal bins, Brier the squared "
    "distance of the predicted probabilities to the one-hot label (0 to 2)."
)
_DIFFERENCES = (
    "Paired by seed: each prediction less the raw prediction of {base}, with the 95% confidence "
    "interval of the mean difference. Bold where it excludes 0."
)
_EFFECTS = (
    "Paired by seed: each correction less the raw prediction of the same trained models, with the "
    "95% confidence interval of the mean difference. Bold where the interval excludes 0."
)
_TEMPERATURE = MetricFormat("T", digits=3)
_SPOKEN: dict[MetricName, tuple[Expected, Expected]] = {
    "accuracy": ("positive", "negative"),
    "nll": ("negative", "positive"),
    "ece": ("negative", "positive"),
}
"""The metrics of Figure 4 with the side of an improvement, and of the opposite."""
_RESCALING = {
    "mixup": "Rescaling improves models trained with Mixup.",
    "erm": "Rescaling always makes ERM worse.",
}
_ENTROPY = "Mixup and label smoothing increase the entropy of the predictions."
_MULTIPLICITY = (
    "Many comparisons: this page holds {count} paired 95% intervals of metrics that have a better "
    "side. If nothing differed at all, about {by_chance} of them would still exclude 0; none is "
    "widened for that."
)
_SPREAD = (
    "The intervals (Student's t over seeds) describe the spread of repeated training on this "
    "data, measured on this one test set; another data set can turn out otherwise."
)
_CHOICE = (
    "The recommended correction is chosen on the same test examples its NLL is measured on, "
    "which makes that NLL slightly optimistic."
)
_ONE_SEED = "There is one seed, so there are no intervals and nothing here is shown."
_FEW_SEEDS = (
    "With {fewest} seeds the width of the intervals is itself uncertain; five or more are better."
)
_CHOICES: dict[Correction, tuple[str, int]] = {
    "raw": ("the raw prediction", 0),
    "rescaled": ("the rescaled prediction (equation 22)", 1),
    "scale-only": ("the outer half of equation 22 alone (scale-only)", 1),
    "shrink-only": ("the inner half of equation 22 alone (shrink-only)", 1),
    "two-views": ("the mean of the rescaled and the scale-only logits (two-views)", 2),
    "temperature": ("temperature scaling", 3),
    "rescaled+temperature": ("the rescaled prediction with a fitted temperature", 4),
}
"""The corrections to choose from, those that are preferred first, each with what it asks for."""


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
    pictures, frames = charts(groups)
    ordered = groups.all_runs
    return Document(
        title,
        _subtitle(groups),
        findings=list(_findings(groups)),
        advice=[f"{group.label}. {_advice(groups, group)}" for group in groups.judged],
        caveats=list(_caveats(groups)),
        tables=list(_tables(groups)),
        pictures=pictures,
        frames=frames,
        claims=list(_claims(groups, title)),
        missing=list(missing),
        settings=[
            {"method": run.method, "alpha": run.alpha, "seed": run.seed} | dict(run.config)
            for run in ordered
        ],
        environment=[run.environment for run in ordered],
        records=[record for run in ordered for record in run.records(title)],
        numbers={"baseline": groups.baseline.label, "runs": [_numbers(run) for run in ordered]},
    )


def _numbers(run: RunResult) -> dict[str, object]:
    """What the records leave out of a run: bins, histograms, history."""
    plain: dict[str, object] = msgspec.to_builtins(run)
    return {name: v for name, v in plain.items() if name not in {"config", "environment"}}


def _subtitle(groups: Groups) -> str:
    methods = ", ".join(group.label for group in groups.runs)
    seeds = sorted({run.seed for run in groups.all_runs})
    first = groups.all_runs[0].evaluation
    return (
        f"{methods}; {len(seeds)} seed{'s' if len(seeds) > 1 else ''} "
        f"({', '.join(map(str, seeds))}); {first.count} test examples, {first.num_classes} classes"
    )


def _tables(groups: Groups) -> Iterator[Table]:
    base, count = groups.baseline.label, groups.all_runs[0].evaluation.count
    judged = [METRIC_FORMATS[name].heading for name in JUDGED]
    counts = dict.fromkeys(str(len(groups.values(*row, "nll"))) for row in groups.rows)
    seeds = "1 seed" if list(counts) == ["1"] else f"{' or '.join(counts)} seeds"
    title = _PERFORMANCE.format(seeds=seeds, count=count, base=base)
    rows = _rows(groups, lambda *row: [_performance(groups, row, name) for name in JUDGED])
    yield Table("performance", title, "", ["", *judged], rows, ["text"])
    headings = ["Prediction", *(METRIC_FORMATS[name].heading for name in METRICS), "T", "n"]
    rows = _rows(groups, lambda *row: _means(groups, row))
    yield Table("means", "Means", _MEANS, headings, rows, ["page"])
    headings = ["Prediction", *judged, "n"]
    if rows := _rows(groups, lambda *row: _effects(groups, row, "baseline")):
        title, note = f"Differences to {base}, raw", _DIFFERENCES.format(base=base)
        yield Table("differences", title, note, headings, rows, ["page"])
    if rows := _rows(groups, lambda *row: _effects(groups, row, "raw")):
        title = "Effect of each correction on the same models"
        yield Table("effects", title, _EFFECTS, headings, rows, ["page"])
    yield _spreadsheet(groups)


def _rows(
    groups: Groups, cells: Callable[[Group, Correction], list[Entry]]
) -> list[tuple[str, list[Entry]]]:
    """The corrections that have cells, below the heading of their group."""
    rows: list[tuple[str, list[Entry]]] = []
    for group in groups.runs:
        filled = [(name, row) for name in groups.corrections(group) if (row := cells(group, name))]
        if filled:
            rows += [(f"{group.label}, θ̄ = {groups.theta_mean(group):.4g}", []), *filled]
    return rows


def _performance(groups: Groups, row: Row, metric: MetricName) -> Entry:
    form, mean = METRIC_FORMATS[metric], groups.mean(*row, metric)
    effect = groups.effect(*row, metric, "baseline")
    text = mean_text(mean, form) if mean else ""
    return Entry(text, judge(effect, form.direction)) if effect else Entry(text)


def _means(groups: Groups, row: Row) -> list[Entry]:
    cells = []
    for metric in (*METRICS, "temperature"):
        mean = groups.mean(*row, metric)
        form = _TEMPERATURE if metric == "temperature" else metric_format(metric)
        text, _, half = mean_text(mean, form).partition(" ") if mean else ("", "", "")
        cells.append(Entry(text, beside=half))
    return [*cells, Entry(str(len(groups.values(*row, "nll"))))]


def _effects(groups: Groups, row: Row, reference: Reference) -> list[Entry]:
    cells, seeds = [], ""
    for metric in JUDGED:
        if effect := groups.effect(*row, metric, reference):
            form, seeds = METRIC_FORMATS[metric], str(effect.n)
            mean, interval = number(effect.mean, form, signed=True), range_text(effect, form)
            cells.append(Entry(mean, judge(effect, form.direction), f"({interval})"))
    return [*cells, Entry(seeds)] if cells else []


def _spreadsheet(groups: Groups) -> Table:
    """One line for each group, correction and metric, neither rounded nor scaled."""
    headings = ["method", "alpha", "correction", "metric", "n", "mean", "ci95_half_width"]
    for reference in _REFERENCES:
        headings += [f"difference_to_{reference}", f"difference_to_{reference}_ci95_half_width"]
    rows = []
    for group, name in groups.rows:
        for metric in METRICS:
            mean = groups.mean(group, name, metric)
            effects = [groups.effect(group, name, metric, r) for r in _REFERENCES]
            values: list[object] = [group.alpha, name, metric, mean and mean.n]
            for interval in (mean, *effects):
                values += interval[:2] if interval else (None, None)
            rows.append((group.method, entries(values)))
    return Table("table", "Numbers", "Neither rounded nor scaled.", headings, rows, ["csv"])


def _claims(groups: Groups, title: str) -> Iterator[Claim]:
    """What the paper says of rescaling, and of entropies where ERM is the baseline."""
    for group in groups.runs:
        method = group.method
        law = "" if group.alpha is None else f"α = {group.alpha:g}"
        setting = title if law in title else f"{title}, {law}"
        tests: list[tuple[str, int, MetricName, str, Expected, MeanInterval | None]] = []
        if method in _RESCALING and groups.theta_mean(group) < 1:
            what = f"{method} rescaled − raw"
            for metric, sides in _SPOKEN.items():
                effect = groups.effect(group, "rescaled", metric, "raw")
                tests.append((_RESCALING[method], 4, metric, what, sides[method == "erm"], effect))
        if method in {"mixup", "label-smoothing"} and groups.baseline.method == "erm":
            effect = groups.effect(group, "raw", "entropy", "baseline")
            tests.append((_ENTROPY, 7, "entropy", f"{method} − erm", "positive", effect))
        for statement, figure, metric, what, side, effect in tests:
            if effect:
                form, (mean, half, n) = METRIC_FORMATS[metric], effect
                half = None if half is None else form.factor * half
                scaled = MeanInterval(form.factor * mean, half, n)
                measured = f"test {form.label} in {form.step}, {what}, paired by seed"
                place = f"section 5, figure {figure}"
                yield Claim(statement, place, setting, measured, scaled, side)


def _findings(groups: Groups) -> Iterator[Entry]:
    """Effects of the rescaled prediction, and of training, by the 95% intervals alone."""
    for group in groups.judged:
        rescaled = f"{group.label}: rescaled prediction (equation 22) against the raw one"
        trained = f"Raw predictions: {group.label} against {groups.baseline.label}"
        for metric in _SPOKEN if groups.theta_mean(group) < 1 else ():
            if effect := groups.effect(group, "rescaled", metric, "raw"):
                yield _finding(metric, effect, rescaled)
        for metric in _SPOKEN:
            if effect := groups.effect(group, "raw", metric, "baseline"):
                yield _finding(metric, effect, trained)


def _finding(metric: MetricName, effect: MeanInterval, heading: str) -> Entry:
    form = METRIC_FORMATS[metric]
    step = f" {form.step}" if form.step else ""
    side = "higher" if effect.mean > 0 else "lower"
    size = f"{number(abs(effect.mean), form)}{step} {side}"
    mean = number(effect.mean, form, signed=True)
    interval = f"95% CI {range_text(effect, form)}, n = {effect.n}"
    judgement = judge(effect, form.direction)
    if effect.half_width is None:
        said = f"{size} in the one seed there is; one seed has no interval and shows no difference."
    elif effect.is_degenerate and effect.mean == 0:
        said = f"no difference in any of the {effect.n} seeds."
    elif effect.is_degenerate:
        said = f"{size} in each of the {effect.n} seeds; equal differences leave no interval to "
        said += "judge them by."
    elif judgement == "undecided":
        said = (
            f"no difference that these {effect.n} seeds can show (mean {mean}{step}, {interval})."
        )
    else:
        said = f"{judgement}, {size} ({interval})."
    return Entry(f"{form.label}: {said}", judgement, heading)


def _advice(groups: Groups, group: Group) -> str:
    """The correction to use for one group by its NLL, and its grounds."""
    # Of the corrections whose NLL is below that of the raw prediction by all of the interval, the
    # one with the lowest mean, or a preferred one that is not shown to be worse than that.
    names = [name for name in _CHOICES if name in groups.corrections(group)]
    means = {name: mean for name in names if (mean := groups.mean(group, name, "nll"))}
    if max(mean.n for mean in means.values()) < 2:
        lowest = min(means, key=lambda name: means[name].mean)
        return (
            f"One seed cannot decide. The lowest NLL in it is that of {_CHOICES[lowest][0]}; "
            "run at least three seeds before choosing."
        )
    changes = {n: e for n in names if (e := groups.effect(group, n, "nll", "raw"))}
    lower = [name for name, effect in changes.items() if effect.sign < 0]
    if not lower:
        texts = "; ".join(f"{name} {_interval(effect)}" for name, effect in changes.items())
        return (
            f"Keep the raw prediction: no correction is shown to lower its NLL. Changes: {texts}."
        )

    def gap(first: Correction, second: Correction) -> MeanInterval:
        difference = groups.gap((group, first), (group, second), "nll")
        assert difference is not None  # both share seeds with the raw prediction
        return difference

    best = min(lower, key=lambda name: means[name].mean)
    chosen = next(name for name in lower if name == best or gap(name, best).sign <= 0)
    said = f"Use {_CHOICES[chosen][0]}: it lowers the NLL ({_interval(changes[chosen])})"
    if chosen == best:
        return f"{said}, and of the corrections that do, it has the lowest mean."
    dearer = ", and it asks for more" if _CHOICES[best][1] > _CHOICES[chosen][1] else ""
    return (
        f"{said}. The mean NLL of {_CHOICES[best][0]} is lower still, which these seeds do not "
        f"show to be more than chance ({_interval(gap(best, chosen))}){dearer}."
    )


def _interval(nll: MeanInterval) -> str:
    form = METRIC_FORMATS["nll"]
    mean, interval = number(nll.mean, form, signed=True), range_text(nll, form)
    return f"{mean} nats, 95% CI {interval}, n = {nll.n}"


def _caveats(groups: Groups) -> Iterator[str]:
    """What the intervals do not say, unpaired seeds, missing corrections, bounds."""
    effects = [groups.effect(*row, "nll", r) for row in groups.rows for r in _REFERENCES]
    count = len(JUDGED) * sum(e is not None and e.half_width is not None for e in effects)
    fewest = min(len(groups.values(*row, "nll")) for row in groups.rows)
    if count == 0:
        yield _ONE_SEED
    else:
        yield _MULTIPLICITY.format(count=count, by_chance=max(1, round(count / 20)))
        if fewest < 5:
            yield _FEW_SEEDS.format(fewest=fewest)
        yield from (_SPREAD, _CHOICE)
    expected = groups.seeds(groups.baseline)
    for group in groups.runs:
        if (seeds := groups.seeds(group)) != expected:
            yield (
                f"{group.label} has the seeds {seeds} and the baseline {expected}; differences "
                "are taken over those that both have."
            )
    for group, runs in groups.runs.items():
        for name in CORRECTIONS:
            absent = [run.evaluation.absent.get(name) for run in runs]
            for reason in dict.fromkeys(filter(None, absent)):
                yield (
                    f"{group.label}, {name}: absent in {absent.count(reason)} of {len(runs)} runs, "
                    f"since it {reason}."
                )
            bounds = [result.remark for result in groups.results(group, name).values()]
            for reason in dict.fromkeys(filter(None, bounds)):
                yield (
                    f"{group.label}, {name}: in {bounds.count(reason)} of {len(runs)} runs "
                    f"{reason}; there the temperature is a bound, not a minimum."
                )
