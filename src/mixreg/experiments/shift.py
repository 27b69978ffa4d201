"""The rescaling under shift: powers matched to mixes, judged against what else there is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._stored import Kept
from mixreg.calibration import search_temperature
from mixreg.data.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, FAMILIES
from mixreg.evaluation import MetricName, mean_interval, metrics
from mixreg.experiments import _runs, fig5
from mixreg.experiments._runs import Setting
from mixreg.experiments._shifted import Scores, View, logits, shrunk_by
from mixreg.experiments.evaluate import digest_of
from mixreg.experiments.evaluate_shift import METRICS
from mixreg.experiments.fig5 import Shift, Shifted, severities
from mixreg.laws import Constant
from mixreg.matching import PowerMatching
from mixreg.prediction import shrink, unshrink
from mixreg.report import Claim, Document, Entry, Records, Sentence, Table, paired
from mixreg.report.document import effect_cell
from mixreg.report.records import METRIC_FORMATS, judge, mean_over_seeds, number, range_text
from mixreg.settings import ReproduceOptions
from mixreg.statistics import TrainingStatistics
from mixreg.training import RunDirectory, TrainConfig, TrainedClassifier, load_run

JUDGED = CORRUPTIONS[:15]
"""The fifteen kinds that the rule was not chosen on."""

CHOSEN_ON = f"the four kinds that the rule was chosen on ({', '.join(EXTRA_CORRUPTIONS)})"
FROZEN = (
    "The rule was fixed before the fifteen kinds were looked at. The tables are of these alone, "
    f"but for the rows of {CHOSEN_ON}."
)
ARMS = {  # name: method, prediction
    "ERM": ("erm", "raw"),
    "ERM + temperature": ("erm", "temperature"),
    "ERM, input filtered": ("erm", "matched"),
    "ERM, input filtered + temperature": ("erm", "matched+temperature"),
    "Mixup": ("mixup", "raw"),
    "Mixup rescaled (22)": ("mixup", "rescaled"),
    "Mixup, outputs only": ("mixup", "scale-only"),
    "Mixup, two views": ("mixup", "two-views"),
    "Mixup + temperature": ("mixup", "temperature"),
    "Mixup rescaled + temperature": ("mixup", "rescaled+temperature"),
    "Mixup matched": ("mixup", "matched"),
    "Mixup matched + temperature": ("mixup", "matched+temperature"),
}
MATCHED = ("matched", "matched+temperature")

PLACE = "docs/theory/shift.md"
BETTER = {
    "matched": Sentence(
        "With matched powers the rescaled prediction is better than the better of raw and "
        "rescaled.",
        PLACE,
    ),
    "matched+temperature": Sentence(
        "With matched powers and a temperature fitted on clean data the rescaled prediction is "
        "better than the better of raw and rescaled.",
        PLACE,
    ),
}

runs, plan = fig5.runs, fig5.plan


@dataclass(frozen=True)
class Weights:
    """The mean of E[θ | P] over some clean held-out images, and the temperature of raw logits."""

    likely: float
    temperature: float


@dataclass(frozen=True)
class Judged(Shift):
    """All that is measured of a run: its sets, and held-out images in quarters by E[θ | P]."""

    quarters: list[Weights]


KEPT = Kept("matched.json", Judged)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, predict every set in every way, and write the comparison."""
    made = _runs.make(options, runs(options), partial(measure, options))
    return _runs.write(options, document([KEPT.read(run.directory) for run in made.runs], made))


def measure(options: ReproduceOptions, run: RunDirectory, config: TrainConfig) -> None:
    """Judge a run on every set, from logits that the run keeps."""
    trained = load_run(run.path, {"data_root": config.data_root})
    classifier = digest_of(trained)
    made_of, sets = fig5.test_sets(options, trained, (classifier, sorted(ARMS)))
    if (kept := KEPT.find(run.path)) and kept.made_of == made_of:
        return
    views, corrected, quarters = prepared(trained)
    scores = []
    for test in sets:
        predicted = corrected(logits(trained.net, classifier, test, views, run.path / "shifted"))
        measured = {name: metrics(z, test.labels) for name, z in predicted.items()}
        scores.append(Scores.of(test, measured))
    KEPT.write(run.path, Judged(made_of, scores, quarters))


