"""Table 2: a network trained on ImageNet, tested on six shifted sets, raw and rescaled."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mixreg import _stored
from mixreg.data.corruptions import EXTRA_CORRUPTIONS
from mixreg.data.published import MissingDataError, data_root
from mixreg.data.robustness import FOLDERS, RobustnessSet, find
from mixreg.evaluation import Correction, correct
from mixreg.evaluation.metrics import measure as measured
from mixreg.experiments import _runs
from mixreg.experiments._runs import Setting
from mixreg.experiments._shifted import ShiftedSet, in_parts, logits, shrunk_by, views_of
from mixreg.experiments.evaluate import digest_of
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

ALEXNET = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""Errors of AlexNet on ImageNet-C, mean over severities: Hendrycks and Dietterich, ICLR 2019, as in
https://github.com/google-research/augmix, imagenet.py."""

_COLUMNS = [(alpha, prediction) for alpha in (0.25, 0.5) for prediction in PREDICTIONS]
_PAPER = """
imagenet accuracy 0.7764 0.0022 0.7754 0.0021 0.7780 0.0006 0.7766 0.0009
imagenet nll 0.8820 0.0092 0.8964 0.0113 0.8852 0.0046 0.9482 0.0188
imagenet ece 0.0291 0.0031 0.0236 0.0058 0.0280 0.0040 0.0707 0.0127
imagenet-a accuracy 0.0165 0.0011 0.0165 0.0011 0.0229 0.0004 0.0225 0.0005
imagenet-a nll 7.3395 0.0884 6.8075 0.0687 7.1010 0.0879 6.3738 0.0506
imagenet-a ece 0.4322 0.0072 0.3629 0.0075 0.4318 0.0110 0.3161 0.0117
imagenet-c accuracy 0.4638 0.0021 0.4662 0.0019 0.4719 0.0015 0.4761 0.0011
imagenet-c nll 2.8050 0.0140 2.7374 0.0094 2.7842 0.0164 2.7206 0.0136
imagenet-c mce 0.6824 0.0025 0.6795 0.0022 0.6735 0.0018 0.6685 0.0014
imagenet-c ece 0.1040 0.0046 0.0652 0.0019 0.1096 0.0054 0.0793 0.0061
imagenet-v2 accuracy 0.6560 0.0028 0.6543 0.0029 0.6593 0.0007 0.6575 0.0011
imagenet-v2 nll 1.5208 0.0118 1.5048 0.0122 1.5130 0.0057 1.5295 0.0170
imagenet-v2 ece 0.0746 0.0053 0.0344 0.0030 0.0715 0.0079 0.0417 0.0096
vid-robust pm-k 0.5254 0.0043 0.5244 0.0036 0.5224 0.0023 0.5216 0.0035
ytbb-robust pm-k 0.4738 0.0037 0.4717 0.0035 0.4705 0.0021 0.4692 0.0017
objectnet accuracy 0.2756 0.0035 0.2751 0.0034 0.2837 0.0010 0.2825 0.0011
"""


def _read_paper() -> Iterator[tuple[tuple[str, str], dict[tuple[float, str], tuple[float, float]]]]:
    for line in _PAPER.split("\n")[1:-1]:
        name, metric, *texts = line.split()
        values = [float(text) for text in texts]
        cells = zip(values[::2], values[1::2], strict=True)
        yield (name, metric), dict(zip(_COLUMNS, cells, strict=True))


PAPER = dict(_read_paper())
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
    """What one run gives on every set that is there.

    made_of: digest of the network and of all images.
    sets: by name, then by prediction and metric.
    remarks: what is not as published.
    """

    made_of: str
    sets: dict[str, Values]
    remarks: list[str]


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
    return _runs.write(options, document(made, {run.directory: _read(run) for run in made.runs}))


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
    _stored.write(_file(config), Measured(digest.hexdigest(), sets, remarks))


def tested(trained: TrainedClassifier, classifier: str, one: RobustnessSet, folder: Path) -> Values:
    """Raw and rescaled predictions of the target classes on one set."""
    normalisation = trained.data.normalisation
    assert normalisation is not None  # of images
    workers = min(trained.config.workers, len(one.paths) // 100)
    begin = partial(one.batches, normalisation, workers)
    labels = one.labels
    test = ShiftedSet(one.kind, one.severity, labels, begin, one.digest(), "published images")
    alpha = trained.config.alpha
    kept = logits(trained.net, classifier, test, views_of(trained, [alpha]), folder)
    raw, shrunk = kept["raw"], kept[shrunk_by(alpha)]
    fixed: Any = {"y_mean": trained.class_means, "law": trained.output_law}
    values: Values = {}
    for name in PREDICTIONS:
        parts = (
            one.merged(correct(part, name, **fixed))
            for part in in_parts(raw, shrunk, labels.clamp(min=0))
        )
        if one.groups:
            values[name] = group_accuracy(one, [int(k) for part in parts for k in part.argmax(1)])
        else:
            values[name] = three(measured(_with(parts, labels), one.width(raw.shape[1])).metrics)
    return values


def _with(parts: Iterator[Tensor], labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    start = 0
    for part in parts:
        yield part, labels[start : start + len(part)]
        start += len(part)


def three(metrics: Any) -> dict[str, float]:
    """The metrics of the paper."""
    return {name: getattr(metrics, name) for name in ("accuracy", "nll", "ece")}


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
        result[name] = {m: _mean([v[m] for v in own.values()]) for m in ("accuracy", "nll", "ece")}
        errors = {
            kind: _mean([1 - v["accuracy"] for (k, _), v in own.items() if k == kind])
            for kind in ALEXNET
        }
        result[name]["mce"] = _mean([errors[kind] / ALEXNET[kind] for kind in ALEXNET])
    return result


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _file(config: TrainConfig) -> Path:
    return config.directory / "table2.json"


def _read(config: TrainConfig) -> Measured:
    return _stored.decode(_file(config), Measured, remedy="run the same command again")


def document(made: _runs.Made, results: Mapping[Path, Measured]) -> Document:
    """The table, ours beside the paper's."""
    records = Records(
        Record(name, run.method, run.alpha, run.seed, prediction, metric, value)
        for run in made.runs
        for name, values in results[run.directory].sets.items()
        for prediction, metrics in values.items()
        for metric, value in metrics.items()
    )
    document = _runs.figure_document(
        made,
        "Table 2: rescaled prediction on shifted versions of ImageNet",
        records=records,
        claims=[claim for alpha in PRESETS[made.preset].alphas for claim in claims(records, alpha)],
        caveats=[
            "Published images; ImageNet-C is the mean over its 15 corruptions and 5 severities.",
            *dict.fromkeys(remark for result in results.values() for remark in result.remarks),
        ],
        tables=[beside_paper(records, PRESETS[made.preset].alphas)],
    )
    return dataclasses.replace(document, subtitle=f"{PRESETS[made.preset].label}; {made.preset}")


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
    if not values:
        return ""
    if len(values) == 1:
        return number(values[0], form)
    mean, n = _mean(values), len(values)
    return _written(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n), form)


def _written(mean: float, error: float, form: MetricFormat) -> str:
    return f"{number(mean, form)} ± {number(error, form)}"
