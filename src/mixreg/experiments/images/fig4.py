"""Figure 4: accuracy, loss and calibration against α, with and without the rescaling."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from mixreg.evaluation import Correction, MetricName, mean_interval, paired_difference
from mixreg.experiments.images.outcomes import Outcomes
from mixreg.experiments.images.parts import Parts
from mixreg.experiments.images.runs import ALPHA
from mixreg.experiments.images.settings import ImageScale, Setting
from mixreg.experiments.images.testing import BETTER, WORSE, Sentence, difference
from mixreg.report.claims import Claim
from mixreg.report.lines import Line, draw_bars, legend_above
from mixreg.report.reliability import reliability_figure
from mixreg.report.sequence import Frame, PictureSequence
from mixreg.report.study import Entry, StudyTable
from mixreg.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    Picture,
    draw,
    panels,
)
from mixreg.report.wording import JUDGED, SCALES, judge, mean_text

PLACE = "section 5, figure 4"
_BESIDE = 1.035
"""Factor of α between neighbouring arms, so that their bars do not hide one another."""

_NAMES = {"erm": "ERM", "mixup": "Mixup"}


class Arm(NamedTuple):
    """A way of training and predicting, as it is drawn; `at` is its only α where it has one."""

    label: str
    method: str
    correction: Correction
    colour: str
    style: str
    at: float | None = None


ARMS = (
    Arm("ERM", "erm", "raw", GREY, "-", ALPHA),
    Arm("ERM rescaled", "erm", "rescaled", GREY, ":"),
    Arm("ERM + temperature", "erm", "temperature", PINK, ":", ALPHA),
    Arm("Mixup", "mixup", "raw", RED, "-"),
    Arm("Mixup rescaled", "mixup", "rescaled", BLUE, "-"),
    Arm("Mixup + temperature", "mixup", "temperature", ORANGE, "--"),
    Arm("Mixup rescaled + temperature", "mixup", "rescaled+temperature", GREEN, "-."),
    Arm("MIT-L", "mit-l", "raw", SKY, "none", ALPHA),
)


def fig4(setting: Setting, outcomes: Outcomes, scale: ImageScale) -> Parts:
    """Every metric against α, and the reliability at each α.

    Args:
        setting: on what.
        outcomes: runs of ERM, of mixup at each α, and of MIT-L.
        scale: how large.

    Returns:
        Picture, table, claims and reliability diagrams.
    """
    alphas = setting.alphas or scale.alphas
    return Parts(
        [_picture(outcomes, setting, alphas)],
        [_table(outcomes, setting, alphas)],
        list(_claims(outcomes, setting.label, alphas)),
        list(_sequence(outcomes, setting, alphas)),
    )


def _picture(outcomes: Outcomes, setting: Setting, alphas: Sequence[float]) -> Picture:
    """Every metric against α."""
    return Picture(
        f"fig4-{setting.name}",
        f"Test performance against α: {setting.label}",
        "Mean over seeds, a little beside one another; bars are 95% confidence intervals over "
        "seeds. ERM and its temperature "
        "do not depend on α; ERM is rescaled as if it had been trained with mixup of that α. "
        "Temperatures are fitted on held-out examples. Beyond the paper: temperatures, MIT-L and "
        "the Brier score.",
        f"The same numbers stand in the table of {setting.label}.",
        draw(partial(_figure, outcomes, alphas)),
    )


def _sequence(
    outcomes: Outcomes, setting: Setting, alphas: Sequence[float]
) -> Iterator[PictureSequence]:
    """Reliability of mixup at each α."""
    frames = []
    for alpha in alphas:
        runs = outcomes.results("mixup", alpha)
        if runs:
            errors = [run.evaluation.results["rescaled"].metrics.ece for run in runs]
            told = mean_text(mean_interval(errors), SCALES["ece"])
            picture = Picture(
                f"reliability-{setting.name}-alpha{alpha:g}",
                f"Reliability of Mixup, α = {alpha:g}: {setting.label}",
                "",
                f"Expected calibration error of the rescaled prediction {told} percent.",
                draw(partial(reliability_figure, runs)),
            )
            frames.append(Frame(f"{alpha:g}", picture))
    if frames:
        yield PictureSequence(
            f"reliability-{setting.name}",
            f"Reliability of Mixup: {setting.label}",
            "Accuracy of the test examples by the confidence of their prediction, above the share "
            "of examples in each of 15 bins. On the dashed line predictions are right as often as "
            "they claim. Dots are means over seeds, bars 95% confidence intervals.",
            "α",
            frames,
            start=next((k for k, f in enumerate(frames) if f.value == f"{ALPHA:g}"), 0),
        )


def _table(outcomes: Outcomes, setting: Setting, alphas: Sequence[float]) -> StudyTable:
    """Every arm at every α."""
    return StudyTable(
        f"fig4-{setting.name}",
        f"Test performance: {setting.label}",
        "Mean over seeds ± half the width of its 95% confidence interval. A correction is marked "
        "better or worse where the 95% confidence interval of its difference to the raw prediction "
        f"of the same models, paired by seed, excludes 0. {_overfitting(outcomes)}",
        ["prediction", "α", *(SCALES[metric].heading for metric in JUDGED), "n"],
        [row for arm in ARMS for row in _rows(outcomes, arm, alphas)],
    )


def _overfitting(outcomes: Outcomes) -> str:
    """How far the training of ERM went on after its best epoch."""
    losses = [[entry["validation_nll"] for entry in run.history] for run in outcomes.of("erm")]
    if not losses:
        return ""
    rises = [values[-1] - min(values) for values in losses]
    if not any(rises):
        return "The validation NLL of ERM is lowest in the last epoch."
    rise = mean_text(mean_interval(rises), SCALES["nll"])
    return f"The validation NLL of ERM ends {rise} nats above that of its best epoch."


def _claims(outcomes: Outcomes, setting: str, alphas: Sequence[float]) -> Iterator[Claim]:
    """What the rescaling does to mixup, more at larger α, and to ERM."""
    for alpha in alphas:
        where = f"{setting}, α = {alpha:g}"
        helps = Sentence("Rescaling improves models trained with Mixup.", PLACE, where)
        hurts = Sentence("Rescaling always makes ERM worse.", PLACE, where)
        for method, said, sides in (("mixup", helps, BETTER), ("erm", hurts, WORSE)):
            for metric, expected in sides.items():
                yield from said.metric_claim(
                    metric,
                    f"{_NAMES[method]} rescaled − raw",
                    outcomes.metric(method, "rescaled", metric, alpha),
                    outcomes.metric(method, "raw", metric, alpha),
                    expected,
                )
    low, high = min(alphas), max(alphas)
    if low == high:
        return
    more = Sentence("Rescaling helps Mixup more at larger α.", PLACE, setting)
    for metric, expected in BETTER.items():
        yield from more.metric_claim(
            metric,
            f"effect of rescaling at α = {high:g} − at α = {low:g}",
            _effect(outcomes, metric, high),
            _effect(outcomes, metric, low),
            expected,
        )


def _effect(outcomes: Outcomes, metric: MetricName, alpha: float) -> Mapping[int, float]:
    rescaled, raw = (
        outcomes.metric("mixup", correction, metric, alpha) for correction in ("rescaled", "raw")
    )
    return difference(rescaled, raw)


def _figure(outcomes: Outcomes, alphas: Sequence[float]) -> Figure:
    figure, axes = panels(2, 2, size=(4.2, 2.9))
    for panel, metric in zip(axes, JUDGED, strict=True):
        panel.set_title(SCALES[metric].heading)
        for k, arm in enumerate(ARMS):
            line = _line(outcomes, arm, metric, alphas, _BESIDE ** (k - len(ARMS) / 2))
            if line.x:
                draw_bars(panel, line)
        panel.set_xscale("log")
        panel.set_xticks(alphas, [f"{alpha:g}" for alpha in alphas])
        panel.minorticks_off()
        panel.set_xlabel("α")
    legend_above(figure, axes[0])
    return figure


def _line(
    outcomes: Outcomes, arm: Arm, metric: MetricName, alphas: Sequence[float], shift: float
) -> Line:
    """A metric of one arm, moved a little sideways; where it is no line, at its own α only."""
    points = {}
    for alpha in [a for a in alphas if arm.style != "none" or a == arm.at]:
        values = outcomes.metric(arm.method, arm.correction, metric, _at(arm, alpha))
        if values:
            scaled = [SCALES[metric].factor * value for value in values.values()]
            points[alpha * shift] = mean_interval(scaled)
    return Line(arm.label, arm.colour, arm.style, list(points), list(points.values()))


def _rows(
    outcomes: Outcomes, arm: Arm, alphas: Sequence[float]
) -> Iterator[tuple[str, Sequence[Entry]]]:
    for alpha in alphas if arm.at is None else (arm.at,):
        values = {m: outcomes.metric(arm.method, arm.correction, m, alpha) for m in JUDGED}
        if not values["nll"]:
            continue
        cells = []
        for metric in JUDGED:
            text = mean_text(mean_interval(list(values[metric].values())), SCALES[metric])
            raw = outcomes.metric(arm.method, "raw", metric, alpha)
            effect = paired_difference(values[metric], raw)
            cells.append(Entry(text, judge(effect, SCALES[metric].direction)))
        shown = "" if arm.at is not None and arm.method == "erm" else f"{alpha:g}"
        yield arm.label, [Entry(shown), *cells, Entry(str(len(values["nll"])))]


def _at(arm: Arm, alpha: float) -> float:
    return alpha if arm.at is None else arm.at
