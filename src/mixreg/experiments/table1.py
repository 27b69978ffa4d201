"""Table 1 by measurement: what each regularizer does, as paired differences to ERM.

Each column of the paper's table is a claim and a guard. A claim counts only where the guard does
not speak against it, since each claim alone can be had for nothing:

- Calibration. Claim: a lower ECE. A constant prediction of the class frequencies has an ECE of
  zero; guard: the NLL, a proper score.
- Jacobian regularization. Claim: a smaller roughness, the slope between test samples over that of
  straight lines, which is at least 1 for any network and knows no scale. ‖∇f‖_F at the samples
  alone shrinks with the logits, as under any temperature above one, which changes nothing about
  the classifier; it is the guard. ‖∇p‖_F, which vanishes where predictions are sure, is a further
  number.
- Robustness to label noise. Claim: a smaller loss of test accuracy when training labels are
  replaced. A classifier that is bad without noise has little to lose; guard: the accuracy with it.
- Input normalization. Mixup trains on inputs shrunk towards x̄ (5), by all θ in [½, 1]. What of it
  can be measured for any method is how little the test accuracy depends on the scale s of inputs
  x̄ + s(x − x̄). Claim: a smaller loss of accuracy; guard: the accuracy at those inputs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from mixreg import _stored
from mixreg._random import generator
from mixreg.calibration import describe_limit, search_temperature
from mixreg.diagnostics import jacobian_norms, roughness
from mixreg.evaluation import MeanInterval, mean_interval, metrics, paired_difference
from mixreg.experiments import _runs
from mixreg.experiments._sweep import complete_seeds, sweep
from mixreg.losses import two_class_logits
from mixreg.prediction import RescaledModel
from mixreg.report import (
    Document,
    Entry,
    Picture,
    Record,
    Records,
    Table,
    check_replaceable,
    write_document,
)
from mixreg.report import figures as style
from mixreg.report.charts import draw_effects
from mixreg.report.comparison import FEW_SEEDS
from mixreg.report.records import (
    METRIC_FORMATS,
    MetricFormat,
    difference_text,
    judge,
    mean_text,
    multiplicity,
    number,
    range_text,
)
from mixreg.settings import ReproduceOptions
from mixreg.training import METHODS, RunDirectory, TrainConfig, TrainedClassifier, load_run

COLUMNS = {
    "calibration": "Calibration",
    "jacobian": "Jacobian reg.",
    "label-noise": "Robustness label noise",
    "input-normalization": "Input normalization",
}
_RIGHT = METRIC_FORMATS["accuracy"]
_LOST = MetricFormat("", -1, 100, 2, "points", "points")
MEASURES = {  # of each row and seed
    "accuracy": _RIGHT,
    "ece": METRIC_FORMATS["ece"],
    "nll": METRIC_FORMATS["nll"],
    "roughness": MetricFormat("Roughness", -1),
    "jacobian": MetricFormat("‖∇f‖_F", -1, digits=3),
    "probability_jacobian": MetricFormat("‖∇p‖_F", -1),
    "noise_drop": _LOST._replace(label="Lost by label noise"),
    "noisy_accuracy": _RIGHT._replace(label="Accuracy with it"),
    "scale_drop": _LOST._replace(label="Lost by input scale"),
    "scaled_accuracy": _RIGHT._replace(label="Accuracy at it"),
}
DECIDING = {  # claim and guard of each column
    "calibration": ("ece", "nll"),
    "jacobian": ("roughness", "jacobian"),
    "label-noise": ("noise_drop", "noisy_accuracy"),
    "input-normalization": ("scale_drop", "scaled_accuracy"),
}
FURTHER = ("accuracy", "probability_jacobian")


class Row(NamedTuple):
    """A row of the table: a method and the way of predicting with its models."""

    method: str
    prediction: str

    @property
    def label(self) -> str:
        """Name in tables and pictures."""
        if self.prediction == "temperature":
            return "temperature scaling"
        return self.method if self.prediction == "raw" else f"{self.method}, {self.prediction}"


ERM = Row("erm", "raw")
PAPER = {  # its checkmarks; an absent one means "not known"
    Row("label-smoothing", "raw"): {"calibration"},
    Row("spectral", "raw"): {"jacobian"},
    Row("dropout", "raw"): {"calibration", "jacobian", "label-noise"},
    Row("erm", "temperature"): {"calibration"},
    Row("mixup", "raw"): set(COLUMNS),
}
_METHODS = ("erm", "label-smoothing", "spectral", "dropout", "mixup", "approximate")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Methods × label noise × seeds, and what is measured of each run."""

    recipe: Mapping[str, Any]
    methods: tuple[str, ...] = _METHODS
    seeds: int = 5  # repetition k has the seed k for every method
    noise_levels: tuple[float, ...] = (0.0, 0.2, 0.4)  # all but robustness to it is measured at 0
    input_scales: tuple[float, ...] = (0.5, 0.75, 1.25, 1.5)
    jacobian_samples: int = 1000  # test samples, or all if there are fewer
    pairs: int = 4000  # of these samples, that the roughness is estimated from


