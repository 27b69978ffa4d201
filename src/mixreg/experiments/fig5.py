"""Figure 5: accuracy, loss and calibration on corrupted images, with and without the rescaling."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from mixreg._stored import Kept
from mixreg.data.corruptions import CORRUPTIONS
from mixreg.evaluation import CORRECTIONS, Correction, Metrics, Predictions, correct
from mixreg.evaluation.metrics import measure as measure_parts
from mixreg.experiments import _runs, fig4
from mixreg.experiments._runs import ALPHA, LENET, Setting
from mixreg.experiments._shifted import (
    Scores,
    ShiftedSet,
    corrupted_test_sets,
    logits,
    published_folder,
    shrunk_by,
    views_of,
)
from mixreg.experiments.evaluate import digest_of
from mixreg.experiments.evaluate_shift import METRICS
from mixreg.report import Claim, Document, Record, Records, Sentence, figures, paired
from mixreg.report.records import OPPOSITE
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, TrainConfig, TrainedClassifier, load_run

_SHORT = {"epochs": 20, "milestones": [10]}
_PART = {  # two fifths of the images, so that two cores train a residual network in minutes
    "training_fraction": 0.4,
    "epochs": 10,
    "milestones": [6, 9],
    "precision": "bf16-mixed",
}
PRESETS = {
    "paper": tuple(
        Setting(data=data, model="resnet34", recipe="cifar-resnet34", **fig4.TEN)
        for data in ("cifar10", "cifar100")
    ),
    "cpu": (
        *(
            dataclasses.replace(LENET["cpu"], data=data, changes=_SHORT, alphas=(0.5, 1.0))
            for data in ("cifar10", "cifar100", "fashion-mnist")
        ),
        Setting(
            data="cifar10",
            model="resnet20",
            recipe="cifar-resnet34",
            changes=_PART,
            seeds=2,
            costly_seeds=2,
            alphas=(0.5, 1.0),
        ),
    ),
    "smoke": (
        Setting(
            data="cifar10",
            model="lenet",
            recipe="cifar-lenet",
            changes={"epochs": 1, "training_fraction": 0.01},
            seeds=2,
            costly_seeds=2,
        ),
    ),
}


class Part(NamedTuple):
    """Of the first so many test images (None for all), which corruptions (none named for all)."""

    images: int | None = None
    which: Mapping[str, Sequence[Any]] = {}


PARTS = {
    "paper": Part(),
    "cpu": Part(2000),
    "smoke": Part(100, {"kinds": ("contrast", "fog"), "severities": (1, 5)}),
}
_COSTLY = {("cpu", "resnet20"): Part(500, {"severities": (1, 3, 5)})}

ARMS = tuple(name for name in fig4.ARMS if name != "MIT-L")

PLACE = "section 5, figure 5"
WORSENS = Sentence(
    "On CIFAR-10-C and CIFAR-100-C the rescaling worsens almost all metrics of Mixup.", PLACE
)
MIXUP = Sentence("Mixup has some benefits over ERM out of distribution.", "section 5")


@dataclass(frozen=True)
class Shift:
    """The scores of a run with one rescaling on the clean and the corrupted test images."""

    made_of: str  # digest of all that decides them
    scores: list[Scores]


SHIFT = Kept("shift.json", Shift)


class Shifted(NamedTuple):
    """A run, the α that it is rescaled with, and its scores."""

    run: TrainConfig
    alpha: float
    scores: list[Scores]

    def means(self, severity: int | None = None, kinds: Sequence[str] = CORRUPTIONS) -> Records:
        """Means over corruptions of a severity, or of all; of severity 0 are the clean images."""
        chosen = [
            s.metrics
            for s in self.scores
            if s.severity == severity == 0
            or (s.severity > 0 and severity in (None, s.severity) and s.kind in kinds)
        ]
        which = {None: "corrupted", 0: "clean"}.get(severity, f"severity {severity}")
        run, setting = self.run, f"{_runs.label(self.run)}, {which}"
        return Records(
            Record(setting, run.method, self.alpha, run.seed, prediction, metric, value)
            for prediction in (chosen[0] if chosen else ())
            for metric in METRICS
            for value in [sum(getattr(m[prediction], metric) for m in chosen) / len(chosen)]
        )


def runs(options: ReproduceOptions) -> list[TrainConfig]:
    """ERM, and Mixup at each α."""
    arms = []
    for setting in PRESETS[options.size]:
        arms += [_runs.Arm(setting, "erm")]
        arms += [_runs.Arm(setting, "mixup", alpha) for alpha in setting.alphas]
    return _runs.trainings(options, arms)


plan = partial(_runs.plan, runs)


def part_of(options: ReproduceOptions, config: TrainConfig) -> Part:
    """What a run is measured on: less for a network that costs a hundred times more."""
    return _COSTLY.get((options.size, config.model), PARTS[options.size])


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, score on every corrupted set with every rescaling, and write the figure."""
    made, shifted = scored(options)
    return _runs.write(options, document(shifted, made))


