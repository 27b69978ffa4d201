"""Figure 4: accuracy, loss and calibration against α, with and without the rescaling."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mixreg.evaluation import MetricName, mean_interval
from mixreg.experiments import _runs
from mixreg.experiments._runs import ALPHA, DIGITS, LENET, Setting
from mixreg.report import (
    Claim,
    Document,
    Record,
    Records,
    RunResult,
    Sentence,
    Table,
    charts,
    figures,
    paired,
    table,
)
from mixreg.report.comparison import HELPS, HURTS
from mixreg.report.records import JUDGED, METRIC_FORMATS, OPPOSITE, mean_text
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, TrainConfig

TEN: dict[str, Any] = {"seeds": 10, "costly_seeds": 10, "alphas": (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)}
_FIVE = TEN | {"seeds": 5, "costly_seeds": 5}
_SHORT = {"epochs": 20, "milestones": [10, 16], "precision": "bf16-mixed"}
PRESETS = {
    "paper": (  # the paper prints no list of its α, this one is ours
        Setting(data="cifar10", model="resnet34", recipe="cifar-resnet34", **TEN),
        Setting(data="cifar100", model="resnet34", recipe="cifar-resnet34", **TEN),
        Setting(data="imagenet", model="resnet50", recipe="imagenet-resnet50", **_FIVE),
    ),
    "cpu": (
        *(
            dataclasses.replace(LENET["cpu"], data=data, alphas=(0.2, 0.5, 1.0, 2.0))
            for data in ("cifar10", "cifar100", "fashion-mnist")
        ),
        Setting(
            data="cifar10",
            model="resnet20",
            recipe="cifar-resnet34",
            changes=_SHORT,
            seeds=2,
            costly_seeds=2,
        ),
    ),
    "smoke": (dataclasses.replace(DIGITS, alphas=(0.5, 1.0)),),
}

ARMS = {  # name: method, prediction, colour, line, and the only α of an arm that has one
    "ERM": ("erm", "raw", figures.GREY, "-", ALPHA),
    "ERM rescaled": ("erm", "rescaled", figures.GREY, ":", None),
    "ERM + temperature": ("erm", "temperature", figures.PINK, ":", ALPHA),
    "Mixup": ("mixup", "raw", figures.RED, "-", None),
    "Mixup rescaled": ("mixup", "rescaled", figures.BLUE, "-", None),
    "Mixup + temperature": ("mixup", "temperature", figures.ORANGE, "--", None),
    "Mixup rescaled + temperature": ("mixup", "rescaled+temperature", figures.GREEN, "-.", None),
    "MIT-L": ("mit-l", "raw", figures.SKY, "none", ALPHA),
}
BESIDE = 1.035  # factor of α between neighbouring arms, so that bars do not hide one another

MORE = Sentence("Rescaling helps Mixup more at larger α.", HELPS.place)


def runs(options: ReproduceOptions) -> list[TrainConfig]:
    """ERM, Mixup at each α, and MIT-L in the first setting."""
    arms = []
    for k, setting in enumerate(PRESETS[options.size]):
        arms += [_runs.Arm(setting, "erm")]
        arms += [_runs.Arm(setting, "mixup", alpha) for alpha in setting.alphas]
        arms += [_runs.Arm(setting, "mit-l")] if k == 0 else []
    return _runs.trainings(options, arms)


plan = partial(_runs.plan, runs)


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, evaluate with every rescaling, and write the figure."""
    made, evaluated = _runs.evaluated(options, runs(options))
    records = Records(record for item in evaluated for record in recorded(item))
    sliders = [s for setting in PRESETS[options.size] for s in reliability(setting, evaluated)]
    return _runs.write(options, document(records, made, sliders))


def recorded(evaluated: _runs.Evaluated) -> Iterator[Record]:
    """Every metric of every prediction, and for ERM how far it overfits."""
    yield from evaluated.records()
    run, alpha, _ = evaluated
    if (run.method, alpha) == ("erm", ALPHA):
        history = RunDirectory(run.directory).read_result().history
        losses = [entry["validation_nll"] for entry in history]
        for epoch, loss in (("last epoch", losses[-1]), ("best epoch", min(losses))):
            yield Record(_runs.label(run), "erm", alpha, run.seed, epoch, "validation_nll", loss)


def document(
    records: Records, made: _runs.Made, sliders: Sequence[figures.PictureSequence]
) -> Document:
    """The whole figure: a table and a picture of each setting."""
    by_setting = [
        (setting, records.where(setting=setting.label)) for setting in PRESETS[made.preset]
    ]
    drawn = [(setting, own) for setting, own in by_setting if own]
    return _runs.figure_document(
        made,
        "Figure 4: rescaled prediction against α",
        records=records,
        claims=[claim for pair in drawn for claim in claims(*pair)],
        tables=[performance(*pair) for pair in drawn],
        pictures=[
            figures.Picture(
                f"fig4-{setting.name}",
                f"Test performance against α: {setting.label}",
                "Mean over seeds, a little beside one another; bars are 95% confidence intervals "
                "over seeds. ERM and its temperature do not depend on α; ERM is rescaled as if it "
                "had been trained with mixup of that α. Temperatures are fitted on held-out "
                "examples. Beyond the paper: temperatures, MIT-L and the Brier score.",
                f"The same numbers stand in the table of {setting.label}.",
                figures.draw(partial(figure, setting, own)),
            )
            for setting, own in drawn
        ],
        frames=sliders,
    )


