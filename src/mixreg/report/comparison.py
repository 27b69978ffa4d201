"""Methods compared over seeds, with every correction: tables, claims, and a verdict in words."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from mixreg.evaluation import CORRECTIONS, COSTS, METRICS, Correction, MeanInterval, MetricName
from mixreg.report.charts import charts
from mixreg.report.document import Document, Entry, Table, effect_cell, entries
from mixreg.report.groups import Group, Groups, Reference, Row, RunResult
from mixreg.report.records import (
    JUDGED,
    METRIC_FORMATS,
    OPPOSITE,
    Claim,
    Expected,
    MetricFormat,
    Sentence,
    difference_text,
    judge,
    mean_text,
    metric_format,
    multiplicity,
    number,
    range_text,
)

_REFERENCES: tuple[Reference, ...] = ("baseline", "raw")

_MEANS = (
    "Mean ± half the width of its 95% confidence interval over n seeds. T is the temperature "
    "fitted to held-out examples; the rescaled prediction instead divides by θ̄, which the mixing "
    "law gives without fitting. ↑ higher is better, ↓ lower is better. NLL is the negative "
    "log-likelihood, ECE the expected calibration error in 15 equal bins, Brier the squared "
    "distance of the predicted probabilities to the one-hot label (0 to 2)."
)
_TEMPERATURE = MetricFormat("T", digits=3)
BETTER: dict[MetricName, Expected] = {
    "accuracy": "positive",
    "nll": "negative",
    "ece": "negative",
}
"""The metrics of the paper, with the side on which a difference is an improvement."""
HELPS = Sentence("Rescaling improves models trained with Mixup.", "section 5, figure 4")
HURTS = Sentence("Rescaling always makes ERM worse.", HELPS.place)
UNSURE = Sentence(
    "Mixup and label smoothing increase the entropy of the predictions.", "section 5, figure 7"
)
FEW_SEEDS = (
    "With {fewest} seeds the width of the intervals is itself uncertain; five or more are better."
)
_WORDS: dict[Correction, str] = {
    "raw": "the raw prediction",
    "rescaled": "the rescaled prediction (equation 22)",
    "shrink-only": "the inner half of equation 22 alone (shrink-only)",
    "scale-only": "the outer half of equation 22 alone (scale-only)",
    "two-views": "the mean of the rescaled and the scale-only logits (two-views)",
    "temperature": "temperature scaling",
    "rescaled+temperature": "the rescaled prediction with a fitted temperature",
}


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
        caveats=[*_caveats(groups), *_gaps(groups)],
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
    alone = len(groups.runs) == 1
    spread = "" if seeds == "1 seed" else f" ± 95% confidence interval over {seeds}"
    title = (
        f"Mean{spread}, {count} test examples. + better, − worse: the 95% interval of the paired "
        f"difference excludes 0 (none is widened for many comparisons); compared with {base}, raw."
    )
    rows = _rows(groups, lambda *row: [_performance(groups, row, name) for name in JUDGED])
    yield Table("performance", title, "", ["", *judged], rows, ["text"])
    headings = ["Prediction", *(METRIC_FORMATS[name].heading for name in METRICS), "T", "n"]
    rows = _rows(groups, lambda *row: _means(groups, row))
    yield Table("means", "Means", _MEANS, headings, rows, ["page"])
    headings = ["Prediction", *judged, "n"]
    rows = _rows(groups, lambda *row: [] if alone else _effects(groups, row, "baseline"))
    if rows:
        title = f"Differences to {base}, raw"
        note = (
            f"Paired by seed: each prediction less the raw prediction of {base}, with the 95% "
            "confidence interval of the mean difference. Bold where it excludes 0."
        )
        yield Table("differences", title, note, headings, rows, ["page"])
    if rows := _rows(groups, lambda *row: _effects(groups, row, "raw")):
        title = "Effect of each correction on the same models"
        note = (
            "Each correction less the raw prediction of the same trained models, with the 95% "
            "confidence interval of the mean difference. Bold where the interval excludes 0. "
            "Paired by seed where n counts seeds, by test example where it counts those of one "
            "model."
        )
        yield Table("effects", title, note, headings, rows, ["page"])
    if models := [group for group in groups.runs if groups.by_examples(group)]:
        resamples = groups.runs[models[0]][0].evaluation.resamples
        title = (
            f"Each correction less raw ± half the width of its 95% interval by {count} test "
            f"examples (paired bootstrap, {resamples} resamples), for this one model; unmarked: "
            "undecided."
        )
        rows = _rows(groups, lambda *row: _changes(groups, row) if row[0] in models else [])
        yield Table("changes", title, "", ["", *judged], rows, ["text"])
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
            seeds = str(effect.n)
            cells.append(effect_cell(effect, METRIC_FORMATS[metric]))
    return [*cells, Entry(seeds)] if cells else []


def _changes(groups: Groups, row: Row) -> list[Entry]:
    """What a correction changes for one model, by its test examples."""
    cells = []
    for metric in JUDGED:
        if effect := groups.effect(*row, metric, "raw"):
            form = METRIC_FORMATS[metric]
            mean, half = number(effect.mean, form, signed=True), effect.half_width or 0.0
            text = f"{mean} ± {number(half, form)}"
            cells.append(Entry(text, judge(effect, form.direction)))
    return cells


def _spreadsheet(groups: Groups) -> Table:
    """One line for each group, correction and metric, neither rounded nor scaled."""
    headings = ["method", "alpha", "correction", "metric", "n", "mean", "ci95_half_width"]
    headings += ["difference_to_raw_paired_by"]
    for reference in _REFERENCES:
        headings += [f"difference_to_{reference}", f"difference_to_{reference}_ci95_half_width"]
    rows = []
    for group, name in groups.rows:
        for metric in METRICS:
            mean = groups.mean(group, name, metric)
            effects = [groups.effect(group, name, metric, r) for r in _REFERENCES]
            values: list[object] = [group.alpha, name, metric, mean and mean.n]
            values += mean[:2] if mean else (None, None)
            values.append("example" if groups.by_examples(group) else "seed")
            for interval in effects:
                values += interval[:2] if interval else (None, None)
            rows.append((group.method, entries(values)))
    return Table("table", "Numbers", "Neither rounded nor scaled.", headings, rows, ["csv"])


def _claims(groups: Groups, title: str) -> Iterator[Claim]:
    """What the paper says of rescaling, and of entropies where ERM is the baseline."""
    for group in groups.runs:
        if groups.by_examples(group):
            continue  # one model, judged by its examples, tests no sentence about training
        method = group.method
        law = "" if group.alpha is None else f"α = {group.alpha:g}"
        setting = title if law in title else f"{title}, {law}"
        tests: list[tuple[Sentence, MetricName, str, Expected, MeanInterval | None]] = []
        if method in {"mixup", "erm"} and groups.theta_mean(group) < 1:
            for metric, better in BETTER.items():
                said, side = (HURTS, OPPOSITE[better]) if method == "erm" else (HELPS, better)
                effect = groups.gap((group, "rescaled"), (group, "raw"), metric)
                tests.append((said, metric, f"{method} rescaled − raw", side, effect))
        if method in {"mixup", "label-smoothing"} and groups.baseline.method == "erm":
            effect = groups.effect(group, "raw", "entropy", "baseline")
            tests.append((UNSURE, "entropy", f"{method} − erm", "positive", effect))
        for said, metric, what, side, effect in tests:
            if effect:
                form = METRIC_FORMATS[metric]
                measured = f"test {form.label} in {form.step}, {what}, paired by seed"
                yield Claim(said.statement, said.place, setting, measured, form.shown(effect), side)


def _findings(groups: Groups) -> Iterator[Entry]:
    """Effects of the rescaled prediction, and of training, by the 95% intervals alone."""
    for group in groups.judged:
        rescaled = f"{group.label}: rescaled prediction (equation 22) against the raw one"
        trained = f"Raw predictions: {group.label} against {groups.baseline.label}"
        for metric in BETTER if groups.theta_mean(group) < 1 else ():
            if effect := groups.effect(group, "rescaled", metric, "raw"):
                unit = "test examples" if groups.by_examples(group) else "seeds"
                yield _finding(metric, effect, rescaled, unit)
        for metric in BETTER:
            if effect := groups.effect(group, "raw", metric, "baseline"):
                yield _finding(metric, effect, trained, "seeds")


def _finding(metric: MetricName, effect: MeanInterval, heading: str, unit: str) -> Entry:
    form = METRIC_FORMATS[metric]
    step = f" {form.step}" if form.step else ""
    side = "higher" if effect.mean > 0 else "lower"
    size = f"{number(abs(effect.mean), form)}{step} {side}"
    mean = number(effect.mean, form, signed=True)
    counted = "" if unit == "seeds" else f" {unit}"
    interval = f"95% CI {range_text(effect, form)}, n = {effect.n}{counted}"
    judgement = judge(effect, form.direction)
    if effect.half_width is None:
        said = f"{size} in the one seed there is; one seed has no interval and shows no difference."
    elif effect.is_degenerate and effect.mean == 0:
        said = f"no difference in any of the {effect.n} {unit}."
    elif effect.is_degenerate:
        said = f"{size} in each of the {effect.n} {unit}; equal differences leave no interval to "
        said += "judge them by."
    elif judgement == "undecided":
        said = (
            f"no difference that these {effect.n} {unit} can show (mean {mean}{step}, {interval})."
        )
    else:
        said = f"{judgement}, {size} ({interval})."
    return Entry(f"{form.label}: {said}", judgement, heading)


def _advice(groups: Groups, group: Group) -> str:
    """The correction to use for one group by its NLL, its grounds, and what it costs."""
    choice = groups.choice(group)
    if choice is None:
        return (
            "There is one seed, and its evaluation was stored without intervals by test examples, "
            "so that nothing here is shown; `mixreg evaluate` of the run makes them."
        )
    unit = "test examples" if choice.split == "test" else "validation examples"
    counted = f" {unit}" if groups.by_examples(group) else ""
    if choice.correction == "raw":
        changes = choice.effects.items()
        texts = "; ".join(f"{name} {_interval(effect)}{counted}" for name, effect in changes)
        return (
            "Keep the raw prediction: no correction is shown to lower its NLL on the "
            f"{unit}. Changes: {texts}."
        )
    effect = _interval(choice.effects[choice.correction])
    said = f"Use {_WORDS[choice.correction]}: it lowers the NLL on the {unit} ({effect}{counted})"
    cost = COSTS[choice.correction]
    if choice.gap is None:
        said += ", and of the corrections that do, it has the lowest mean."
    else:
        dearer = ", and it asks for more" if COSTS[choice.best] > cost else ""
        said += (
            f". The mean NLL of {_WORDS[choice.best]} is lower still, which is not shown to be "
            f"more than chance ({_interval(choice.gap)}{counted}){dearer}."
        )
    tested = groups.effect(group, choice.correction, "nll", "raw")
    if choice.split == "validation" and tested:
        said += f" On the test examples, which had no part in the choice: {_interval(tested)}."
    needs = "held-out labels" if cost.held_out else "no held-out labels"
    passes = "one pass" if cost.passes == 1 else "two passes"
    return f"{said} It takes {needs} and {passes} of the network."


def _interval(nll: MeanInterval) -> str:
    return f"{difference_text(nll, METRIC_FORMATS['nll'])}, n = {nll.n}"


def _caveats(groups: Groups) -> Iterator[str]:
    """What the intervals are for and do not say."""
    references = _REFERENCES[1:] if len(groups.runs) == 1 else _REFERENCES
    effects = [groups.effect(*row, "nll", r) for row in groups.rows for r in references]
    count = len(JUDGED) * sum(e is not None and e.half_width is not None for e in effects)
    fewest = min(len(groups.values(*row, "nll")) for row in groups.rows)
    models = [group for group in groups.runs if groups.by_examples(group)]
    if count > 0:
        held = f"this page holds {count} paired 95% intervals of metrics that have a better side"
        yield multiplicity(held, count)
    if max(map(len, groups.runs.values())) > 1:
        if fewest < 5:
            yield FEW_SEEDS.format(fewest=fewest)
        yield (
            "The intervals over seeds (Student's t) are for the recipe: they describe the spread "
            "of repeated training on this data, measured on this one test set; another data set "
            "can turn out otherwise. For one of these models, `mixreg evaluate` gives intervals by "
            "its test examples."
        )
    elif len(groups.runs) > 1:
        yield (
            "There is one seed, so there are no intervals over seeds, and no difference between "
            "trainings is shown."
        )
    if models:
        about = groups.runs[models[0]][0].evaluation
        yield (
            f"The intervals by test examples (paired bootstrap, {about.resamples} resamples of "
            f"{about.count} examples, d ± 1.96 standard deviations) are for this one model on the "
            "distribution of these examples. They do not say what the same training gives with "
            "another seed: that takes intervals over seeds, `mixreg compare`. The ECE is meant as "
            "so many examples measure it, which counts chance as error."
        )
    splits = {choice.split for group in groups.judged if (choice := groups.choice(group))}
    if "test" in splits:
        yield (
            "The recommended correction is chosen on the same test examples its NLL is measured "
            "on, which makes that NLL slightly optimistic."
        )
    if "validation" in splits:
        yield (
            "The temperatures are fitted to the validation examples on which the recommended "
            "correction is chosen, which favours them slightly."
        )


def _gaps(groups: Groups) -> Iterator[str]:
    """Unpaired seeds, missing corrections, bounds."""
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
