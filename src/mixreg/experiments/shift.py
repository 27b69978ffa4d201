"""The rescaling under shift: powers matched to mixes, judged against what else there is."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg import _stored
from mixreg.calibration import search_temperature
from mixreg.data.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS
from mixreg.data.published import data_root
from mixreg.evaluation import MeanInterval, MetricName, Metrics, metrics
from mixreg.experiments import _runs, fig5
from mixreg.experiments._runs import Setting
from mixreg.experiments._shifted import (
    ShiftedSet,
    View,
    corrupted_test_sets,
    logits,
    published_folder,
)
from mixreg.experiments.evaluate import digest_of
from mixreg.experiments.fig5 import METRICS
from mixreg.laws import Constant
from mixreg.matching import PowerMatching
from mixreg.prediction import shrink, unshrink
from mixreg.report import Claim, Document, Entry, Record, Records, Sentence, Table, paired
from mixreg.report.records import METRIC_FORMATS, judge, mean_over_seeds, number, range_text
from mixreg.settings import ReproduceOptions
from mixreg.statistics import TrainingStatistics
from mixreg.training import RunDirectory, TrainConfig, TrainedClassifier, load_run

FAMILIES = {
    "noise": CORRUPTIONS[:3],
    "blur": CORRUPTIONS[3:7],
    "weather": CORRUPTIONS[7:11],
    "digital": CORRUPTIONS[11:15],
}
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
class Score:
    """The metrics of every prediction of one run on one set."""

    kind: str
    severity: int
    count: int
    source: str
    metrics: dict[str, Metrics]


@dataclass(frozen=True)
class Weights:
    """The mean of E[θ | P] over some clean held-out images, and the temperature of raw logits."""

    likely: float
    temperature: float


@dataclass(frozen=True)
class Judged:
    """All that is measured of a run: its sets, and held-out images in quarters by E[θ | P]."""

    made_of: str
    scores: list[Score]
    quarters: list[Weights]


class Item(NamedTuple):
    """A run with what was measured of it."""

    run: TrainConfig
    judged: Judged

    def means(self, kinds: Sequence[str], severity: int | None = None) -> Records:
        """Means over the sets of these kinds, of one severity or all."""
        chosen = [
            s.metrics
            for s in self.judged.scores
            if s.kind in kinds and severity in (None, s.severity)
        ]
        run, setting = self.run, fig5.setting_of(self.run, severity)
        return Records(
            Record(setting, run.method, run.alpha, run.seed, prediction, metric, value)
            for prediction in (chosen[0] if chosen else ())
            for metric in METRICS
            for value in [sum(getattr(m[prediction], metric) for m in chosen) / len(chosen)]
        )


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, predict every set in every way, and write the comparison."""
    made = _runs.make(options, runs(options), partial(measure, options))
    items = [Item(run, _read(run)) for run in made.runs]
    return _runs.write(options, document(items, made))


def measure(options: ReproduceOptions, run: RunDirectory, config: TrainConfig) -> None:
    """Judge a run on every set, from logits that the run keeps."""
    part, root = fig5.part_of(options, config), data_root(config.data_root)
    trained = load_run(run.path, {"data_root": config.data_root})
    classifier = digest_of(trained)
    made_of = hashlib.sha256(repr((classifier, part, sorted(ARMS))).encode()).hexdigest()
    if _runs.is_readable(_read, config) and _read(config).made_of == made_of:
        return
    views, corrected, quarters = prepared(trained)
    published, cache = published_folder(config.data, root), options.directory / "corrupted"
    sets = corrupted_test_sets(trained.data, published, cache, count=part.images, **part.which)
    scores = []
    for test in sets:
        kept = logits(trained.net, classifier, test, views, run.path / "shifted")
        scores.append(_score(test, corrected(kept)))
    _stored.write(_file(config), Judged(made_of, scores, quarters))


def _score(test: ShiftedSet, predictions: Mapping[str, Tensor]) -> Score:
    measured = {name: metrics(z, test.labels) for name, z in predictions.items()}
    return Score(test.kind, test.severity, len(test.labels), test.source, measured)