_DIGITS = {"data": "digits", "model": "mlp", "batch_size": 64, "learning_rate": 0.05}
_CIFAR = {"data": "cifar10", "model": "lenet", "augment": False, "batch_size": 128}
PRESETS: Mapping[str, Preset] = {  # in the paper the table is a summary without an experiment
    "paper": Preset(recipe={**_CIFAR, "epochs": 200, "learning_rate": 0.01, "milestones": [100]}),
    "cpu": Preset(recipe={**_DIGITS, "epochs": 100}),
    "smoke": Preset(
        recipe={**_DIGITS, "epochs": 2}, seeds=2, noise_levels=(0.0, 0.4), jacobian_samples=50
    ),
}

# -- runs, and what is measured of each ------------------------------------------------------------

BATCH = 500

Predictor = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Measured:
    """Numbers of one run by prediction and metric; `remark` says why its temperature is a bound."""

    input_scales: tuple[float, ...]
    jacobian_samples: int
    pairs: int
    values: dict[str, dict[str, float]]
    remark: str | None = None


def runs(options: ReproduceOptions) -> list[TrainConfig]:
    """One run for each seed, noise level and method."""
    preset = preset_of(options)
    return [
        TrainConfig(
            **preset.recipe,
            data_root=options.data_root,
            progress=False,
            label_noise=noise,
            method=method,
            seed=seed,
            output=options.directory / "runs" / f"{method}-noise{noise:g}-seed{seed}",
        )
        for seed in range(preset.seeds)
        for noise in preset.noise_levels
        for method in preset.methods
    ]


plan = partial(_runs.plan, runs)


def preset_of(options: ReproduceOptions) -> Preset:
    """The preset of a size with the seeds that were asked for."""
    preset = PRESETS[options.size]
    return replace(preset, seeds=options.seeds or preset.seeds)


def measure_run(preset: Preset, run: RunDirectory, config: TrainConfig) -> None:
    """Measure a finished run and store the numbers in its directory, once for the same settings."""
    if _runs.is_readable(read_measured, run):
        stored, wanted = (
            (m.input_scales, m.jacobian_samples, m.pairs) for m in (read_measured(run), preset)
        )
        if stored == wanted:
            return
    measured = measure(load_run(run.path, {"data_root": config.data_root}), preset)
    _stored.write(run.path / "table1.json", measured)


def read_measured(run: RunDirectory) -> Measured:
    """What `measure_run` stored."""
    remedy = "delete it and run the same command again"
    return _stored.decode(run.path / "table1.json", Measured, remedy=remedy)


