"""From measurements to effects: paired differences to ERM, and verdicts computed from them.

Each column of the paper's Table 1 is a claim and a guard. A claim holds only when the guard does
not speak against it, since each claim alone can be had for nothing:

- Calibration. Claim: a lower ECE. A constant prediction of the class frequencies has an ECE of
  zero; guard: the NLL, a proper score.
- Jacobian regularization. Claim: a smaller roughness, the slope between test samples over that
  of straight lines (`mixreg.diagnostics.roughness`), which is at least 1 for any network and knows
  no scale. ‖∇f‖_F at the samples alone shrinks with the logits, as under any temperature above
  one, which changes nothing about the classifier; it is the guard. ‖∇p‖_F, which vanishes where
  predictions are sure, is shown besides.
- Robustness to label noise. Claim: a smaller loss of test accuracy when training labels are
  replaced. A classifier that is bad without noise has little to lose; guard: the accuracy with it.
- Input normalization. Mixup trains on inputs shrunk towards x̄ (5), by all θ in [½, 1]. What of it
  can be measured for any method is how little the test accuracy depends on the scale s of inputs
  x̄ + s(x − x̄). Claim: a smaller loss of accuracy; guard: the accuracy at those inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, NamedTuple

from mixreg.evaluation import MeanInterval, mean_interval, paired_difference
from mixreg.experiments.table1.measurement import Measurement, Prediction
from mixreg.report.wording import Judgement, Scale, judge

Column = Literal["calibration", "jacobian", "label-noise", "input-normalization"]
Verdict = Literal["shown", "opposite", "mixed", "not shown", "not measured"]
BySeed = dict[int, float]


class RunKey(NamedTuple):
    """Which run: method, label noise, seed."""

    method: str
    noise: float
    seed: int


Measured = Mapping[RunKey, Mapping[Prediction, Measurement]]


class RowKey(NamedTuple):
    """A row of the table: a method and the way of predicting with its models."""

    method: str
    prediction: Prediction

    @property
    def label(self) -> str:
        """Name in tables and pictures."""
        if self.prediction == "temperature":
            return "temperature scaling"
        return self.method if self.prediction == "raw" else f"{self.method}, {self.prediction}"


BASELINE = RowKey("erm", "raw")

COLUMNS: dict[Column, str] = {
    "calibration": "Calibration",
    "jacobian": "Jacobian reg.",
    "label-noise": "Robustness label noise",
    "input-normalization": "Input normalization",
}

PAPER: dict[RowKey, frozenset[Column]] = {
    RowKey("label-smoothing", "raw"): frozenset({"calibration"}),
    RowKey("spectral", "raw"): frozenset({"jacobian"}),
    RowKey("dropout", "raw"): frozenset({"calibration", "jacobian", "label-noise"}),
    RowKey("erm", "temperature"): frozenset({"calibration"}),
    RowKey("mixup", "raw"): frozenset(COLUMNS),
}
"""The checkmarks of the paper's Table 1; an absent one means "not known"."""


class Trained(NamedTuple):
    """The measurements of one row and seed: without label noise, and at each level of it."""

    clean: Measurement
    noisy: Sequence[Measurement]


@dataclass(frozen=True)
class Measure:
    """One number of a row and seed.

    Args:
        name: name in files.
        column: the paper's column it belongs to, None for none.
        role: what it decides there.
        scale: how it is shown, and which side is better.
        value: the number; None where it cannot be computed.
    """

    name: str
    column: Column | None
    role: Literal["claim", "guard", "shown"]
    scale: Scale
    value: Callable[[Trained], float | None]


def _noisy_accuracy(t: Trained) -> float | None:
    return fmean(m.accuracy for m in t.noisy) if t.noisy else None


def _drop(t: Trained) -> float | None:
    return fmean(t.clean.accuracy - m.accuracy for m in t.noisy) if t.noisy else None


