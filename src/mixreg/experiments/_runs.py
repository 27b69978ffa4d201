"""The runs of a figure: on what and how large, what is measured of them, the page they end on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from mixreg._errors import CheckpointError, MixregError
from mixreg.evaluation import Evaluation, MeanInterval, MetricName
from mixreg.experiments import _plan
from mixreg.experiments._sweep import Finish, sweep
from mixreg.experiments.evaluate import evaluate_trained
from mixreg.report import (
    Claim,
    Document,
    Entry,
    Records,
    check_replaceable,
    figures,
    records_of,
    write_document,
)
from mixreg.report.comparison import BETTER as BETTER
from mixreg.report.records import METRIC_FORMATS, Judgement
from mixreg.settings import ReproduceOptions
from mixreg.training import METHODS, RunDirectory, TrainConfig, load_run, recipe

ALPHA = 1.0
"""α of the figures that have one value of it."""

MEANS = "Mean over seeds ± half the width of its 95% confidence interval"

_JUDGED: Mapping[str, Judgement] = {"holds": "better", "does not hold": "worse"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """On what, how and how often classifiers are trained; costly methods have fewer seeds."""

    data: str
    model: str
    recipe: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: int
    costly_seeds: int
    alphas: tuple[float, ...] = (ALPHA,)

    @property
    def label(self) -> str:
        """Name in tables, pictures and records."""
        return f"{self.data}, {self.model}"

    @property
    def name(self) -> str:
        """Name of files."""
        return f"{self.data}-{self.model}".replace("/", "_")

    def seeds_of(self, method: str, wanted: int | None = None) -> range:
        """The seeds of a method; k is that of repetition k for every method."""
        seeds = self.seeds if wanted is None else wanted
        is_costly = METHODS[method].passes > 1
        return range(min(seeds, self.costly_seeds) if is_costly else seeds)


DIGITS = Setting(
    data="digits", model="mlp", changes={"epochs": 2, "batch_size": 256}, seeds=2, costly_seeds=2
)
_LENET: dict[str, Any] = {"data": "cifar10", "model": "lenet", "recipe": "cifar-lenet"}
_SHORT = {"epochs": 30, "milestones": [15]}  # instead of 200 epochs, for two cores

LENET = {
    "paper": Setting(**_LENET, seeds=10, costly_seeds=10),
    "cpu": Setting(**_LENET, changes=_SHORT, seeds=5, costly_seeds=3),
    "smoke": DIGITS,
}
"""Figures 2, 3 and 7; the paper gives no number of repetitions, these are ours."""


class Arm(NamedTuple):
    """One way of training in one setting, repeated over seeds."""

    setting: Setting
    method: str
    alpha: float = ALPHA


class Made(NamedTuple):
    """The finished runs of a figure, why others are missing, and the preset of all."""

    runs: Sequence[TrainConfig]
    missing: Sequence[str]
    preset: str


class Evaluated(NamedTuple):
    """A run, the α that it is rescaled with, and its numbers."""

    run: TrainConfig
    alpha: float
    evaluation: Evaluation

    def records(self) -> Records:
        """Every metric of every prediction."""
        run, alpha, evaluation = self
        setting, method, seed = label(run), run.method, run.seed
        return records_of(evaluation, setting=setting, method=method, alpha=alpha, seed=seed)


def trainings(
    options: ReproduceOptions, arms: Iterable[Arm], snapshots: Sequence[int] = ()
) -> list[TrainConfig]:
    """The runs of some arms, seed by seed, in the folder that the figures of a preset share."""
    seeded = [(k, arm) for arm in arms for k in arm.setting.seeds_of(arm.method, options.seeds)]
    ordered = sorted(seeded, key=lambda item: item[0])
    return [_training(options, arm, seed, snapshots) for seed, arm in ordered]


def _training(
    options: ReproduceOptions, arm: Arm, seed: int, snapshots: Sequence[int]
) -> TrainConfig:
    setting, method, alpha = arm
    watched = "-watched" if snapshots else ""
    name = f"{setting.name}-{method}-alpha{alpha:g}-seed{seed}{watched}"
    named = recipe(setting.recipe) if setting.recipe else {}
    own = {"data": setting.data, "model": setting.model, "method": method, "alpha": alpha}
    return TrainConfig(
        **{**named, **setting.changes, **own},
        data_root=options.data_root,
        seed=seed,
        snapshots=list(snapshots),
        progress=False,
        output=options.directory / "runs" / name,
    )


def at_one_alpha(
    presets: Mapping[str, Setting], methods: Iterable[str], options: ReproduceOptions
) -> list[TrainConfig]:
    """The runs of a figure of one setting and one α."""
    return trainings(options, [Arm(presets[options.size], method) for method in methods])


def plan(runs: Callable[[ReproduceOptions], list[TrainConfig]], options: ReproduceOptions) -> str:
    """The runs with their states and estimated costs; nothing is written."""
    wanted = runs(options)
    return _plan.plan(wanted, names=[run.directory.name for run in wanted], settings=options)


def nothing(run: RunDirectory, config: TrainConfig) -> None:
    """The history of a run may hold all that is shown."""


def make(options: ReproduceOptions, runs: Sequence[TrainConfig], measure: Finish = nothing) -> Made:
    """Train the runs of a figure and measure each; those that are finished are not run again."""
    check_replaceable(options.directory / options.name, name=options.name)
    names = [run.directory.name for run in runs]
    missing = sweep(runs, measure, names=names, settings=options)
    reasons = list(dict.fromkeys(missing.values()))
    made = [run for run in runs if run.directory.name not in missing]
    if not made:
        raise MixregError(f"nothing to show: {'; '.join(reasons)}")
    return Made(made, reasons, options.size)


def write(options: ReproduceOptions, document: Document) -> tuple[str, Path]:
    """Write the page of a figure; its text for the terminal, and where it lies."""
    folder = options.directory / options.name
    return document.text(), write_document(document, folder, name=options.name)


def evaluate_run(runs: Sequence[TrainConfig], run: RunDirectory, config: TrainConfig) -> None:
    """Evaluate a run with every rescaling, where that is not done or cannot be read."""
    left = [a for a in rescalings(config, runs) if not is_readable(read_evaluation, config, a)]
    if not left:
        return
    trained = load_run(run.path, {"data_root": config.data_root})
    for alpha in left:
        place = evaluation_of(config, alpha)
        place.evaluation.unlink(missing_ok=True)
        evaluate_trained(trained.assuming(alpha), place.path)


def evaluated(
    options: ReproduceOptions, runs: Sequence[TrainConfig]
) -> tuple[Made, list[Evaluated]]:
    """Train the runs of a figure, and evaluate each with every rescaling."""
    made = make(options, runs, partial(evaluate_run, runs))
    pairs = [(run, alpha) for run in made.runs for alpha in rescalings(run, made.runs)]
    return made, [Evaluated(*pair, read_evaluation(*pair)) for pair in pairs]


def rescalings(run: TrainConfig, runs: Sequence[TrainConfig]) -> list[float]:
    """The α that a run is rescaled with: its own, ERM with those of all runs of its setting."""
    others = [r.alpha for r in runs if run.method == "erm" and label(r) == label(run)]
    return sorted({run.alpha, *others})


def evaluation_of(config: TrainConfig, alpha: float) -> RunDirectory:
    """Where the evaluation with an α lies: in the run, or in a folder of it."""
    folder = config.directory
    return RunDirectory(folder if alpha == config.alpha else folder / f"alpha{alpha:g}")


def read_evaluation(config: TrainConfig, alpha: float) -> Evaluation:
    return evaluation_of(config, alpha).read_evaluation()


def is_readable(read: Callable[..., object], *arguments: Any) -> bool:
    """Whether a file is there and whole."""
    try:
        read(*arguments)
    except CheckpointError:
        return False
    return True


def label(config: TrainConfig) -> str:
    """The setting of a run, as `Setting.label` writes it."""
    return f"{config.data}, {config.model}"


def after(epoch: float) -> str:
    """What predicts in a record of a training: the network after an epoch."""
    return f"epoch {epoch:g}"


def at_end(records: Records) -> Records:
    """The records of the last epoch."""
    return records.where(prediction=records[-1].prediction)


def course(records: Records, metric: str) -> dict[int, MeanInterval]:
    """Means over seeds by epoch."""
    return {
        int(prediction.removeprefix("epoch ")): mean
        for prediction in dict.fromkeys(record.prediction for record in records)
        if (mean := records.mean(metric, prediction=prediction))
    }


def draw_courses(
    axes: Axes, records: Records, metric: str, lines: Mapping[str, tuple[str, str, str]]
) -> None:
    """A metric by epoch, a line with its band for each method by its name, colour and style."""
    axes.set_xlabel("epoch")
    for method, line in lines.items():
        if means := course(records.where(method=method), metric):
            figures.draw_band(axes, figures.Line(*line, list(means), list(means.values())))


def rows(
    records: Records, names: Mapping[str, str], reference: Records
) -> list[tuple[str, None, Records, Records]]:
    """The rows of a table of methods by their names, those that there is nothing of left out."""
    by_method = [(name, records.where(method=method)) for method, name in names.items()]
    return [(name, None, own, reference) for name, own in by_method if own]


def place(records: Records) -> str:
    """Where a claim is tested in a figure of one setting and one α."""
    return f"{records[0].setting}, α = {ALPHA:g}"


def difference(metric: MetricName, compared: str) -> str:
    """The difference of a metric of the test set in words, with its unit."""
    form = METRIC_FORMATS[metric]
    unit = f" in {form.step}" if form.step else ""
    return f"test {form.label}{unit}, {compared}"


def figure_document(
    made: Made,
    title: str,
    *,
    records: Records,
    claims: Iterable[Claim],
    answers: Iterable[Entry] = (),
    caveats: Sequence[str] = (),
    **content: Any,
) -> Document:
    """What a figure says: its own answers, and how each sentence of the paper fared."""
    smaller = (
        f"Scale {made.preset}: smaller networks, fewer epochs and fewer repetitions than the "
        "paper's; the settings are below."
    )
    chance = "Many tests are made; one in twenty intervals misses by chance."
    tested = list(claims)
    return Document(
        title,
        f"{'; '.join(dict.fromkeys(map(label, made.runs)))}; scale {made.preset}",
        findings=[*answers, *_findings(tested)],
        caveats=[*([] if made.preset == "paper" else [smaller]), *caveats, chance],
        records=records,
        claims=tested,
        missing=made.missing,
        settings=[run.identity() for run in made.runs],
        environment=[RunDirectory(run.directory).read_environment() for run in made.runs],
        **content,
    )


def _findings(claims: Sequence[Claim]) -> Iterator[Entry]:
    """How each sentence of the paper fared over its tests."""
    for statement in dict.fromkeys(claim.statement for claim in claims):
        verdicts = [claim.verdict for claim in claims if claim.statement == statement]
        counts = ", ".join(f"{v} in {verdicts.count(v)}" for v in dict.fromkeys(verdicts))
        tests = "test" if len(verdicts) == 1 else "tests"
        alone = verdicts[0] if len(set(verdicts)) == 1 else ""
        text = f"“{statement}” {len(verdicts)} {tests}: {counts}."
        yield Entry(text, _JUDGED.get(alone, "undecided"))