def measure(trained: TrainedClassifier, preset: Preset) -> Measured:
    """The raw prediction; a temperature for ERM; equation 22 for methods that shrink their data."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, remark = trained.net.to(device), None
    x = _jacobian_inputs(trained, preset.jacobian_samples).to(device)

    def predictor(model: nn.Module) -> Predictor:
        return lambda x: two_class_logits(model(x.to(device)))

    raw = predictor(net)
    values = {"raw": _measure(raw, trained, preset, x)}
    if trained.config.method == "erm" and trained.data.size("validation") > 0:
        fit = search_temperature(*_logits(raw, trained.data.batches("validation", BATCH)))
        remark = fit.limit and describe_limit(fit.limit)
        cooled = _measure(raw, trained, preset, x, fit.temperature)
        values["temperature"] = cooled | {"temperature": fit.temperature}
    if METHODS[trained.config.method].mixes:
        model = RescaledModel(net, trained.stats, trained.law, trained.config.link).eval()
        values["rescaled"] = _measure(predictor(model), trained, preset, x)
    return Measured(preset.input_scales, preset.jacobian_samples, preset.pairs, values, remark)


def _measure(
    predictor: Predictor,
    trained: TrainedClassifier,
    preset: Preset,
    x: Tensor,
    temperature: float = 1.0,
) -> dict[str, float]:
    """One way of predicting, on the test set, on it scaled about x̄, and at the samples x."""
    mean = trained.stats.x_mean.float()
    values: dict[str, float] = {}
    for scale in (1.0, *preset.input_scales):
        batches = trained.data.batches("test", BATCH)
        moved = batches if scale == 1 else ((mean + scale * (x - mean), y) for x, y in batches)
        logits, labels = _logits(predictor, moved)
        numbers = metrics(logits / temperature, labels)
        if scale == 1:
            values |= {"accuracy": numbers.accuracy, "nll": numbers.nll, "ece": numbers.ece}
        else:
            values |= {_at(scale, "accuracy"): numbers.accuracy, _at(scale, "nll"): numbers.nll}
    norms = jacobian_norms(lambda x: predictor(x) / temperature, x)
    assert norms.probabilities is not None
    values["jacobian"] = float(norms.outputs.mean())
    values["probability_jacobian"] = float(norms.probabilities.mean())
    # A temperature does not change the roughness; the pairs are the same for all runs.
    source = generator("table 1", "pairs")
    rough = roughness(predictor, x, generator=source, pairs=preset.pairs).value
    return values if rough is None else values | {"roughness": rough}


def _at(scale: float, metric: str) -> str:
    return f"{metric} at scale {scale:g}"


def _logits(
    predictor: Predictor, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Logits on the CPU in float64, and labels."""
    with torch.no_grad():
        parts = [(predictor(x).double().cpu(), y) for x, y in batches]
    return torch.cat([u for u, _ in parts]), torch.cat([y for _, y in parts])


def _jacobian_inputs(trained: TrainedClassifier, samples: int) -> Tensor:
    """Test inputs drawn once for all runs, in the order of the test set."""
    inputs = torch.cat([x for x, _ in trained.data.batches("test", BATCH)])
    chosen = torch.randperm(len(inputs), generator=generator("table 1"))[:samples]
    return inputs[chosen.sort().values]


# -- records: every number of a row, by seed -------------------------------------------------------


def records_of(runs: Sequence[TrainConfig], measured: Sequence[Measured]) -> Records:
    """The measures of every row, and the accuracies that the pictures draw."""
    by_run = {(r.method, r.label_noise, r.seed): m for r, m in zip(runs, measured, strict=True)}
    noises = sorted({run.label_noise or 0.0 for run in runs} - {0.0})
    rows = []
    for run in (run for run in runs if not run.label_noise):
        clean = by_run[run.method, 0.0, run.seed]
        for prediction, values in clean.values.items():
            others = [by_run[run.method, q, run.seed].values[prediction] for q in noises]
            noisy, accuracy = [other["accuracy"] for other in others], values["accuracy"]
            scaled = fmean(values[_at(scale, "accuracy")] for scale in clean.input_scales)
            numbers = values | {"scale_drop": accuracy - scaled, "scaled_accuracy": scaled}
            numbers |= {f"accuracy with noise {q:g}": a for q, a in zip(noises, noisy, strict=True)}
            if noisy:
                numbers["noise_drop"] = fmean(accuracy - a for a in noisy)
                numbers["noisy_accuracy"] = fmean(noisy)
            about = f"{run.data}, {run.model}", run.method, run.alpha, run.seed, prediction
            rows += [Record(*about, *number) for number in numbers.items()]
    return Records(rows)


