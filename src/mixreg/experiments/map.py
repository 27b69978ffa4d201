"""The map: what a law of mixing buys, over its two numbers a1 = E(1 − θ) and a2 = E(1 − θ)².

A law exists where a1² ≤ a2 ≤ a1/2, and Beta(α, α) is one curve through this set. Beside some laws
on the curve stand others with the same a1, from a constant θ to halves that are mixed at times.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from mixreg._random import generator
from mixreg._stored import Kept
from mixreg.diagnostics import jacobian_norms, roughness
from mixreg.evaluation import Correction, MeanInterval, mean_interval
from mixreg.experiments import _runs
from mixreg.experiments._runs import DIGITS, Setting
from mixreg.laws import Beta
from mixreg.report import (
    Claim,
    Document,
    Entry,
    Expected,
    Record,
    Records,
    Sentence,
    Table,
    figures,
    paired,
)
from mixreg.report.records import (
    METRIC_FORMATS,
    Judgement,
    MetricFormat,
    judge,
    mean_over_seeds,
    mean_text,
    metric_format,
)
from mixreg.risk import approximate_mixup_risk
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, TrainConfig, load_data, load_run


class Grid(NamedTuple):
    """A setting, the α in whose columns there are laws off the curve, and their places there."""

    setting: Setting
    columns: tuple[float, ...]
    levels: tuple[float, ...] = (0.0, 1.0)  # from a2 = a1² to a2 = a1/2


_ALPHAS = (0.2, 0.5, 1.0, 4.0)
_LENET: dict[str, Any] = {"model": "lenet", "recipe": "cifar-lenet", "alphas": _ALPHAS}
_LENET |= {"changes": {"epochs": 20, "milestones": [10]}, "seeds": 3, "costly_seeds": 3}
_RESNET: dict[str, Any] = {"model": "resnet34", "recipe": "cifar-resnet34", "alphas": _ALPHAS}
_TABLE = Setting(
    data="breast-cancer", model="mlp", alphas=_ALPHAS, changes={"epochs": 50}, seeds=5,
    costly_seeds=5,
)  # fmt: skip
PRESETS = {
    "paper": tuple(
        Grid(Setting(data=data, **_RESNET, seeds=5, costly_seeds=5), _ALPHAS, (0.0, 0.5, 1.0))
        for data in ("cifar10", "cifar100")
    ),
    "cpu": (
        Grid(Setting(data="cifar10", **_LENET), (0.2, 1.0, 4.0)),
        Grid(Setting(data="cifar100", **_LENET), (0.2, 1.0, 4.0)),
        Grid(_TABLE, _ALPHAS),
    ),
    "smoke": (Grid(dataclasses.replace(DIGITS, alphas=(0.5, 1.0)), (1.0,)),),
}

NOISE = 0.5  # deviation of the noise on test inputs, which are of deviation 1
SAMPLES, PAIRS = 500, 2000  # test inputs of the Jacobian, and pairs of them for the roughness
RANKED_ON = 200  # training examples on which the terms of other networks rank the laws

NOISY = "raw, noisy inputs"
SHOWN = {  # what the map shows: metric, and of which prediction
    **{
        f"{METRIC_FORMATS[metric].label}, {name}": (metric, prediction)
        for prediction, name in (
            ("raw", "raw"),
            ("rescaled", "rescaled"),
            ("scale-only", "outputs only"),
        )
        for metric in _runs.BETTER
    },
    "Accuracy, noisy inputs": ("accuracy", NOISY),
    "Roughness": ("roughness", "raw"),
    "Jacobian": ("jacobian", "raw"),
    "Confidence": ("confidence", "raw"),
}
FORMATS = {
    "roughness": MetricFormat("Roughness", -1, 1, 3),
    "jacobian": MetricFormat("‖∇f‖_F", -1, 1, 3),
    "lost by noise": MetricFormat("Accuracy lost by noise", -1, 1, 2, "%", "points"),
}
RANKED = ("Accuracy, raw", "NLL, raw", "ECE, raw", "NLL, outputs only", "Accuracy, noisy inputs")
TERMS = {"total": "approximate risk (12)", "modified": "its loss on modified data", "r1": "R1"}
TERMS |= {"r1_plus_r3": "R1 + R3"}
ERM = "ERM"

PLACE = "section 5, table 1"
SMOOTHS = Sentence("Mixup implicitly performs label smoothing.", "section 5")
CALIBRATES = Sentence("The shrinkage of Mixup, a1, calibrates.", PLACE)
STRAIGHTENS = Sentence("The noise of Mixup, a2, regularizes the Jacobian.", PLACE)
PROTECTS = Sentence("The noise of Mixup, a2, makes predictions robust to noise.", PLACE)
PREDICTED: Sequence[tuple[Sentence, str, int, Expected, str]] = (
    (SMOOTHS, "Confidence", 1, "negative", "mean confidence in points"),
    (CALIBRATES, "ECE, raw", 1, "negative", "test ECE in points"),
    (STRAIGHTENS, "Roughness", 2, "negative", "roughness"),
    (STRAIGHTENS, "Jacobian", 2, "negative", "‖∇f‖_F at test inputs"),
    (PROTECTS, "lost by noise", 2, "negative", "accuracy lost by noise on the inputs in points"),
)
"""Sentence, what it speaks of, the axis, the side of its slope, and that in words."""


class Point(NamedTuple):
    """A law of the map."""

    name: str
    a1: float
    a2: float
    is_beta: bool


def point_of(run: TrainConfig) -> Point:
    """Where the law of a run lies."""
    if run.method == "erm":
        return Point(ERM, 0.0, 0.0, True)
    law = run.law
    if run.theta_mean is None:
        return Point(f"Beta({run.alpha:g})", law.shrinkage, law.gamma_squared, True)
    a1, a2 = 1 - run.theta_mean, float(run.gamma_squared or 0)
    kind = "constant" if a2 == a1**2 else "halves" if a2 == a1 / 2 else "between"
    return Point(f"{kind}, a1 = {a1:.3f}, a2 = {a2:.3f}", a1, a2, False)


def runs(options: ReproduceOptions) -> list[TrainConfig]:
    """ERM, Mixup at each α, and the laws off the curve, seed by seed."""
    wanted: list[TrainConfig] = []
    for setting, columns, levels in PRESETS[options.size]:
        alphas = [_runs.Arm(setting, "mixup", alpha) for alpha in setting.alphas]
        on_curve = _runs.trainings(options, [_runs.Arm(setting, "erm"), *alphas])
        wanted += on_curve
        for run in on_curve:
            if run.method == "mixup" and run.alpha in columns:
                wanted += [_off_curve(setting, run, level) for level in levels]
    return sorted(wanted, key=lambda run: run.seed)


def _off_curve(setting: Setting, run: TrainConfig, level: float) -> TrainConfig:
    """The run of a law with the a1 of another one."""
    theta = run.law.theta_mean
    gamma = (1 - level) * (1 - theta) ** 2 + level * (1 - theta) / 2
    name = f"{setting.name}-mixup-theta{theta:g}-gamma{gamma:g}-seed{run.seed}"
    place = run.directory.with_name(name)
    return dataclasses.replace(run, alpha=1.0, theta_mean=theta, gamma_squared=gamma, output=place)


plan = partial(_runs.plan, runs)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, evaluate and measure each law, and write the map."""
    wanted = runs(options)
    laws = {point_of(run).name: run for run in wanted if run.method == "mixup"}
    made = _runs.make(options, wanted, partial(measure, list(laws.values())))
    records = Records(record for run in made.runs for record in recorded(run))
    return _runs.write(options, document(records, made))


