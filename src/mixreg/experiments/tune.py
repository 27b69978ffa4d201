"""`mixreg tune`: which law of mixing, and which correction, by successive halving.

Optuna proposes laws by their two numbers, ERM, Beta(1) and Beta(0.2) first, and stops those that
are not among the best held out at a part of the epochs. The law that comes out and those three are
trained with new seeds, and only these trainings say by how much it is better, on the test set.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mixreg._errors import require
from mixreg._stored import Kept
from mixreg.data.published import MissingDataError
from mixreg.evaluation import (
    Correction,
    Metrics,
    evaluate,
    mean_interval,
    paired_difference,
    predict,
)
from mixreg.experiments._runs import is_readable
from mixreg.experiments._sweep import sweep
from mixreg.experiments.evaluate import evaluate_trained
from mixreg.laws import Beta
from mixreg.report import Document, Entry, Table, check_replaceable, write_document
from mixreg.report.document import entries
from mixreg.report.records import METRIC_FORMATS, MetricFormat, judge, mean_text, number, range_text
from mixreg.settings import TrainConfig, TuneOptions
from mixreg.training import RunDirectory, load_run


class Law(NamedTuple):
    """A law by its two numbers: a1, and how far a2 lies from a1² (0) to a1/2 (1)."""

    name: str
    a1: float
    level: float
    changes: dict[str, Any]


def _beta(alpha: float) -> Law:
    law = Beta(alpha)
    a1, a2 = law.shrinkage, law.gamma_squared
    level = (a2 - a1**2) / (a1 / 2 - a1**2)
    return Law(f"Beta({alpha:g})", a1, level, {"method": "mixup", "alpha": alpha})


_NOTHING = "Nothing is shown to be gained by tuning here; more seeds, laws or epochs may show it."
_CHOSEN = (
    "The law was chosen by held-out examples and other seeds than those compared here. A fitted "
    "temperature has seen the held-out examples that it is chosen by."
)

USUAL = (Law("ERM", 0.0, 0.0, {"method": "erm"}), _beta(1.0), _beta(0.2))
"""What a tuned law has to be better than."""

Held = dict[Correction, Metrics]
"""The metrics of each correction on the held-out examples of one run."""

HELD = Kept("held-out.json", Held)


class Tried(NamedTuple):
    """A law, the epochs that it was given, and its best correction on held-out data."""

    law: Law
    epochs: int
    correction: Correction
    value: float


def tune(options: TuneOptions) -> tuple[str, Path]:
    """Choose a law and a correction; the findings, and the page with all that was tried."""
    optuna = require("optuna", extra="tune", purpose="`mixreg tune`")
    check_replaceable(options.output, name="tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    budgets, direction = options.budgets, METRIC_FORMATS[options.metric].direction
    tried: dict[int, Tried] = {}

    def objective(trial: Any) -> float:
        a1 = trial.suggest_float("a1", 0.0, 0.5)
        law = law_at(a1, trial.suggest_float("level", 0.0, 1.0))
        value = 0.0
        for epochs in budgets:
            runs = runs_of(options, law, range(options.seeds), epochs)
            value, correction = best_of(options, _held(options, runs))
            tried[trial.number] = Tried(law, epochs, correction, value)
            trial.report(value, epochs)
            if epochs < budgets[-1] and trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        direction="maximize" if direction > 0 else "minimize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=budgets[0], reduction_factor=options.reduction
        ),
    )
    for law in USUAL:
        study.enqueue_trial({"a1": law.a1, "level": law.level})
    study.optimize(objective, n_trials=options.trials)
    chosen = tried[study.best_trial.number].law
    laws = [chosen, *(law for law in USUAL if law != chosen)]
    fresh = range(options.seeds, 2 * options.seeds)
    confirmed = [_confirm(options, law, fresh) for law in laws]
    made = document(options, list(tried.values()), confirmed)
    return made.text(), write_document(made, options.output, name="tune")


def law_at(a1: float, level: float) -> Law:
    """The law at a point of the feasible set; a usual one under its own name."""
    for law in USUAL:
        if (law.a1, law.level) == (a1, level):
            return law
    theta_mean = 1 - a1
    a2 = (1 - level) * (1 - theta_mean) ** 2 + level * (1 - theta_mean) / 2
    changes = {"method": "mixup", "theta_mean": theta_mean, "gamma_squared": a2}
    return Law(f"θ̄ = {theta_mean:.4f}, γ² = {a2:.4f}", a1, level, changes)


def runs_of(options: TuneOptions, law: Law, seeds: Sequence[int], epochs: int) -> list[TrainConfig]:
    """A law's runs of so many epochs, their milestones moved in proportion."""
    shared = {
        f.name: getattr(options, f.name)
        for f in dataclasses.fields(TrainConfig)
        if hasattr(options, f.name) and f.name != "output"
    }
    milestones = [max(1, round(m * epochs / options.epochs)) for m in options.milestones]
    shared |= {"progress": False, "epochs": epochs, "milestones": milestones} | law.changes
    place = f"a1-{law.a1:.6f}-level-{law.level:.6f}-epochs{epochs}"
    runs = options.output / "runs"
    return [TrainConfig(**shared, seed=k, output=runs / f"{place}-seed{k}") for k in seeds]


