"""`mixreg evaluate --shift`: every correction of one classifier as its test images get worse."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mixreg._errors import ConfigurationError
from mixreg._random import derive_seed, generator
from mixreg.data import Dataset, InMemoryDataset, MissingDataError
from mixreg.data.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from mixreg.data.published import data_root
from mixreg.data.robustness import find_folder
from mixreg.evaluation import Correction, Evaluation, MeanInterval, MetricName, Predictions, correct
from mixreg.evaluation.intervals import RESAMPLED, ExampleSums, differences
from mixreg.evaluation.metrics import scores
from mixreg.experiments._shifted import (
    PUBLISHED,
    ShiftedSet,
    corrupted_test_sets,
    of_files,
    predictions_of,
)
from mixreg.report import Document, Entry, Table, figures
from mixreg.report.document import effect_cell
from mixreg.report.records import METRIC_FORMATS, Judgement, judge, number
from mixreg.training import TrainedClassifier

METRICS: tuple[MetricName, ...] = ("accuracy", "nll", "ece")
_RESAMPLES = 500
_SEED = 0
_TREE_BATCH = 20

Effects = Mapping[MetricName, Mapping[Correction, Mapping[int, MeanInterval]]]
"""Differences to the raw prediction as they are shown: by metric, correction and severity."""


def shift_document(
    trained: TrainedClassifier, classifier: str, evaluation: Evaluation, directory: Path, shift: str
) -> Document:
    """What each correction does at each severity, with intervals over the test examples."""
    temperatures = {name: result.temperature for name, result in evaluation.results.items()}
    totals: dict[int, list[tuple[Tensor, Tensor]]] = {}
    sources, counts, kinds = dict[str, None](), set[int](), dict[str, None]()
    for test in shifted_sets(trained, directory, shift):
        predictions = predictions_of(trained, classifier, test, directory / "shifted")
        drawn = resampled(trained, predictions, temperatures)
        totals.setdefault(test.severity, []).append(drawn)
        if test.severity:
            counts.add(len(test.labels))
            sources[test.source], kinds[test.kind] = None, None
    means = {
        severity: [torch.stack(parts).mean(0) for parts in zip(*of, strict=True)]
        for severity, of in sorted(totals.items())
    }
    found = {s: differences(drawn[0], drawn[1], min(counts)) for s, drawn in means.items()}
    effects: Effects = {
        metric: {
            name: {s: METRIC_FORMATS[metric].shown(found[s][k, 0][metric]) for s in found}
            for k, name in enumerate(temperatures)
            if name != "raw"
        }
        for metric in METRICS
    }
    levels = {
        metric: {
            s: METRIC_FORMATS[metric].factor * float(drawn[0][0, RESAMPLED.index(metric)])
            for s, drawn in means.items()
        }
        for metric in METRICS
    }
    ends = " to ".join(map(str, sorted({min(counts), max(counts)})))
    note = (
        f"Mean over {len(kinds)} kinds of shift, {ends} test examples of each; differences to the "
        f"raw prediction of the same examples, with 95% intervals from {_RESAMPLES} sets of "
        "examples drawn with repeats, the same ones for all kinds. They are for this one model."
    )
    return Document(
        f"Shift: {trained.config.data}, {trained.config.model}",
        f"{len(kinds)} kinds of shift, severities {', '.join(str(s) for s in means)} (0: clean)",
        findings=list(findings(effects)),
        caveats=[f"Images: {source}." for source in sources],
        tables=[severity_table("shift", "By severity", note, effects, levels)],
        pictures=[
            figures.Picture(
                "shift",
                "Correction − raw by severity",
                "Bars are 95% intervals over test examples; severity 0 are the clean images.",
                "The same numbers stand in the table.",
                figures.draw(partial(curves, effects)),
            )
        ],
        settings=[trained.config.identity()],
    )


def shifted_sets(trained: TrainedClassifier, directory: Path, shift: str) -> Iterator[ShiftedSet]:
    """The clean test set, then those that the option names."""
    data, root = trained.data, data_root(trained.config.data_root)
    if isinstance(data, InMemoryDataset):
        place = _published(data.name, root, shift)
        yield from corrupted_test_sets(data, place, directory / "corrupted")
        return
    if tuple(data.input_shape) != (3, 224, 224) or data.normalisation is None:
        raise ConfigurationError(
            "--shift is for images in memory, and for folders of images that are shown to the "
            f"network as 224×224 with a known normalisation; {data.name} gives inputs of "
            f"{'×'.join(map(str, data.input_shape))}"
        )
    labels = Predictions.load(directory / "logits-test.safetensors").labels
    about = hashlib.sha256(next(_clean(data)).numpy().tobytes())
    yield ShiftedSet("clean", 0, labels, partial(_clean, data), about.hexdigest(), "")
    if shift == "generated":
        said = f"generated from the test images, imagenet parameters, seed {_SEED}"
        for kind in CORRUPTIONS:
            for severity in SEVERITIES:
                begin = partial(_worse, trained, kind, severity)
                digest = f"{about.hexdigest()} {kind} {severity} {_SEED}"
                yield ShiftedSet(kind, severity, labels, begin, digest, said)
        return
    for one in find_folder(Path(shift), data.class_names):
        yield of_files(one, trained, f"image files in {Path(shift).name}")


def _published(name: str, root: Path, shift: str) -> Path | None:
    """The folder of published files that the option names; None where they are generated."""
    named = {f"{data}-c": data for data in PUBLISHED}
    if shift == "generated":
        return None
    data = named.get(shift.lower(), name)
    if data != name:
        raise ConfigurationError(
            f"--shift {shift} is made of {data}, and this classifier is tested on {name}"
        )
    place = root / PUBLISHED[name] if shift.lower() in named else Path(shift)
    if not place.is_dir():
        raise MissingDataError(
            f"--shift {shift}: there is no folder {place.absolute()} with labels.npy and KIND.npy "
            "for each kind; --shift generated makes the images"
        )
    return place


def _clean(data: Dataset) -> Iterator[Tensor]:
    return (x for x, _ in data.batches("test", _TREE_BATCH))


def _worse(trained: TrainedClassifier, kind: str, severity: int) -> Iterator[Tensor]:
    """The test images of a folder, corrupted a few at a time."""
    normalise = trained.data.normalisation
    assert normalise is not None  # checked by `shifted_sets`
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (normalise.mean, normalise.std))
    for k, x in enumerate(_clean(trained.data)):
        pixels = ((x * std + mean) * normalise.largest).round().to(torch.uint8)
        images = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())
        seed = derive_seed(_SEED, "batch", k) % 2**32
        bad = corrupted(images, kind, severity, seed=seed, parameters="imagenet")
        yield normalise(torch.from_numpy(bad).permute(0, 3, 1, 2))


def resampled(
    trained: TrainedClassifier,
    predictions: Predictions,
    temperatures: Mapping[Correction, float | None],
) -> tuple[Tensor, Tensor]:
    """Metrics of every correction (k, 4), and of drawn sets (r, k, 4), the same for every call."""
    sums = ExampleSums(predictions.count, len(temperatures), generator(_SEED, "shift"))
    fixed: Any = {"y_mean": trained.class_means, "law": trained.output_law}
    for part in predictions.parts():
        corrected = [correct(part, n, temperature=t, **fixed) for n, t in temperatures.items()]
        sums.add([scores(logits_of, part.labels) for logits_of in corrected])
    return sums.resample(_RESAMPLES)


def findings(effects: Effects) -> Iterator[Entry]:
    """From which severity on each correction loses, in words."""
    for metric, by_name in effects.items():
        form = METRIC_FORMATS[metric]
        for name, means in by_name.items():
            judged = {s: judge(mean, form.direction) for s, mean in means.items()}
            yield Entry(f"{name}: {in_words(judged)}.", beside=f"{form.label} against raw")


def in_words(judged: Mapping[int, Judgement]) -> str:
    """At which severities a correction is better or worse, and from which on it loses."""
    worse = [s for s in judged if judged[s] == "worse"]
    better = [s for s in judged if judged[s] == "better"]
    last = [s for s in judged if s >= min(worse, default=0)]
    parts = [f"better {_places(better)}"] if better else []
    if worse and last == worse:
        parts.append("worse everywhere" if worse == [*judged] else f"worse from {worse[0]} on")
    elif worse:
        parts.append(f"worse {_places(worse)}")
    return ", ".join(parts) or "no difference shown"


def _places(places: Sequence[int]) -> str:
    written = [f"{s}" for s in places if s]
    clean = ["on clean images"] if 0 in places else []
    return " and ".join([*clean, *([f"at {', '.join(written)}"] if written else [])])


def severity_table(
    name: str,
    title: str,
    note: str,
    effects: Effects,
    raw: Mapping[MetricName, Mapping[int, float]],
) -> Table:
    """The raw prediction at each severity, and each correction less it."""
    rows: list[tuple[str, list[Entry]]] = []
    for metric, by_name in effects.items():
        form = METRIC_FORMATS[metric]._replace(factor=1)
        rows.append((f"{form.label} ({form.step})", []))
        rows.append(("raw", [*(Entry(number(v, form)) for v in raw[metric].values()), Entry("")]))
        for correction, means in by_name.items():
            cells = {s: effect_cell(mean, form) for s, mean in means.items()}
            words = in_words({s: cell.judgement for s, cell in cells.items()})
            rows.append((f"{correction} − raw", [*cells.values(), Entry(words)]))
    severities = next(iter(raw.values()))
    shown = ["clean" if s == 0 else str(s) for s in severities]
    return Table(name, title, note, ["prediction", *shown, "in words"], rows)


def curves(effects: Effects) -> Figure:
    """One panel for each metric, a line for each correction."""
    drawn, axes = figures.panels(len(effects), size=(4.0, 3.0))
    for panel, (metric, by_name) in zip(axes, effects.items(), strict=True):
        form = METRIC_FORMATS[metric]
        panel.axhline(0, color=figures.FAINT, linewidth=1)
        for k, (name, means) in enumerate(by_name.items()):
            beside = {s + 0.06 * (k - len(by_name) / 2): mean for s, mean in means.items()}
            figures.draw_bars(panel, name, figures.CORRECTION_COLOURS[name], "-", beside)
        panel.set(title=f"{form.label} ({form.step})", xlabel="severity")
    axes[0].set_ylabel("difference to raw")
    figures.legend_above(drawn, axes[0])
    return drawn