def claims(setting: Setting, records: Records) -> Iterator[Claim]:
    """What the rescaling does to Mixup, more at larger α, and to ERM."""

    def effect(metric: MetricName, method: str, alpha: float) -> dict[int, float]:
        at = records.where(method=method, alpha=alpha)
        return paired(*(at.by_seed(metric, prediction=p) for p in ("rescaled", "raw")))

    for alpha in setting.alphas:
        place = f"{setting.label}, α = {alpha:g}"
        for metric, better in _runs.BETTER.items():
            measured = _runs.difference(metric, "Mixup rescaled − raw")
            yield from HELPS.test(place, measured, effect(metric, "mixup", alpha), better)
        for metric, better in _runs.BETTER.items():
            measured = _runs.difference(metric, "ERM rescaled − raw")
            yield from HURTS.test(place, measured, effect(metric, "erm", alpha), OPPOSITE[better])
    low, high = min(setting.alphas), max(setting.alphas)
    for metric, better in _runs.BETTER.items() if low < high else ():
        compared = f"effect of rescaling at α = {high:g} − at α = {low:g}"
        grown = paired(effect(metric, "mixup", high), effect(metric, "mixup", low))
        yield from MORE.test(setting.label, _runs.difference(metric, compared), grown, better)


def arm(records: Records, name: str, alpha: float) -> Records:
    """The records of an arm at some α, or at its only one."""
    method, prediction, *_, only = ARMS[name]
    return records.where(method=method, prediction=prediction, alpha=only or alpha)


def performance(
    setting: Setting,
    records: Records,
    figure: str = "fig4",
    arms: Sequence[str] = tuple(ARMS),
    metrics: Sequence[MetricName] = JUDGED,
) -> Table:
    """Every arm at every α, judged against the raw prediction of the same models."""
    rows = []
    for name in arms:
        method, *_, only = ARMS[name]
        for alpha in [only] if only else setting.alphas:
            raw = records.where(method=method, prediction="raw", alpha=alpha)
            written = "" if only and method == "erm" else f"{alpha:g}"
            rows.append((name, written, arm(records, name, alpha), raw))
    return table(
        f"{figure}-{setting.name}",
        f"Test performance: {setting.label}",
        f"{_runs.MEANS}. A correction is marked better or worse where the 95% confidence interval "
        "of its difference to the raw prediction of the same models, paired by seed, excludes 0. "
        f"{overfitting(records)}",
        ["prediction", "α", *(METRIC_FORMATS[metric].heading for metric in metrics), "n"],
        metrics,
        [row for row in rows if row[2]],
    )


def overfitting(records: Records) -> str:
    """How far the training of ERM went on after its best epoch."""
    last, best = (
        records.by_seed("validation_nll", prediction=f"{which} epoch") for which in ("last", "best")
    )
    rises = list(paired(last, best).values())
    if not any(rises):
        return "The validation NLL of ERM is lowest in the last epoch." if rises else ""
    rise = mean_text(mean_interval(rises), METRIC_FORMATS["nll"])
    return f"The validation NLL of ERM ends {rise} nats above that of its best epoch."


def figure(
    setting: Setting,
    records: Records,
    arms: Sequence[str] = tuple(ARMS),
    metrics: Sequence[MetricName] = JUDGED,
) -> Figure:
    """One panel for each metric, a line with bars for each arm."""
    columns = 2 if len(metrics) == 4 else len(metrics)
    drawn, axes = figures.panels(columns, len(metrics) // columns, size=(4.2, 2.9))
    for panel, metric in zip(axes, metrics, strict=True):
        for k, name in enumerate(arms):
            _, _, colour, style, only = ARMS[name]
            shift = BESIDE ** (k - len(arms) / 2)
            means = {
                alpha * shift: mean
                for alpha in setting.alphas
                if style != "none" or alpha == only
                if (mean := arm(records, name, alpha).mean(metric))
            }
            if means:
                figures.draw_bars(panel, name, colour, style, means)
        panel.set(title=METRIC_FORMATS[metric].heading, xscale="log", xlabel="α")
        panel.set_xticks(setting.alphas, [f"{alpha:g}" for alpha in setting.alphas])
        panel.minorticks_off()
    figures.legend_above(drawn, axes[0])
    return drawn


def reliability(
    setting: Setting, evaluated: Sequence[_runs.Evaluated]
) -> Iterator[figures.PictureSequence]:
    """How often predictions of each confidence are right, for Mixup at each α."""
    frames = []
    for alpha in setting.alphas:
        results = [
            RunResult("mixup", run.seed, alpha, evaluation)
            for run, at, evaluation in evaluated
            if (_runs.label(run), run.method, at) == (setting.label, "mixup", alpha)
        ]
        if results:
            errors = [r.evaluation.results["rescaled"].metrics.ece for r in results]
            picture = figures.Picture(
                f"reliability-{setting.name}-alpha{alpha:g}",
                f"Reliability of Mixup, α = {alpha:g}: {setting.label}",
                "",
                "Expected calibration error of the rescaled prediction "
                f"{mean_text(mean_interval(errors), METRIC_FORMATS['ece'])} percent.",
                figures.draw(partial(charts.reliability_figure, results)),
            )
            frames.append(figures.Frame(f"{alpha:g}", picture))
    if frames:
        yield figures.PictureSequence(
            f"reliability-{setting.name}",
            f"Reliability of Mixup: {setting.label}",
            "Accuracy of the test examples by the confidence of their prediction, above the share "
            "of examples in each of 15 bins. On the dashed line predictions are right as often as "
            "they claim. Dots are means over seeds, bars 95% confidence intervals.",
            "α",
            frames,
            start=next((k for k, f in enumerate(frames) if f.value == f"{ALPHA:g}"), 0),
        )