def prepared(
    trained: TrainedClassifier,
) -> tuple[dict[str, View], Callable[[Mapping[str, Tensor]], dict[str, Tensor]], list[Weights]]:
    """Views of the inputs, how predictions follow from them, and E[θ | P] on held-out images."""
    mixes = trained.config.method == "mixup"
    law = trained.law if mixes else Constant(1.0)
    batches = trained.data.train_batches(500, seed=trained.config.seed, epoch=0)
    stats = TrainingStatistics.from_loader(
        batches, trained.data.num_classes, second_moments="spectral", progress=False
    )
    matching = PowerMatching(stats, law)
    shrunk = partial(shrink, x_mean=trained.stats.x_mean, law=law)
    views: dict[str, View] = {"raw": lambda x: x, "matched": lambda x: matching(shrunk(x))}
    if mixes:
        views[f"shrunk-alpha{trained.config.alpha:g}"] = shrunk
    means = trained.class_means

    def untempered(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        raw = kept["raw"].double()
        matched = unshrink(kept["matched"].double(), means, law)
        if not mixes:
            return {"raw": raw, "matched": matched}
        small = kept[f"shrunk-alpha{trained.config.alpha:g}"].double()
        return {
            "raw": raw,
            "rescaled": unshrink(small, means, law),
            "scale-only": unshrink(raw, means, law),
            "two-views": unshrink((raw + small) / 2, means, law),
            "matched": matched,
        }

    held_out = list(trained.data.batches("validation", 500))
    labels = torch.cat([y for _, y in held_out])
    with torch.inference_mode():
        kept = {
            name: torch.cat([trained.net(view(x)) for x, _ in held_out])
            for name, view in views.items()
        }
    clean = untempered(kept)
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

    power = stats.second_moments
    if not mixes or power is None:
        return views, corrected, []
    bands = power.bands(stats.x_mean.shape)
    logs = [bands.log_power(bands.coordinates(x.double() - stats.x_mean)) for x, _ in held_out]
    likely = power.likely_weight(torch.cat(logs), law)
    parts = [*likely.argsort().tensor_split(4), torch.arange(len(likely))]
    return (
        views,
        corrected,
        [
            Weights(
                float(likely[rows].mean()),
                search_temperature(clean["raw"][rows], labels[rows]).temperature,
            )
            for rows in parts
        ],
    )


def _file(config: TrainConfig) -> Path:
    return config.directory / "matched.json"


def _read(config: TrainConfig) -> Judged:
    return _stored.decode(_file(config), Judged, remedy="run the same command again")


def document(items: Sequence[Item], made: _runs.Made) -> Document:
    """A table of all predictions and one of the goal, for each setting and α."""
    drawn = [
        (setting, alpha, own)
        for setting in fig5.PRESETS[made.preset]
        for alpha in setting.alphas
        if (
            own := [
                item
                for item in items
                if _runs.label(item.run) == setting.label
                and (item.run.method == "erm" or item.run.alpha == alpha)
            ]
        )
    ]
    document = _runs.figure_document(
        made,
        "Shifted inputs: powers matched to those of mixes",
        records=Records(
            record
            for item in items
            for severity in severities([item])
            for record in item.means(["clean"] if severity == 0 else _judged_kinds(), severity)
        ),
        claims=[claim for part in drawn for claim in claims(*part)],
        caveats=[
            FROZEN,
            *sources(drawn),
        ],
        tables=[
            table
            for part in drawn
            for table in (everything(*part), goal(*part), weights(*part))
            if table.rows
        ],
    )
    places = dict.fromkeys(setting.label for setting, *_ in drawn)
    return replace(
        document,
        subtitle=f"{'; '.join(places)}; scale {made.preset}",
        findings=[*(entry for part in drawn for entry in counts(*part)), *document.findings],
    )


def sources(drawn: Sequence[tuple[Setting, float, list[Item]]]) -> list[str]:
    """How many images each set has, and where they come from."""
    lines = dict[str, None]()
    for setting, _, own in drawn:
        bad = [score for score in own[0].judged.scores if score.severity]
        said = "; ".join(sorted({score.source for score in bad}, key=len))
        lines[f"{setting.label}: {bad[0].count} test images in each set; {said}."] = None
    return list(lines)


def severities(own: Sequence[Item]) -> list[int]:
    """The severities that were judged, 0 for the clean images."""
    return sorted({score.severity for score in own[0].judged.scores})


def _judged_kinds() -> list[str]:
    return [kind for kinds in FAMILIES.values() for kind in kinds]


class Cell(NamedTuple):
    """One family, severity and metric: which of raw and rescaled is better, what matching adds."""

    family: str
    severity: int
    metric: MetricName
    better: str
    effects: dict[str, dict[int, float]]


def cells(alpha: float, own: Sequence[Item]) -> Iterator[Cell]:
    """Differences of the matched predictions to the better of raw and rescaled, by seed."""
    groups = {"clean": ["clean"], **FAMILIES, "chosen on": EXTRA_CORRUPTIONS}
    for family, kinds in groups.items():
        for severity in severities(own):
            if (severity == 0) != (family == "clean"):
                continue
            records = Records(r for item in own for r in item.means(kinds, severity))
            records = records.where(method="mixup", alpha=alpha)
            for metric in METRICS if records else ():
                side = METRIC_FORMATS[metric].direction
                values = {p: records.by_seed(metric, prediction=p) for p in ("raw", "rescaled")}
                better = max(values, key=lambda p: side * sum(values[p].values()))
                effects = {
                    p: paired(records.by_seed(metric, prediction=p), values[better])
                    for p in MATCHED
                }
                yield Cell(family, severity, metric, better, effects)


def claims(setting: Setting, alpha: float, own: Sequence[Item]) -> Iterator[Claim]:
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


def counts(setting: Setting, alpha: float, own: Sequence[Item]) -> Iterator[Entry]:
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


def goal(setting: Setting, alpha: float, own: Sequence[Item]) -> Table:
    """The matched predictions less the better of raw and rescaled, by family and severity."""
    rows: list[tuple[str, list[Entry]]] = []
    for cell in cells(alpha, own):
        form = METRIC_FORMATS[cell.metric]
        named = [mean_over_seeds(effect) for effect in cell.effects.values()]
        row = [_difference(mean, cell.metric) for mean in named if mean]
        name = f"{cell.family}, {form.label}"
        if row:
            rows.append((name, [Entry(str(cell.severity)), Entry(cell.better), *row]))
    order = [*METRICS]
    rows.sort(key=lambda row: order.index(_metric_of(row[0])))
    return Table(
        f"shift-goal-{setting.name}-alpha{alpha:g}",
        f"Matched − the better of raw and rescaled: {setting.label}, α = {alpha:g}",
        "Means over the kinds of a family and over seeds, with 95% confidence intervals of the "
        "differences paired by seed (accuracy and ECE in points, NLL in nats). The better one is "
        f"that with the better mean. “Chosen on”: {CHOSEN_ON}.",
        ["family, metric", "severity", "better", *(f"{name}" for name in MATCHED)],
        rows,
    )


def _metric_of(name: str) -> MetricName:
    return next(m for m in METRICS if name.endswith(METRIC_FORMATS[m].label))


def _difference(mean: MeanInterval, metric: MetricName) -> Entry:
    form = METRIC_FORMATS[metric]
    plain = form._replace(factor=1)
    text = f"{number(mean.mean, plain, signed=True)} ({range_text(mean, plain)})"
    return Entry(text, judge(mean, form.direction))


def everything(setting: Setting, alpha: float, own: Sequence[Item]) -> Table:
    """Every prediction on the judged kinds, and what matching differs from it by."""
    records = Records(r for item in own for r in item.means(_judged_kinds()))
    clean = Records(r for item in own for r in item.means(["clean"]))
    matched = records.where(method="mixup", prediction="matched", alpha=alpha)
    kinds = len({s.kind for s in own[0].judged.scores if s.kind in _judged_kinds()})
    rows: list[tuple[str, list[Entry]]] = []
    for name, (method, prediction) in ARMS.items():
        wanted: dict[str, object] = {"method": method, "prediction": prediction}
        row = []
        for metric in METRICS:
            plain = METRIC_FORMATS[metric]._replace(factor=1)
            for of in (clean, records):
                mean = mean_over_seeds(of.by_seed(metric, **wanted))
                row.append(Entry(number(mean.mean, plain) if mean else ""))
            values = records.by_seed(metric, **wanted)
            mean = mean_over_seeds(paired(matched.by_seed(metric), values))
            is_itself = (method, prediction) == ("mixup", "matched")
            row.append(_difference(mean, metric) if mean and not is_itself else Entry("–"))
        rows.append((name, row))
    headings = [
        heading
        for metric in METRICS
        for heading in (
            f"clean {METRIC_FORMATS[metric].heading}",
            "shifted",
            "matched − this",
        )
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


def weights(setting: Setting, alpha: float, own: Sequence[Item]) -> Table:
    """E[θ | P] beside the temperature of raw predictions, in quarters of clean images."""
    mixed = [item.judged.quarters for item in own if item.judged.quarters]
    rows: list[tuple[str, list[Entry]]] = []
    plain = METRIC_FORMATS["nll"]._replace(digits=3)
    for k, name in enumerate(("lowest quarter", "second", "third", "highest", "all")):
        values = [[getattr(q[k], part) for q in mixed] for part in ("likely", "temperature")]
        means = [mean_over_seeds(dict(enumerate(v))) for v in values if v]
        cells = [
            Entry(number(m.mean, plain), beside=f"({range_text(m, plain)})") for m in means if m
        ]
        if cells:
            rows.append((name, cells))
    return Table(
        f"shift-weights-{setting.name}-alpha{alpha:g}",
        f"E[θ | P] and the temperature of raw predictions: {setting.label}, α = {alpha:g}",
        "Clean held-out images in quarters by E[θ | P]; means over seeds.",
        ["images", "E[θ | P]", "fitted temperature"],
        rows,
    )
