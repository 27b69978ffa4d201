"""Table 2: a network trained on ImageNet, tested on six shifted sets, raw and rescaled."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mixreg._stored import Kept
from mixreg.data.corruptions import EXTRA_CORRUPTIONS
from mixreg.data.published import MissingDataError, data_root
from mixreg.data.robustness import FOLDERS, RobustnessSet, find
from mixreg.evaluation import Correction, correct
from mixreg.evaluation.metrics import measure as measured
from mixreg.experiments import _runs
from mixreg.experiments._runs import Setting
from mixreg.experiments._shifted import of_files, predictions_of
from mixreg.experiments.evaluate import digest_of
from mixreg.experiments.evaluate_shift import METRICS
from mixreg.report import Claim, Document, Entry, Record, Records, Sentence, Table, paired
from mixreg.report.records import OPPOSITE, MetricFormat, metric_format, number
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, TrainConfig, TrainedClassifier, load_run

_RESNET: dict[str, Any] = {"data": "imagenet", "alphas": (0.25, 0.5)}
_SMALL = {"training_fraction": 0.01, "epochs": 2, "batch_size": 64, "learning_rate": 0.1}
PRESETS = {
    "paper": Setting(
        **_RESNET, model="resnet50", recipe="imagenet-resnet50", seeds=10, costly_seeds=10
    ),
    "cpu": Setting(
        **_RESNET, model="torchvision/resnet18", changes=_SMALL, seeds=2, costly_seeds=2
    ),
    "smoke": Setting(
        data="imagenet",
        model="torchvision/shufflenet_v2_x0_5",
        changes={"epochs": 1, "batch_size": 4, "workers": 0},
        seeds=2,
        costly_seeds=2,
        alphas=(0.5,),
    ),
}

PREDICTIONS: tuple[Correction, ...] = ("rescaled", "raw")

_NUMBERS = json.loads(Path(__file__).with_suffix(".json").read_text())

ALEXNET: dict[str, float] = _NUMBERS["alexnet"]
"""Errors of AlexNet on ImageNet-C, mean over severities: Hendrycks and Dietterich, ICLR 2019, as in
https://github.com/google-research/augmix, imagenet.py."""

_COLUMNS = [(alpha, prediction) for alpha in (0.25, 0.5) for prediction in PREDICTIONS]
PAPER: dict[tuple[str, str], dict[tuple[float, str], tuple[float, float]]] = {
    (name, metric): dict(zip(_COLUMNS, cells, strict=True))
    for name, metrics in _NUMBERS["paper"].items()
    for metric, cells in metrics.items()
}
"""Table 2 of the paper: by set and metric, then α and prediction, the mean and standard error."""

FORMATS = {
    "mce": MetricFormat("mCE", -1, 100, 2, "%", "points"),
    "pm-k": MetricFormat("Accuracy (pm-k)", 1, 100, 2, "%", "points"),
}
PLACE = "section 5, table 2"
MOST = Sentence("On most shifted versions of ImageNet the rescaling improves accuracy.", PLACE)
WORSENS = Sentence("On ImageNet-C the rescaling worsens almost all metrics of Mixup.", PLACE)

Values = dict[str, dict[str, float]]
"""Metrics by prediction."""


@dataclass(frozen=True)
class Measured:
    """What one run gives on every set that is there."""

    made_of: str  # digest of the network and of all images
    sets: dict[str, Values]
    remarks: list[str]  # what is not as published


MEASURED = Kept("table2.json", Measured)


def runs(options: ReproduceOptions) -> list[TrainConfig]:
    """Mixup at each α."""
    setting = PRESETS[options.size]
    return _runs.trainings(options, [_runs.Arm(setting, "mixup", a) for a in setting.alphas])


