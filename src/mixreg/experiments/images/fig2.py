"""Figure 2: training and test of LeNet under Mixup and approximate Mixup, and under ERM."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from mixreg.evaluation import MeanInterval, mean_interval
from mixreg.experiments.images.outcomes import Outcomes
from mixreg.experiments.images.parts import one_alpha
from mixreg.experiments.images.testing import Sentence, half_distance
from mixreg.report.claims import Claim
from mixreg.report.lines import Line, draw_band, legend_above
from mixreg.report.study import Entry, StudyTable
from mixreg.report.style import BLUE, GREY, RED, Picture, draw, panels

PLACE = "section 5, figure 2"
_METHODS = {"mixup": (BLUE, "-"), "approximate": (RED, "--"), "erm": (GREY, "-.")}
_NUMBERS = {
    "objective": "training objective",
    "test_nll": "test NLL (nats)",
    "test_accuracy": "test accuracy (%)",
}


def _picture(outcomes: Outcomes) -> Picture:
    ends = [
        f"{method} {name} {_mean(outcomes, method, name).mean:.4g}"
        for method in _METHODS
        if outcomes.of(method)
        for name in _NUMBERS
    ]
    return Picture(
        "fig2",
        "Training with Mixup, approximate Mixup and ERM",
        "What each method minimises, averaged over the steps of an epoch, and the test set after "
        "it, mean over seeds. Bands are 95% confidence intervals over seeds. The objectives of "
        "Mixup and approximate Mixup estimate the same risk (4) and its approximation (12); that "
        "of ERM is the risk on unmixed examples.",
        f"At the end: {', '.join(ends)}.",
        draw(lambda: _figure(outcomes)),
    )


def _table(outcomes: Outcomes) -> StudyTable:
    rows = []
    for method in _METHODS:
        runs = outcomes.of(method)
        if runs:
            cells = [_text(_mean(outcomes, method, name), name) for name in _NUMBERS]
            rows.append((method, [*map(Entry, cells), Entry(str(len(runs)))]))
    return StudyTable(
        "fig2",
        "At the end of training",
        "Mean over seeds ± half the width of its 95% confidence interval.",
        ["method", *_NUMBERS.values(), "n"],
        rows,
    )


def _claims(outcomes: Outcomes, setting: str) -> Iterator[Claim]:
    """Approximate Mixup mimics Mixup: on the test set, it is nearer than half way to ERM."""
    said = Sentence(
        "Approximate Mixup mimics the performance of Mixup, both in training and test.",
        PLACE,
        setting,
    )
    for name, title in _NUMBERS.items():
        mixup, approximate, erm = (
            {seed: _factor(name) * value for seed, value in outcomes.last(method, name).items()}
            for method in ("mixup", "approximate", "erm")
        )
        margin = None if name == "objective" else half_distance(mixup, erm)
        within = "" if margin is None else f" (none within ±{margin:.2g}, half way to ERM)"
        yield from said.claim(
            f"{title.replace('%', 'points')} at the end, approximate − mixup{within}",
            approximate,
            mixup,
            "zero",
            margin,
        )


def _figure(outcomes: Outcomes) -> Figure:
    figure, axes = panels(len(_NUMBERS), size=(3.4, 2.8))
    for panel, (name, title) in zip(axes, _NUMBERS.items(), strict=True):
        panel.set_title(title)
        panel.set_xlabel("epoch")
        for method, (colour, style) in _METHODS.items():
            histories = [run.history for run in outcomes.of(method)]
            if histories:
                epochs = [entry["epoch"] for entry in histories[0]]
                means = [
                    _scaled([history[k][name] for history in histories], name)
                    for k in range(len(epochs))
                ]
                draw_band(panel, Line(method, colour, style, epochs, means))
    legend_above(figure, axes[0])
    return figure


def _mean(outcomes: Outcomes, method: str, name: str) -> MeanInterval:
    return _scaled(list(outcomes.last(method, name).values()), name)


def _scaled(values: Sequence[float], name: str) -> MeanInterval:
    return mean_interval([_factor(name) * value for value in values])


def _factor(name: str) -> int:
    return 100 if name.endswith("accuracy") else 1


def _text(interval: MeanInterval, name: str) -> str:
    digits = 2 if name.endswith("accuracy") else 4
    mean = f"{interval.mean:.{digits}f}"
    if interval.half_width is None:
        return mean
    return f"{mean} ± {interval.half_width:.{digits}f}"


fig2 = one_alpha(_picture, _table, _claims)