# -- what is measured of each run ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the evaluation of a run does not hold; for ERM and Beta(1) the terms by law."""

    noisy_accuracy: float
    jacobian: float
    roughness: float | None
    terms: dict[str, dict[str, float]]


MEASURED = Kept("map.json", Measured)


def measure(laws: Sequence[TrainConfig], run: RunDirectory, config: TrainConfig) -> None:
    """Evaluate a run, and measure it under noise and at its Jacobian, unless that is done."""
    _runs.evaluate_run([config], run, config)
    if MEASURED.find(run.path):
        return
    trained = load_run(run.path, {"data_root": config.data_root})
    net, source, right = trained.net, generator("map", "noise"), 0
    with torch.inference_mode():
        for x, y in trained.data.batches("test", SAMPLES):
            noise = NOISE * torch.randn(x.shape, generator=source)
            right += int((net(x + noise).argmax(1) == y).sum())
    x, _ = next(iter(trained.data.batches("test", SAMPLES)))
    terms = {}
    if point_of(config).name in {ERM, "Beta(1)"}:
        data = load_data(dataclasses.replace(trained.config, augment=False))
        examples = next(iter(data.train_batches(RANKED_ON, seed=config.seed, epoch=0)))
        for other in laws:
            risk = approximate_mixup_risk(net, *examples, config.loss, other.law)
            terms[point_of(other).name] = {term: float(getattr(risk, term)) for term in TERMS}
    measured = Measured(
        right / trained.data.size("test"),
        float(jacobian_norms(net, x).outputs.mean()),
        roughness(net, x, generator=generator("map", "pairs"), pairs=PAIRS).value,
        terms,
    )
    MEASURED.write(run.path, measured)