def scored(options: ReproduceOptions) -> tuple[_runs.Made, list[Shifted]]:
    """The finished runs and their scores, which figures 5 and 6 share."""
    wanted = runs(options)
    made = _runs.make(options, wanted, partial(measure, options, wanted))
    pairs = [(run, alpha) for run in made.runs for alpha in _runs.rescalings(run, made.runs)]
    return made, [Shifted(run, alpha, SHIFT.read(place(run, alpha)).scores) for run, alpha in pairs]


def place(run: TrainConfig, alpha: float) -> Path:
    """Where the scores with an α lie."""
    return _runs.evaluation_of(run, alpha).path


def measure(
    options: ReproduceOptions, wanted: Sequence[TrainConfig], run: RunDirectory, config: TrainConfig
) -> None:
    """Score a run with every rescaling on every set, from logits that the run keeps."""
    _runs.evaluate_run(wanted, run, config)
    trained = load_run(run.path, {"data_root": config.data_root})
    classifier = digest_of(trained)
    made_of, sets = test_sets(options, trained, (classifier, CORRECTIONS))
    scores: dict[float, list[Scores]] = {
        alpha: []
        for alpha in _runs.rescalings(config, wanted)
        if not (old := SHIFT.find(place(config, alpha))) or old.made_of != made_of
    }
    if not scores:
        return
    views = views_of(trained, scores)
    for test in sets:
        kept = logits(trained.net, classifier, test, views, run.path / "shifted")
        for alpha, own in scores.items():
            results = _runs.read_evaluation(config, alpha).results
            temperatures = {name: result.temperature for name, result in results.items()}
            predictions = Predictions(kept["raw"], kept[shrunk_by(alpha)], test.labels)
            own.append(score(trained.assuming(alpha), test, predictions, temperatures))
    for alpha, own in scores.items():
        SHIFT.write(place(config, alpha), Shift(made_of, own))


def test_sets(
    options: ReproduceOptions, trained: TrainedClassifier, measured: object
) -> tuple[str, Iterator[ShiftedSet]]:
    """Digest of what is measured and on which images; the clean ones, then every corruption."""
    part, published = part_of(options, trained.config), published_folder(trained.config)
    cache = options.directory / "corrupted"
    sets = corrupted_test_sets(trained.data, published, cache, count=part.images, **part.which)
    clean = next(sets)
    about = repr((measured, part, published, clean.digest))
    return hashlib.sha256(about.encode()).hexdigest(), chain([clean], sets)


def score(
    trained: TrainedClassifier,
    test: ShiftedSet,
    predictions: Predictions,
    temperatures: Mapping[Correction, float | None],
) -> Scores:
    """Every correction on one set."""
    fixed: Any = {"y_mean": trained.class_means, "law": trained.output_law}
    metrics: dict[str, Metrics] = {}
    for name, temperature in temperatures.items():
        parts = (
            (correct(part, name, temperature=temperature, **fixed), part.labels)
            for part in predictions.parts()
        )
        metrics[name] = measure_parts(parts, predictions.num_classes).metrics
    return Scores.of(test, metrics)