# -- held-out data ---------------------------------------------------------------------------------


def hold_out(run: RunDirectory, config: TrainConfig) -> None:
    """Measure every correction of a run on its held-out examples, once."""
    if not HELD.find(run.path):
        trained = load_run(run.path, {"data_root": config.data_root})
        batches, law = trained.data.batches("validation", 500), trained.recipe.input_law
        held_out = predict(trained.net, batches, trained.stats.x_mean, law)
        found = evaluate(held_out, held_out, y_mean=trained.class_means, law=trained.law)
        held = {name: result.metrics for name, result in found.results.items()}
        HELD.write(run.path, held)


def confirm(run: RunDirectory, config: TrainConfig) -> None:
    """The same, and on the test set."""
    hold_out(run, config)
    if not is_readable(run.read_evaluation):
        evaluate_trained(load_run(run.path, {"data_root": config.data_root}), run.path)


def _held(options: TuneOptions, runs: Sequence[TrainConfig], finish: Any = hold_out) -> list[Held]:
    names = [run.directory.name for run in runs]
    if missing := sweep(runs, finish, names=names, settings=options):
        raise MissingDataError(next(iter(missing.values())))
    return [HELD.read(run.directory) for run in runs]


def best_of(options: TuneOptions, held: Sequence[Held]) -> tuple[float, Correction]:
    """The correction with the best mean over seeds on held-out examples, and that mean."""
    direction = METRIC_FORMATS[options.metric].direction
    means = {
        name: sum(getattr(each[name], options.metric) for each in held) / len(held)
        for name in held[0]
    }
    best = max(means, key=lambda name: direction * means[name])
    return means[best], best


# -- what came out ---------------------------------------------------------------------------------


class Confirmed(NamedTuple):
    """A law's runs with new seeds, its best correction held out, the test metric by seed."""

    law: Law
    runs: list[TrainConfig]
    correction: Correction
    values: dict[int, float]


def _confirm(options: TuneOptions, law: Law, seeds: Sequence[int]) -> Confirmed:
    runs = runs_of(options, law, seeds, options.epochs)
    _, correction = best_of(options, _held(options, runs, confirm))
    values = {}
    for run in runs:
        metrics = RunDirectory(run.directory).read_evaluation().results[correction].metrics
        values[run.seed] = float(getattr(metrics, options.metric))
    return Confirmed(law, runs, correction, values)


def document(
    options: TuneOptions, tried: Sequence[Tried], confirmed: Sequence[Confirmed]
) -> Document:
    """The choice, by how much it is better, and all that was tried."""
    form, (chosen, *others) = METRIC_FORMATS[options.metric], confirmed
    findings = [_advantage(chosen, each, form) for each in others]
    verdicts = {finding.judgement for finding in findings}
    is_shown = "better" in verdicts and "worse" not in verdicts
    order = sorted(tried, key=lambda t: (-t.epochs, -form.direction * t.value))
    runs = [run for each in confirmed for run in each.runs]
    return Document(
        f"Which law of mixing: {options.data}, {options.model}",
        f"{len(tried)} laws by successive halving, {options.seeds} seeds each",
        findings=findings,
        advice=[_command(chosen) if is_shown else _NOTHING],
        caveats=[_CHOSEN],
        tables=[
            Table(
                "confirmed",
                f"Test {form.heading}, new seeds",
                "Mean over seeds ± half the width of its 95% confidence interval, with the "
                "correction that is best on held-out examples.",
                ["law", "correction", form.heading, "n"],
                [_row(each, form) for each in confirmed],
            ),
            Table(
                "tried",
                f"Held-out {form.heading} of all laws tried",
                "At the last budget that each of them was given, best first.",
                ["law", "epochs", "correction", form.heading],
                [
                    (t.law.name, entries((t.epochs, t.correction, number(t.value, form))))
                    for t in order
                ],
            ),
        ],
        settings=[run.identity() for run in runs],
        environment=[RunDirectory(run.directory).read_environment() for run in runs],
    )


def _advantage(chosen: Confirmed, other: Confirmed, form: MetricFormat) -> Entry:
    """By how much the chosen law is better than a usual one, with the interval."""
    effect = paired_difference(chosen.values, other.values)
    verdict = judge(effect, form.direction)
    shown = "not shown to be better or worse" if verdict == "undecided" else verdict
    return Entry(
        f"{chosen.law.name} with {chosen.correction} is {shown} than {other.law.name} with "
        f"{other.correction}: test {form.label} {number(effect.mean, form, signed=True)} "
        f"{form.step} ({range_text(effect, form)}, n = {effect.n}).",
        verdict,
    )


def _row(confirmed: Confirmed, form: MetricFormat) -> tuple[str, list[Entry]]:
    mean = mean_interval(list(confirmed.values.values()))
    return confirmed.law.name, entries((confirmed.correction, mean_text(mean, form), mean.n))


def _command(chosen: Confirmed) -> str:
    changes = {k: v for k, v in chosen.law.changes.items() if k != "method" or v != "mixup"}
    words = [f"--{name.replace('_', '-')} {value}" for name, value in changes.items()]
    return f"Train with {' '.join(words)} and predict with {chosen.correction}."