def recorded(run: TrainConfig) -> Iterator[Record]:
    """Every number of a run, by the name of its law."""
    point, measured = point_of(run), MEASURED.read(run.directory)
    row = _runs.label(run), point.name, None, run.seed
    results = RunDirectory(run.directory).read_evaluation().results
    for metric, prediction in SHOWN.values():
        # Equation 22 changes nothing where nothing was mixed.
        if result := results.get(cast(Correction, prediction)):
            used = results["raw"] if point.name == ERM else result
            if hasattr(used.metrics, metric):
                yield Record(*row, prediction, metric, getattr(used.metrics, metric))
    yield Record(*row, NOISY, "accuracy", measured.noisy_accuracy)
    yield Record(*row, "raw", "jacobian", measured.jacobian)
    if measured.roughness is not None:
        yield Record(*row, "raw", "roughness", measured.roughness)
    for law, terms in measured.terms.items():
        for term, value in terms.items():
            yield Record(*row, law, term, value)


# -- what it says ----------------------------------------------------------------------------------


def by_seed(records: Records, law: str, shown: str) -> dict[int, float]:
    """A number of the map by seed, in the unit it is shown in."""
    if shown == "lost by noise":
        return paired(
            by_seed(records, law, "Accuracy, raw"), by_seed(records, law, "Accuracy, noisy inputs")
        )
    metric, prediction = SHOWN[shown]
    return records.by_seed(metric, method=law, prediction=prediction)


def form_of(shown: str) -> MetricFormat:
    """How a number of the map is written; its factor is already in it."""
    metric = SHOWN[shown][0] if shown in SHOWN else shown
    return FORMATS.get(metric, metric_format(metric))._replace(factor=1)


def slopes(records: Records, points: Sequence[Point], shown: str) -> list[dict[int, float]]:
    """Of each seed the plane b0 + b1 a1 + b2 a2 by least squares over all laws: its b1 and b2."""
    values = {point: by_seed(records, point.name, shown) for point in points}
    places = np.array([[1, point.a1, point.a2] for point in points])
    seeds = set.intersection(*(set(v) for v in values.values()))
    planes = {
        seed: np.linalg.lstsq(places, np.array([v[seed] for v in values.values()]))[0]
        for seed in sorted(seeds)
    }
    return [{seed: 0.1 * float(plane[axis]) for seed, plane in planes.items()} for axis in (1, 2)]


def document(records: Records, made: _runs.Made) -> Document:
    """The map of each setting: what each axis buys, who wins, and whether the terms tell."""
    settings = [grid.setting for grid in PRESETS[made.preset]]
    own = [(s, records.where(setting=s.label), points_of(s, made)) for s in settings]
    maps = [each for each in own if each[2]]
    return _runs.figure_document(
        made,
        "The map of mixing laws",
        records=records,
        claims=[claim for each in maps for claim in claims(*each)],
        answers=[entry for each in maps for entry in winners(*each)],
        caveats=[
            "What an axis buys is an average over the whole map; the pictures show where it bends."
        ],
        tables=[table for each in maps for table in tables(*each)],
        frames=[sequence(*each) for each in maps],
    )