class Effect(NamedTuple):
    """One measure of one row, and its difference to raw ERM, paired by seed."""

    mean: MeanInterval
    difference: MeanInterval
    judgement: Any


Effects = Mapping[Row, Mapping[str, Effect]]


def effects_of(records: Records) -> dict[Row, dict[str, Effect]]:
    """Every measure of every row that all its seeds have, ERM first."""
    rows: dict[Row, dict[str, Effect]] = {}
    known = dict.fromkeys(Row(r.method, r.prediction) for r in records)
    for row in sorted(known, key=lambda row: row != ERM):
        rows[row] = {}
        seeds = len(by_seed(records, row, "accuracy"))
        for measure, form in MEASURES.items():
            ours, reference = (by_seed(records, r, measure) for r in (row, ERM))
            if len(ours) == len(reference) == seeds:
                difference = paired_difference(ours, reference)
                judgement = judge(difference, form.direction)
                mean = mean_interval(list(ours.values()))
                rows[row][measure] = Effect(mean, difference, judgement)
    return rows


def by_seed(records: Records, row: Row, metric: str) -> dict[int, float]:
    """A number of a row, by seed."""
    return {r.seed: r.value for r in records.where(**row._asdict(), metric=metric)}


# -- verdicts, tables and sentences ----------------------------------------------------------------

MARKS = {"shown": "✓", "opposite": "✗", "mixed": "±", "not shown": "·", "not measured": "–"}
JUDGED: Any = {"shown": "better", "opposite": "worse"}


def verdict(effects: Mapping[str, Effect], column: str) -> str:
    """What the claim and the guard of a column say together."""
    if any(measure not in effects for measure in DECIDING[column]):
        return "not measured"
    claim, guard = (effects[measure].judgement for measure in DECIDING[column])
    if claim == "undecided":
        return "not shown"
    if {claim, guard} == {"better", "worse"}:
        return "mixed"
    return "shown" if claim == "better" else "opposite"


def tables(rows: Effects, seeds: int) -> Iterator[Table]:
    """The verdicts beside the paper's, a table for each column, and what decides nothing."""
    yield Table(
        "table1",
        "Measured | paper (✓ shown, ✗ the opposite, ± contradictory, · not shown, – not measured)",
        "Before the bar: ✓ shown, ✗ the opposite shown, ± claim and guard contradict each other, "
        f"· no effect that these {seeds} seeds can show, – not measured. Behind it: the checkmark "
        "of the paper, a blank where it says that none is known, – for rows it lacks. A verdict "
        "takes the 95% intervals of paired differences to ERM: of ECE, roughness, accuracy "
        "lost by label noise and by the scale of the inputs; each counts only where its guard, the "
        "NLL, ‖∇f‖_F, and the accuracy with that noise and at those inputs, is not shown to be "
        "worse.",
        ["", *COLUMNS.values()],
        [
            (r.label, [_mark(r, verdict(e, c), c) for c in COLUMNS])
            for r, e in rows.items()
            if r != ERM
        ],
    )
    for name, title in {**COLUMNS, "further": "Further"}.items():
        measures = DECIDING.get(name, FURTHER)
        headings = (text for m in measures for text in (MEASURES[m].heading, "to ERM (95% CI)"))
        yield Table(
            name,
            title,
            "Mean ± half the width of its 95% confidence interval over seeds, and the difference "
            "to ERM, paired by seed, with its interval. Label noise and input scales are averages "
            "over their levels.",
            ["", *headings],
            [(r.label, [c for m in measures for c in _cells(r, e, m)]) for r, e in rows.items()],
        )


def _mark(row: Row, said: str, column: str) -> Entry:
    paper = "–" if row not in PAPER else "✓" if column in PAPER[row] else " "
    return Entry(f"{MARKS[said]} | {paper}", JUDGED.get(said, "undecided"))