plan = partial(_runs.plan, runs)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, test on every set that is there, and write the table."""
    wanted = runs(options)
    made = _runs.make(options, wanted, partial(measure, wanted))
    root = data_root(options.data_root)
    absent = [f"{n}: no folder {root / f}" for n, f in FOLDERS.items() if not (root / f).is_dir()]
    made = made._replace(missing=[*made.missing, *absent])
    return _runs.write(options, document(made, [MEASURED.read(run.directory) for run in made.runs]))


def measure(wanted: Sequence[TrainConfig], run: RunDirectory, config: TrainConfig) -> None:
    """Test a run on every set that is there, from logits that it keeps."""
    _runs.evaluate_run(wanted, run, config)
    trained = load_run(run.path, {"data_root": config.data_root})
    results = _runs.read_evaluation(config, config.alpha).results
    sets: dict[str, Values] = {"imagenet": {p: three(results[p].metrics) for p in PREDICTIONS}}
    classifier, remarks = digest_of(trained), list[str]()
    digest, folder = hashlib.sha256(classifier.encode()), run.path / "shifted"
    for name in FOLDERS:
        try:
            parts = find(name, data_root(config.data_root), trained.data.class_names)
        except MissingDataError:
            continue
        values = {(p.kind, p.severity): tested(trained, classifier, p, folder) for p in parts}
        sets[name] = corrupted(values) if name == "imagenet-c" else next(iter(values.values()))
        remarks += [remark for part in parts for remark in part.remarks]
        digest.update("".join(part.digest() for part in parts).encode())
    MEASURED.write(run.path, Measured(digest.hexdigest(), sets, remarks))


def tested(trained: TrainedClassifier, classifier: str, one: RobustnessSet, folder: Path) -> Values:
    """Raw and rescaled predictions of the target classes on one set."""
    test = of_files(one, trained, "published images")
    found = predictions_of(trained, classifier, test, folder)
    fixed: Any = {"y_mean": trained.class_means, "law": trained.output_law}
    values: Values = {}
    for name in PREDICTIONS:
        parts = ((one.merged(correct(part, name, **fixed)), part.labels) for part in found.parts())
        if one.groups:
            predicted = [int(k) for logits, _ in parts for k in logits.argmax(1)]
            values[name] = group_accuracy(one, predicted)
        else:
            values[name] = three(measured(parts, one.width(found.num_classes)).metrics)
    return values


def three(metrics: Any) -> dict[str, float]:
    """The metrics of the paper."""
    return {name: getattr(metrics, name) for name in METRICS}


def group_accuracy(one: RobustnessSet, predicted: Sequence[int]) -> dict[str, float]:
    """Share of the groups whose anchor is right (pm-0), and with it all frames near it (pm-k)."""
    right = [p in targets for p, targets in zip(predicted, one.targets, strict=True)]
    anchors = sum(right[group[0]] for group in one.groups)
    whole = sum(all(right[row] for row in group) for group in one.groups)
    return {"pm-0": anchors / len(one.groups), "pm-k": whole / len(one.groups)}


def corrupted(values: Mapping[tuple[str, int], Values]) -> Values:
    """Means over the 15 corruptions of the benchmark, and the mean corruption error."""
    chosen = {key: v for key, v in values.items() if key[0] not in EXTRA_CORRUPTIONS}
    result: Values = {}
    for name in PREDICTIONS:
        own = {key: v[name] for key, v in chosen.items()}
        result[name] = {m: fmean(v[m] for v in own.values()) for m in METRICS}
        errors = {
            kind: fmean(1 - v["accuracy"] for (k, _), v in own.items() if k == kind)
            for kind in ALEXNET
        }
        result[name]["mce"] = fmean(errors[kind] / ALEXNET[kind] for kind in ALEXNET)
    return result


def document(made: _runs.Made, results: Sequence[Measured]) -> Document:
    """The table, ours beside the paper's."""
    records = Records(
        Record(name, run.method, run.alpha, run.seed, prediction, metric, value)
        for run, measured in zip(made.runs, results, strict=True)
        for name, values in measured.sets.items()
        for prediction, metrics in values.items()
        for metric, value in metrics.items()
    )
    return _runs.figure_document(
        made,
        "Table 2: rescaled prediction on shifted versions of ImageNet",
        records=records,
        claims=[claim for alpha in PRESETS[made.preset].alphas for claim in claims(records, alpha)],
        caveats=[
            "Published images; ImageNet-C is the mean over its 15 corruptions and 5 severities.",
            *dict.fromkeys(remark for result in results for remark in result.remarks),
        ],
        tables=[beside_paper(records, PRESETS[made.preset].alphas)],
    )


def claims(records: Records, alpha: float) -> Iterator[Claim]:
    """Accuracy on every shifted set but ImageNet-C, and every metric there."""
    for name, metric in PAPER:
        own = records.where(setting=name, alpha=alpha)
        rescaled, raw = (own.by_seed(metric, prediction=p) for p in PREDICTIONS)
        form, place = _form(metric), f"{name}, α = {alpha:g}"
        scale = form.factor if metric in FORMATS else 1  # `by_seed` scales the metrics it knows
        effect = {seed: scale * value for seed, value in paired(rescaled, raw).items()}
        said = f"test {form.label} in {form.step}, Mixup rescaled − raw"
        if name == "imagenet-c":
            worse = OPPOSITE["positive" if form.direction > 0 else "negative"]
            yield from WORSENS.test(place, said, effect, worse)
        elif name != "imagenet" and form.direction > 0:
            yield from MOST.test(place, said, effect, "positive")


def _form(metric: str) -> MetricFormat:
    return FORMATS[metric] if metric in FORMATS else metric_format(metric)


def beside_paper(records: Records, alphas: Sequence[float]) -> Table:
    """A row for each set and metric, ours and the paper's, means ± standard errors."""
    columns = [(alpha, prediction) for alpha in alphas for prediction in PREDICTIONS]
    rows = []
    for (name, metric), paper in PAPER.items():
        cells, form = [], _form(metric)
        for alpha, prediction in columns:
            chosen = records.where(setting=name, alpha=alpha, prediction=prediction, metric=metric)
            published = paper.get((alpha, prediction))
            cells.append(Entry(_with_error([record.value for record in chosen], form)))
            cells.append(Entry(_written(*published, form) if published else ""))
        if any(cell.text for cell in cells[::2]):
            rows.append((f"{name}: {form.heading}", cells))
    headings = [h for a, p in columns for h in (f"{p}, α = {a:g}", "paper")]
    note = (
        "Mean ± standard error over repetitions, ours and those of the paper (ResNet-50, 10 "
        "repetitions)."
    )
    return Table("table2", "Ours beside the paper's", note, ["set and metric", *headings], rows)


def _with_error(values: Sequence[float], form: MetricFormat) -> str:
    """Mean ± standard error, the mean alone for one value."""
    if len(values) < 2:
        return number(values[0], form) if values else ""
    return _written(fmean(values), stdev(values) / math.sqrt(len(values)), form)


def _written(mean: float, error: float, form: MetricFormat) -> str:
    return f"{number(mean, form)} ± {number(error, form)}"