def points_of(setting: Setting, made: _runs.Made) -> list[Point]:
    """The laws of a setting, by a1 and a2."""
    laws = {point_of(run) for run in made.runs if _runs.label(run) == setting.label}
    return sorted(laws, key=lambda point: (round(point.a1, 9), point.a2))


def claims(setting: Setting, records: Records, points: Sequence[Point]) -> Iterator[Claim]:
    """What the paper predicts of each axis."""
    for said, shown, axis, side, words in PREDICTED:
        slope = slopes(records, points, shown)[axis - 1]
        other = "a2" if axis == 1 else "a1"
        measured = f"{words} for each 0.1 of a{axis} at the same {other}"
        yield from said.test(setting.label, measured, slope, side)


def winners(setting: Setting, records: Records, points: Sequence[Point]) -> Iterator[Entry]:
    """The laws off the curve that are better than every one on it, beyond the interval."""
    curve = [point.name for point in points if point.is_beta]
    judged_by = [s for s in SHOWN if SHOWN[s][0] in _runs.BETTER]
    found = False
    for point in (point for point in points if not point.is_beta):
        best = [
            f"{shown} ({mean_text(mean, form_of(shown))})"
            for shown in judged_by
            if all(judged(records, shown, point.name, law) == "better" for law in curve)
            if (mean := _mean(records, point.name, shown))
        ]
        if best:
            found = True
            text = f"{point.name}, is better than every law of the curve in {'; '.join(best)}."
            yield Entry(text, "better", setting.label)
    if not found:
        text = f"In none of {len(judged_by)} numbers is a law off the curve of Beta(α, α) shown to "
        yield Entry(f"{text}be better than every one on it.", beside=setting.label)


def judged(records: Records, shown: str, law: str, reference: str = "Beta(1)") -> Judgement:
    """Whether a law is better or worse than another one, paired by seed."""
    effect = paired(by_seed(records, law, shown), by_seed(records, reference, shown))
    mean = mean_over_seeds(effect)
    return judge(mean, form_of(shown).direction) if mean else "undecided"


def _mean(records: Records, law: str, shown: str) -> MeanInterval | None:
    return mean_over_seeds(by_seed(records, law, shown))


def tables(setting: Setting, records: Records, points: Sequence[Point]) -> Iterator[Table]:
    """Every law, what each axis buys, and how well the terms of other networks rank the laws."""
    seeds = len({record.seed for record in records})
    yield Table(
        f"map-{setting.name}",
        f"Every law: {setting.label}",
        f"{_runs.MEANS}, {seeds} seeds. Better or worse than Beta(1) where the 95% interval of the "
        f"difference, paired by seed, excludes 0. Noise on inputs has the deviation {NOISE:g}.",
        ["law", "a1", "a2", *SHOWN],
        [(p.name, list(_cells(records, p))) for p in points],
    )
    axes = {shown: slopes(records, points, shown) for shown in (*SHOWN, "lost by noise")}
    yield Table(
        f"axes-{setting.name}",
        f"What each axis buys: {setting.label}",
        "Change for each 0.1 of one number while the other stays, of the plane that fits all laws "
        "best, with half the width of its 95% interval over seeds.",
        ["", "for 0.1 of a1", "for 0.1 of a2"],
        [
            (FORMATS[s].label if s in FORMATS else s, [_slope(slope, s) for slope in both])
            for s, both in axes.items()
        ],
    )
    ranked = list(_ranks(records, [p for p in points if p.name != ERM]))
    yield Table(
        f"ranking-{setting.name}",
        f"Ranking laws without training on each: {setting.label}",
        "Rank correlation (Spearman), over the laws that mix, of a term of equation 12 at a "
        f"network that was trained once, on {RANKED_ON} training examples, with what training on "
        "each law gave. Mean over seeds with half the width of its 95% interval.",
        ["term, of the network", *RANKED],
        ranked,
    )


def _cells(records: Records, point: Point) -> Iterator[Entry]:
    yield from (Entry(f"{point.a1:.4f}"), Entry(f"{point.a2:.4f}"))
    for shown in SHOWN:
        mean = _mean(records, point.name, shown)
        text = mean_text(mean, form_of(shown)) if mean else ""
        yield Entry(text, judged(records, shown, point.name))