def by_setting(
    shifted: Sequence[Shifted], made: _runs.Made
) -> Iterator[tuple[Setting, list[Shifted]]]:
    """The settings that have finished runs, with their scores."""
    for setting in PRESETS[made.preset]:
        if own := [item for item in shifted if _runs.label(item.run) == setting.label]:
            yield setting, own


def by_alpha(
    shifted: Sequence[Shifted], made: _runs.Made
) -> Iterator[tuple[Setting, float, list[Shifted]]]:
    """The settings at each α, with the scores of Mixup there, and of ERM."""
    for setting, every in by_setting(shifted, made):
        for alpha in setting.alphas:
            if own := [i for i in every if i.run.method == "erm" or i.run.alpha == alpha]:
                yield setting, alpha, own


def severities(own: Sequence[Shifted]) -> list[int]:
    """The severities that were scored, 0 for the clean images."""
    return sorted({score.severity for score in own[0].scores})


def document(shifted: Sequence[Shifted], made: _runs.Made) -> Document:
    """The whole figure: a table and a picture of each setting."""
    drawn = [
        (setting, Records(record for item in own for record in item.means()))
        for setting, own in by_setting(shifted, made)
    ]
    return _runs.figure_document(
        made,
        "Figure 5: rescaled prediction on corrupted images",
        records=Records(record for _, records in drawn for record in records),
        claims=[claim for pair in drawn for claim in claims(*pair)],
        caveats=sources(shifted, made),
        tables=[fig4.performance(*pair, "fig5", ARMS, METRICS) for pair in drawn],
        pictures=[
            figures.Picture(
                f"fig5-{setting.name}",
                f"Performance on corrupted test images against α: {setting.label}",
                "Mean over all corruptions and severities, then over seeds, a little beside one "
                "another; bars are 95% confidence intervals over seeds. ERM and its temperature do "
                "not depend on α; ERM is rescaled as if it had been trained with mixup of that α. "
                "Temperatures are fitted on clean held-out examples.",
                f"The same numbers stand in the table of {setting.label}.",
                figures.draw(partial(fig4.figure, setting, records, ARMS, METRICS)),
            )
            for setting, records in drawn
        ],
    )


def claims(setting: Setting, records: Records) -> Iterator[Claim]:
    """What the rescaling does to Mixup, and Mixup to ERM."""
    erm = records.where(method="erm", prediction="raw", alpha=ALPHA)
    for alpha in setting.alphas:
        place = f"{setting.label}, corrupted, α = {alpha:g}"
        at = records.where(method="mixup", alpha=alpha)
        raw, rescaled = (at.where(prediction=p) for p in ("raw", "rescaled"))
        for metric, better in _runs.BETTER.items():
            effect = paired(rescaled.by_seed(metric), raw.by_seed(metric))
            measured = _runs.difference(metric, "Mixup rescaled − raw")
            yield from WORSENS.test(place, measured, effect, OPPOSITE[better])
        for metric, better in _runs.BETTER.items():
            effect = paired(raw.by_seed(metric), erm.by_seed(metric))
            yield from MIXUP.test(place, _runs.difference(metric, "Mixup − ERM"), effect, better)


def sources(shifted: Sequence[Shifted], made: _runs.Made) -> list[str]:
    """Where the images of each setting come from, and how many they are."""
    lines = []
    for setting, own in by_setting(shifted, made):
        corrupted = [score for score in own[0].scores if score.severity]
        said = sorted({score.source for score in corrupted}, key=len)
        kinds = len({score.kind for score in corrupted})
        lines.append(
            f"{setting.label}: {len(corrupted)} corrupted sets ({kinds} kinds) of "
            f"{corrupted[0].count} test images each; {'; '.join(said)}."
        )
    return lines