def _cells(row: Row, effects: Mapping[str, Effect], measure: str) -> tuple[Entry, Entry]:
    if measure not in effects:
        return Entry("–"), Entry("–")
    effect, form = effects[measure], MEASURES[measure]
    mean = Entry(mean_text(effect.mean, form))
    if row == ERM:
        return mean, Entry("")
    difference = number(effect.difference.mean, form, signed=True)
    return mean, Entry(f"{difference} ({range_text(effect.difference, form)})", effect.judgement)


def findings(rows: Effects, seeds: int) -> Iterator[Entry]:
    """What is shown, and what the paper has a checkmark for and is not."""
    words = {
        "shown": "shown",
        "opposite": "the opposite is shown",
        "mixed": "claim and guard contradict each other",
        "not shown": f"no effect that these {seeds} seeds can show",
    }
    for row, effects in list(rows.items())[1:]:
        for column, title in COLUMNS.items():
            said, checked = verdict(effects, column), column in PAPER.get(row, ())
            if said == "not measured" or (said == "not shown" and not checked):
                continue
            unknown = ", not known to the paper" if row in PAPER else ""
            paper = ", ✓ in the paper" if checked else unknown
            evidence = "; ".join(
                f"{MEASURES[m].label} {difference_text(effects[m].difference, MEASURES[m])}"
                for m in DECIDING[column]
            )
            text = f"{row.label}, {title.lower()}: {words[said]}{paper} ({evidence})."
            yield Entry(text, JUDGED.get(said, "undecided"))


def caveats(rows: Effects, seeds: int) -> Iterator[str]:
    """What the intervals do not say."""
    if seeds == 1:
        yield "There is one seed, so there are no intervals and nothing here is shown."
        return
    judged = sum(len(effects) for row, effects in rows.items() if row != ERM)
    yield multiplicity(f"this page holds {judged} paired 95% intervals", judged)
    if seeds < 5:
        yield FEW_SEEDS.format(fewest=seeds)
    yield (
        "The intervals (Student's t over seeds) describe the spread of repeated training on this "
        "data with these settings; other data and networks can turn out otherwise."
    )
    yield (
        "Label noise replaces labels by another class drawn uniformly, in the training samples "
        "only; all but the robustness to it is measured without it."
    )


def bounds(remarks: Sequence[str | None]) -> Iterator[str]:
    """Temperatures that are bounds, from what each run without label noise remarks of its own."""
    for remark in dict.fromkeys(filter(None, remarks)):
        yield (
            f"In {remarks.count(remark)} of {len(remarks)} runs {remark}; there the temperature is "
            "a bound, not a minimum."
        )


# -- pictures --------------------------------------------------------------------------------------

PANELS = 5  # side by side