def _slope(values: Mapping[int, float], shown: str) -> Entry:
    mean, form = mean_interval(list(values.values())), form_of(shown)
    sign = "+" if mean.mean > 0 else ""
    return Entry(sign + mean_text(mean, form), judge(mean, form.direction))


def _ranks(records: Records, laws: Sequence[Point]) -> Iterator[tuple[str, list[Entry]]]:
    """Rank correlations of each predictor with what was measured, a row for each."""

    def row(predictors: Iterable[Sequence[float]]) -> list[Entry]:
        known = list(predictors)
        cells = []
        for shown in RANKED:
            truth = [mean.mean for law in laws if (mean := _mean(records, law.name, shown))]
            if min(len(set(values)) for values in [truth, *known]) == 1:
                cells.append(Entry("none"))  # what is constant ranks nothing
                continue
            found = [float(spearmanr(predictor, truth).statistic) for predictor in known]
            cells.append(Entry(mean_text(mean_interval(found), MetricFormat("", digits=2))))
        return cells

    for axis in ("a1", "a2"):
        yield f"{axis} itself", row([[getattr(law, axis) for law in laws]])
    for source in (ERM, "Beta(1)"):
        for term, words in TERMS.items():
            known = [records.by_seed(term, method=source, prediction=law.name) for law in laws]
            yield f"{words}, {source}", row([v[seed] for v in known] for seed in known[0])


# -- the picture -----------------------------------------------------------------------------------

_COLOURS = {"better": figures.BLUE, "worse": figures.RED, "undecided": figures.GREY}


def sequence(
    setting: Setting, records: Records, points: Sequence[Point]
) -> figures.PictureSequence:
    """The map, one picture for each number, as a slider."""
    frames = []
    for k, shown in enumerate(SHOWN):
        form = form_of(shown)
        values = [(p, mean) for p in points if (mean := _mean(records, p.name, shown))]
        told = "; ".join(f"{p.name} {mean_text(mean, form)}" for p, mean in values)
        picture = figures.Picture(
            f"map-{setting.name}-{k}",
            f"{shown}: {setting.label}",
            "",
            f"{shown} {form.unit}: {told}.".replace("  ", " "),
            figures.draw(partial(figure, shown, values, records)),
        )
        frames.append(figures.Frame(shown, picture))
    return figures.PictureSequence(
        f"map-{setting.name}",
        f"The map: {setting.label}",
        "Each mark is a law: rounds lie on the curve of Beta(α, α), squares are laws by design. "
        "There is no law outside the shaded set. Numbers are means over seeds; blue is better and "
        "vermilion worse than Beta(1) beyond the 95% interval of the paired difference.",
        "shown",
        frames,
    )


def figure(shown: str, values: Sequence[tuple[Point, MeanInterval]], records: Records) -> Figure:
    """The feasible set, the curve of Beta(α, α), and a number at each law."""
    drawn, (axes,) = figures.panels(1, size=(7.4, 4.4))
    a1 = np.linspace(0, 0.5, 26)
    axes.fill_between(a1, a1**2, a1 / 2, color=figures.GRID, alpha=0.5, linewidth=0)
    curve = [Beta(alpha) for alpha in np.geomspace(1e-2, 1e3, 40)]
    axes.plot(
        [law.shrinkage for law in curve],
        [law.gamma_squared for law in curve],
        color=figures.FAINT,
        linewidth=1.2,
    )
    form = form_of(shown)
    for point, mean in values:
        colour = _COLOURS[judged(records, shown, point.name)]
        marker = "o" if point.is_beta else "s"
        axes.plot([point.a1], [point.a2], marker, color=colour, markersize=6)
        axes.annotate(
            f"{mean.mean:.{form.digits}f}",
            (point.a1, point.a2),
            (-6, 4) if point.is_beta else (7, -3),
            textcoords="offset points",
            horizontalalignment="right" if point.is_beta else "left",
            color=colour,
            size=9,
        )
    unit = f" ({form.unit})" if form.unit else ""
    axes.set(
        title=f"{shown}{unit}",
        xlabel="a1 = E(1 − θ): shrinkage, label smoothing",
        ylabel="a2 = E(1 − θ)²: noise",
        xlim=(-0.06, 0.53),
        ylim=(-0.01, 0.26),
    )
    return drawn