def prepared(
    trained: TrainedClassifier,
) -> tuple[dict[str, View], Callable[[Mapping[str, Tensor]], dict[str, Tensor]], list[Weights]]:
    """Views of the inputs, how predictions follow from them, and E[θ | P] on held-out images."""
    mixes, shown = trained.config.method == "mixup", shrunk_by(trained.config.alpha)
    law = trained.law if mixes else Constant(1.0)
    batches = trained.data.train_batches(500, seed=trained.config.seed, epoch=0)
    stats = TrainingStatistics.from_loader(
        batches, trained.data.num_classes, second_moments="spectral", progress=False
    )
    matching = PowerMatching(stats, law)
    shrunk = partial(shrink, x_mean=trained.stats.x_mean, law=law)
    back = partial(unshrink, y_mean=trained.class_means, law=law)
    views: dict[str, View] = {"raw": lambda x: x, "matched": lambda x: matching(shrunk(x))}
    if mixes:
        views[shown] = shrunk

    def untempered(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        raw, own = kept["raw"].double(), {}
        if mixes:
            small = kept[shown].double()
            own = {"rescaled": back(small), "scale-only": back(raw)}
            own["two-views"] = back((raw + small) / 2)
        return {"raw": raw, **own, "matched": back(kept["matched"].double())}

    held_out = list(trained.data.batches("validation", 500))
    labels = torch.cat([y for _, y in held_out])
    with torch.inference_mode():
        clean = untempered(
            {k: torch.cat([trained.net(view(x)) for x, _ in held_out]) for k, view in views.items()}
        )
    fitted = {
        name: search_temperature(clean[name], labels).temperature
        for name in ("raw", "rescaled", "matched")
        if name in clean
    }

    def corrected(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        plain = untempered(kept)
        tempered = {
            f"{name}+temperature".removeprefix("raw+"): plain[name] / temperature
            for name, temperature in fitted.items()
        }
        return plain | tempered

    power, quarters = stats.second_moments, []
    if mixes and power is not None:
        bands = power.bands(stats.x_mean.shape)
        logs = [bands.log_power(bands.coordinates(x.double() - stats.x_mean)) for x, _ in held_out]
        likely = power.likely_weight(torch.cat(logs), law)
        for rows in (*likely.argsort().tensor_split(4), torch.arange(len(likely))):
            temperature = search_temperature(clean["raw"][rows], labels[rows]).temperature
            quarters.append(Weights(float(likely[rows].mean()), temperature))
    return views, corrected, quarters


def document(judged: Sequence[Judged], made: _runs.Made) -> Document:
    """A table of all predictions and one of the goal, for each setting and α."""
    pairs = list(zip(made.runs, judged, strict=True))
    items = [Shifted(run, run.alpha, of.scores) for run, of in pairs]
    drawn = list(fig5.by_alpha(items, made))
    quarters = {run.directory: of.quarters for run, of in pairs}
    tables = [
        table
        for setting, alpha, own in drawn
        for table in (
            everything(setting, alpha, own),
            goal(setting, alpha, own),
            weights(setting, alpha, [quarters[item.run.directory] for item in own]),
        )
    ]
    return _runs.figure_document(
        made,
        "Shifted inputs: powers matched to those of mixes",
        records=Records(
            record
            for item in items
            for severity in severities([item])
            for record in item.means(severity, JUDGED)
        ),
        claims=[claim for part in drawn for claim in claims(*part)],
        answers=[entry for part in drawn for entry in counts(*part)],
        caveats=[FROZEN, *fig5.sources(items, made)],
        tables=[table for table in tables if table.rows],
    )


class Cell(NamedTuple):
    """One family, severity and metric: which of raw and rescaled is better, what matching adds."""

    family: str
    severity: int
    metric: MetricName
    better: str
    effects: dict[str, dict[int, float]]


def cells(alpha: float, own: Sequence[Shifted]) -> Iterator[Cell]:
    """Differences of the matched predictions to the better of raw and rescaled, by seed."""
    bad = [severity for severity in severities(own) if severity]
    families = {**FAMILIES, "chosen on": EXTRA_CORRUPTIONS}
    places = [("clean", 0, JUDGED), *((f, s, kinds) for f, kinds in families.items() for s in bad)]
    for family, severity, kinds in places:
        records = Records(r for item in own for r in item.means(severity, kinds))
        records = records.where(method="mixup", alpha=alpha)
        for metric in METRICS if records else ():
            side = METRIC_FORMATS[metric].direction
            values = {p: records.by_seed(metric, prediction=p) for p in ("raw", "rescaled")}
            better = max(values, key=lambda p: side * sum(values[p].values()))
            effects = {
                p: paired(records.by_seed(metric, prediction=p), values[better]) for p in MATCHED
            }
            yield Cell(family, severity, metric, better, effects)


def claims(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Iterator[Claim]:
    """The goal on each judged family, mean over the severities."""
    judged = list(cells(alpha, own))
    for prediction, sentence in BETTER.items():
        for family in FAMILIES:
            for metric, expected in _runs.BETTER.items():
                effects = [
                    cell.effects[prediction]
                    for cell in judged
                    if (cell.family, cell.metric) == (family, metric)
                ]
                by_seed = {
                    seed: sum(effect[seed] for effect in effects) / len(effects)
                    for seed in (effects[0] if effects else ())
                }
                place = f"{setting.label}, α = {alpha:g}, {family}"
                compared = f"Mixup {prediction} − the better one at each severity"
                measured = _runs.difference(metric, compared)
                yield from sentence.test(place, measured, by_seed, expected)


def counts(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Iterator[Entry]:
    """In how many of all families, severities and metrics the goal was missed."""
    judged = [cell for cell in cells(alpha, own) if cell.family in FAMILIES]
    for prediction in BETTER if judged else ():
        verdicts, missed = [], []
        for cell in judged:
            form = METRIC_FORMATS[cell.metric]
            mean = mean_over_seeds(cell.effects[prediction])
            verdict = judge(mean, form.direction) if mean else "undecided"
            verdicts.append(verdict)
            if verdict == "worse":
                missed.append(f"{cell.family} {cell.severity} ({form.label})")
        text = (
            f"{setting.label}, α = {alpha:g}: {prediction} is better than the better of raw and "
            f"rescaled in {verdicts.count('better')} of {len(verdicts)} families, severities and "
            f"metrics, and worse in {len(missed)}"
        )
        yield Entry(f"{text}: {', '.join(missed)}." if missed else f"{text}.")


def goal(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Table:
    """The matched predictions less the better of raw and rescaled, by family and severity."""
    rows = []
    for cell in sorted(cells(alpha, own), key=lambda cell: METRICS.index(cell.metric)):
        row = [difference(effect, cell.metric) for effect in cell.effects.values()]
        name = f"{cell.family}, {METRIC_FORMATS[cell.metric].label}"
        rows.append((name, [Entry(str(cell.severity)), Entry(cell.better), *row]))
    return Table(
        f"shift-goal-{setting.name}-alpha{alpha:g}",
        f"Matched − the better of raw and rescaled: {setting.label}, α = {alpha:g}",
        "Means over the kinds of a family and over seeds, with 95% confidence intervals of the "
        "differences paired by seed (accuracy and ECE in points, NLL in nats). The better one is "
        f"that with the better mean. “Chosen on”: {CHOSEN_ON}.",
        ["family, metric", "severity", "better", *MATCHED],
        rows,
    )


def difference(by_seed: Mapping[int, float], metric: MetricName) -> Entry:
    """A difference with its interval, a dash where there is none."""
    if mean := mean_over_seeds(by_seed):
        cell = effect_cell(mean, METRIC_FORMATS[metric]._replace(factor=1))
        return Entry(f"{cell.text} {cell.beside}", cell.judgement)
    return Entry("–")


def everything(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Table:
    """Every prediction on the judged kinds, and what matching differs from it by."""
    records = Records(r for item in own for r in item.means(None, JUDGED))
    clean = Records(r for item in own for r in item.means(0))
    matched = records.where(method="mixup", prediction="matched", alpha=alpha)
    kinds = len({s.kind for s in own[0].scores if s.kind in JUDGED})
    rows: list[tuple[str, list[Entry]]] = []
    for name, (method, prediction) in ARMS.items():
        wanted: dict[str, object] = {"method": method, "prediction": prediction}
        row = []
        for metric in METRICS:
            form = METRIC_FORMATS[metric]._replace(factor=1)
            means = [of.mean(metric, **wanted) for of in (clean, records)]
            row += [Entry(number(mean.mean, form) if mean else "") for mean in means]
            effect = paired(matched.by_seed(metric), records.by_seed(metric, **wanted))
            row.append(difference({} if name == "Mixup matched" else effect, metric))
        rows.append((name, row))
    headings = [
        heading
        for metric in METRICS
        for heading in (f"clean {METRIC_FORMATS[metric].heading}", "shifted", "matched − this")
    ]
    return Table(
        f"shift-{setting.name}-alpha{alpha:g}",
        f"{kinds} kinds of corruption, {len(severities(own)) - 1} severities: {setting.label}, "
        f"α = {alpha:g}",
        f"Means over kinds, severities and {len(matched.by_seed('nll'))} seeds; “matched” is "
        "better or worse where the 95% confidence interval of the difference, paired by seed, "
        "excludes 0. Temperatures are fitted on clean held-out images.",
        ["prediction", *headings],
        rows,
    )


def weights(setting: Setting, alpha: float, quarters: Sequence[list[Weights]]) -> Table:
    """E[θ | P] beside the temperature of raw predictions, in quarters of clean images."""
    mixed, form = [of for of in quarters if of], METRIC_FORMATS["nll"]._replace(digits=3)
    names, rows = ("lowest quarter", "second", "third", "highest", "all"), []
    for k, name in enumerate(names if mixed else ()):
        found = [
            mean_interval([getattr(of[k], part) for of in mixed])
            for part in ("likely", "temperature")
        ]
        rows.append(
            (name, [Entry(number(m.mean, form), beside=f"({range_text(m, form)})") for m in found])
        )
    return Table(
        f"shift-weights-{setting.name}-alpha{alpha:g}",
        f"E[θ | P] and the temperature of raw predictions: {setting.label}, α = {alpha:g}",
        "Clean held-out images in quarters by E[θ | P]; means over seeds.",
        ["images", "E[θ | P]", "fitted temperature"],
        rows,
    )