MEASURES: tuple[Measure, ...] = (
    Measure(
        "accuracy",
        None,
        "shown",
        Scale("Accuracy", 1, 100, 2, "%", "points"),
        lambda t: t.clean.accuracy,
    ),
    Measure(
        "ece",
        "calibration",
        "claim",
        Scale("ECE", -1, 100, 2, "%", "points"),
        lambda t: t.clean.ece,
    ),
    Measure(
        "nll",
        "calibration",
        "guard",
        Scale("NLL", -1, 1, 4, "nats", "nats"),
        lambda t: t.clean.nll,
    ),
    Measure(
        "roughness",
        "jacobian",
        "claim",
        Scale("Roughness", -1, 1, 4, "", ""),
        lambda t: t.clean.roughness,
    ),
    Measure(
        "jacobian",
        "jacobian",
        "guard",
        Scale("‖∇f‖_F", -1, 1, 3, "", ""),
        lambda t: t.clean.jacobian,
    ),
    Measure(
        "probability_jacobian",
        "jacobian",
        "shown",
        Scale("‖∇p‖_F", -1, 1, 4, "", ""),
        lambda t: t.clean.probability_jacobian,
    ),
    Measure(
        "noise_drop",
        "label-noise",
        "claim",
        Scale("Lost by label noise", -1, 100, 2, "points", "points"),
        _drop,
    ),
    Measure(
        "noisy_accuracy",
        "label-noise",
        "guard",
        Scale("Accuracy with it", 1, 100, 2, "%", "points"),
        _noisy_accuracy,
    ),
    Measure(
        "scale_drop",
        "input-normalization",
        "claim",
        Scale("Lost by input scale", -1, 100, 2, "points", "points"),
        lambda t: t.clean.accuracy - fmean(t.clean.scaled_accuracy),
    ),
    Measure(
        "scaled_accuracy",
        "input-normalization",
        "guard",
        Scale("Accuracy at it", 1, 100, 2, "%", "points"),
        lambda t: fmean(t.clean.scaled_accuracy),
    ),
)


@dataclass(frozen=True)
class Effect:
    """One measure of one row.

    Args:
        values: by seed.
        mean: over seeds.
        difference: to raw ERM, paired by seed; None for that row itself.
        judgement: of the difference.
    """

    values: BySeed
    mean: MeanInterval
    difference: MeanInterval | None
    judgement: Judgement


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Args:
        key: method and way of predicting.
        effects: by name of the measure; without those that were not measured.
        verdicts: by column of the paper.
    """

    key: RowKey
    effects: dict[str, Effect]
    verdicts: dict[Column, Verdict]


def table_rows(measured: Measured) -> list[Row]:
    """All rows with their effects and verdicts, the baseline first.

    Args:
        measured: the measurements of every run.

    Returns:
        One row for each method and way of predicting that all its runs have.

    Example:
        >>> m = Measurement(0.9, 0.3, 0.02, 1.0, 2.0, 0.1, (0.8,), (0.5,))
        >>> rows = table_rows({RunKey("erm", 0.0, k): {"raw": m} for k in range(3)})
        >>> rows[0].key.label, rows[0].effects["ece"].mean.n
        ('erm', 3)
    """
    seeds = sorted({key.seed for key in measured})
    noises = sorted({key.noise for key in measured} - {0.0})
    found = {RowKey(key.method, name): None for key in measured for name in measured[key]}
    by_row = {
        row: {
            seed: Trained(
                measured[RunKey(row.method, 0.0, seed)][row.prediction],
                [measured[RunKey(row.method, q, seed)][row.prediction] for q in noises],
            )
            for seed in seeds
        }
        for row in found
    }
    ordered = sorted(by_row, key=lambda row: row != BASELINE)
    return [_row(row, by_row[row], by_row[BASELINE]) for row in ordered]


def _row(key: RowKey, trained: dict[int, Trained], baseline: dict[int, Trained]) -> Row:
    effects = {}
    for measure in MEASURES:
        values, reference = _values(measure, trained), _values(measure, baseline)
        if values is None or reference is None:
            continue
        difference = None if key == BASELINE else paired_difference(values, reference)
        effects[measure.name] = Effect(
            values,
            mean_interval(list(values.values())),
            difference,
            "undecided" if difference is None else judge(difference, measure.scale.direction),
        )
    return Row(key, effects, {column: _verdict(effects, column) for column in COLUMNS})


def _values(measure: Measure, trained: dict[int, Trained]) -> BySeed | None:
    """The measure by seed, None where a seed lacks it."""
    found = {seed: measure.value(one) for seed, one in trained.items()}
    values = {seed: value for seed, value in found.items() if value is not None}
    return values if len(values) == len(found) else None


def _verdict(effects: Mapping[str, Effect], column: Column) -> Verdict:
    """What the claim and the guard of a column say together."""
    names = {m.role: m.name for m in MEASURES if m.column == column}
    if names["claim"] not in effects or names["guard"] not in effects:
        return "not measured"
    claim, guard = (effects[names[role]].judgement for role in ("claim", "guard"))
    if claim == "undecided":
        return "not shown"
    if {claim, guard} == {"better", "worse"}:
        return "mixed"
    return "shown" if claim == "better" else "opposite"
