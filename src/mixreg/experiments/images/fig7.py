"""Figure 7: how sure the predictions are, and the entropy that smoothing and mixing add."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from mixreg.evaluation import MetricName, mean_interval
from mixreg.experiments.images.outcomes import Outcomes
from mixreg.experiments.images.parts import one_alpha
from mixreg.experiments.images.runs import ALPHA
from mixreg.experiments.images.testing import Sentence
from mixreg.report.claims import Claim
from mixreg.report.histograms import outline
from mixreg.report.study import Entry, StudyTable
from mixreg.report.style import BLUE, GREY, ORANGE, RED, Picture, draw, panels, unit_ticks
from mixreg.report.wording import SCALES, mean_text

PLACE = "section 5, figure 7"
_ARMS = {
    "erm": ("ERM", GREY),
    "label-smoothing": ("label smoothing", ORANGE),
    "mixup": ("Mixup", BLUE),
    "approximate": ("approximate Mixup", RED),
}
_PANELS = (("erm", "label-smoothing", "mixup"), ("mixup", "approximate"))
_SHOWN: tuple[MetricName, ...] = ("accuracy", "confidence", "entropy")


def _picture(outcomes: Outcomes) -> Picture:
    means = [
        f"{label} {_text(outcomes, method, 'confidence')} %"
        for method, (label, _) in _ARMS.items()
        if outcomes.of(method)
    ]
    return Picture(
        "fig7",
        "Confidence of the predictions",
        "Test examples by the probability of their most probable class, in 20 bins, mean over "
        "seeds. Bands are 95% confidence intervals over seeds.",
        f"Mean confidence: {', '.join(means)}.",
        draw(lambda: _figure(outcomes)),
    )


def _table(outcomes: Outcomes) -> StudyTable:
    rows = []
    for method, (label, _) in _ARMS.items():
        runs = outcomes.of(method)
        if runs:
            cells = [Entry(_text(outcomes, method, name)) for name in _SHOWN]
            rows.append((label, [*cells, Entry(str(len(runs)))]))
    return StudyTable(
        "fig7",
        "Raw predictions on the test set",
        "Mean over seeds ± half the width of its 95% confidence interval. Label smoothing is by "
        "ε = 1 − θ̄, what mixup amounts to.",
        ["method", *(SCALES[name].heading for name in _SHOWN), "n"],
        rows,
    )


def _claims(outcomes: Outcomes, setting: str) -> Iterator[Claim]:
    """Smoothing is less sure than ERM, mixup still less, and its approximation likewise."""
    more_entropy = Sentence(
        "Mixup and label smoothing increase the entropy of the predictions.", PLACE, setting
    )
    for method in ("label-smoothing", "mixup"):
        yield from more_entropy.metric_claim(
            "entropy",
            f"{_ARMS[method][0]} − ERM",
            outcomes.metric(method, "raw", "entropy"),
            outcomes.metric("erm", "raw", "entropy"),
            "positive",
        )
    less = Sentence(
        "Mixup produces even less confident predictions than label smoothing.", PLACE, setting
    )
    like = Sentence(
        "Approximate Mixup, like Mixup, produces less confident predictions.", PLACE, setting
    )
    for said, first, second in ((less, "mixup", "label-smoothing"), (like, "approximate", "erm")):
        yield from said.metric_claim(
            "confidence",
            f"{_ARMS[first][0]} − {_ARMS[second][0]}",
            outcomes.metric(first, "raw", "confidence"),
            outcomes.metric(second, "raw", "confidence"),
            "negative",
        )


def _figure(outcomes: Outcomes) -> Figure:
    figure, axes = panels(len(_PANELS), size=(4.2, 2.9))
    for panel, methods in zip(axes, _PANELS, strict=True):
        for method in methods:
            runs = outcomes.of(method)
            if runs:
                label, colour = _ARMS[method]
                drawn = [r.evaluations[ALPHA].results["raw"].confidence for r in runs]
                outline(panel, drawn, colour=colour, label=label)
        unit_ticks(panel.xaxis)
        panel.set_xlabel("confidence of the prediction")
        panel.grid(visible=False, axis="x")
        panel.legend(loc="upper left")
    axes[0].set_ylabel("share of examples (%)")
    top = max(panel.get_ylim()[1] for panel in axes)
    for panel in axes:
        panel.set_ylim(0, top)
    return figure


def _text(outcomes: Outcomes, method: str, name: MetricName) -> str:
    values = outcomes.metric(method, "raw", name)
    return mean_text(mean_interval(list(values.values())), SCALES[name])


fig7 = one_alpha(_picture, _table, _claims)