def figure_effects(rows: Effects) -> Figure:
    """The difference of every row in every measure."""
    drawn = {row: effects for row, effects in rows.items() if row != ERM}
    names, size = [row.label for row in drawn], (2.3, 0.9 + 0.25 * len(drawn))
    figure, axes = style.panels(PANELS, -(-len(MEASURES) // PANELS), size=size)
    for k, (panel, (name, form)) in enumerate(zip(axes, MEASURES.items(), strict=False)):
        effects = {j: e[name] for j, e in enumerate(drawn.values()) if name in e}
        marks = {j: (effect.difference, style.INK) for j, effect in effects.items()}
        draw_effects(panel, form, names, marks, ticks=4)
        panel.tick_params(axis="y", labelleft=k % PANELS == 0)
    return figure


def figure_curves(
    records: Records, rows: Effects, metrics: Mapping[float, str], label: str
) -> Figure:
    """Accuracies less those of ERM, paired, at each place; rows a little beside one another."""
    figure, (axes,) = style.panels(1, size=(7.6, 3.4))
    places = sorted(metrics)
    # A temperature changes no decision.
    drawn = [row for row in list(rows)[1:] if row.prediction != "temperature"]
    step = 0.4 * min(np.diff(places), default=1.0) / max(len(drawn), 1)
    for k, row in enumerate(drawn):
        pairs = [[by_seed(records, r, metrics[place]) for r in (row, ERM)] for place in places]
        intervals = [mean_interval([100 * (a[seed] - b[seed]) for seed in a]) for a, b in pairs]
        axes.errorbar(
            np.array(places) + step * (k - (len(drawn) - 1) / 2),
            [interval.mean for interval in intervals],
            yerr=[interval.half_width or 0.0 for interval in intervals],
            color=style.GROUP_COLOURS[1:][k % 6],
            linestyle=style.GROUP_LINES[(k % 6 + k // 6) % len(style.GROUP_LINES)],
            linewidth=1.3,
            marker="o",
            markersize=4,
            capsize=2,
            label=row.label,
        )
    axes.axhline(0, color=style.FAINT, linewidth=1)
    axes.set_xticks(places)
    axes.set(xlabel=label, ylabel="test accuracy to ERM (points)")
    axes.grid(visible=False, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def pictures(records: Records, rows: Effects, preset: Preset) -> Iterator[Picture]:
    """All of them need a row beside ERM, the last one label noise."""
    if len(rows) == 1:
        return
    yield Picture(
        "effects",
        "Differences to ERM",
        "Paired by seed. Bars are 95% confidence intervals over seeds; filled marks are "
        "differences whose interval excludes 0.",
        "The same numbers stand in the tables.",
        style.draw(lambda: figure_effects(rows)),
    )
    scales = {1.0: "accuracy"} | {s: _at(s, "accuracy") for s in preset.input_scales}
    yield Picture(
        "input-scale",
        "Accuracy against the scale of the test inputs",
        "Test accuracy at inputs x̄ + s(x − x̄) less that of ERM there, paired by seed, models "
        "trained without label noise. Bars are 95% confidence intervals over seeds.",
        "Averages over the scales stand in the table of input normalization.",
        style.draw(lambda: figure_curves(records, rows, scales, "scale s of the test inputs")),
    )
    noises = {
        100 * q: f"accuracy with noise {q:g}" if q else "accuracy" for q in preset.noise_levels
    }
    if len(noises) > 1:
        yield Picture(
            "label-noise",
            "Accuracy against label noise",
            "Test accuracy of models trained with a share of the labels replaced by other classes "
            "less that of ERM trained so, paired by seed. Bars are 95% confidence intervals over "
            "seeds.",
            "Averages over the levels stand in the table of robustness to label noise.",
            style.draw(
                lambda: figure_curves(records, rows, noises, "training labels replaced (%)")
            ),
        )


# -- the document and the experiment ---------------------------------------------------------------


def document(
    records: Records, preset: Preset, remarks: Sequence[str | None], **about: Any
) -> Document:
    """Table 1 measured, beside the paper's."""
    rows = effects_of(records)
    seeds = rows[ERM]["accuracy"].mean.n
    return Document(
        "Table 1, measured",
        f"{records[0].setting}, α = {records[0].alpha:g}; {seeds} seed{'s' if seeds > 1 else ''}",
        findings=list(findings(rows, seeds)),
        caveats=[*caveats(rows, seeds), *bounds(remarks)],
        tables=list(tables(rows, seeds)),
        pictures=list(pictures(records, rows, preset)),
        records=records,
        **about,
    )


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, measure what is not measured yet, and write Table 1."""
    preset = preset_of(options)
    check_replaceable(options.directory, name="table1")
    wanted = runs(options)
    names = [run.directory.name for run in wanted]
    missing = sweep(wanted, partial(measure_run, preset), names=names, settings=options)
    complete, holes = complete_seeds(wanted, [missing.get(name, "") for name in names])
    directories = [RunDirectory(run.directory) for run in complete]
    measured = [read_measured(directory) for directory in directories]
    erm = [
        m.remark
        for run, m in zip(complete, measured, strict=True)
        if (run.method, run.label_noise) == ("erm", 0)
    ]
    made = document(
        records_of(complete, measured),
        preset,
        erm,
        settings=[run.identity() for run in complete],
        environment=[directory.read_environment() for directory in directories],
        missing=holes,
    )
    return made.text(), write_document(made, options.directory, name="table1")
