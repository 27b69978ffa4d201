"""What a comparison shows, in plain words that never go past the intervals."""

from collections.abc import Iterator

from mixreg.evaluation import CORRECTIONS, Correction, MeanInterval, MetricName
from mixreg.report.groups import Group, Groups, Reference
from mixreg.report.numbers import JUDGED, METRIC_FORMATS, MetricFormat, judge, number, range_text
from mixreg.report.tables import Entry

_MULTIPLICITY = (
    "Many comparisons: this page holds {count} paired 95% intervals of metrics that have a better "
    "side. If nothing differed at all, about {by_chance} of them would still exclude 0; none is "
    "widened for that."
)
_SPREAD = (
    "The intervals (Student's t over seeds) describe the spread of repeated training on this "
    "data, measured on this one test set; another data set can turn out otherwise."
)
_CHOICE = (
    "The recommended correction is chosen on the same test examples its NLL is measured on, "
    "which makes that NLL slightly optimistic."
)
_ONE_SEED = "There is one seed, so there are no intervals and nothing here is shown."
_FEW_SEEDS = (
    "With {fewest} seeds the width of the intervals is itself uncertain; five or more are better."
)
_SPOKEN: tuple[MetricName, ...] = ("accuracy", "nll", "ece")
_CHOICES: dict[Correction, tuple[str, int]] = {
    "raw": ("the raw prediction", 0),
    "rescaled": ("the rescaled prediction (equation 22)", 1),
    "scale-only": ("the outer half of equation 22 alone (scale-only)", 1),
    "shrink-only": ("the inner half of equation 22 alone (shrink-only)", 1),
    "temperature": ("temperature scaling", 2),
    "rescaled+temperature": ("the rescaled prediction with a fitted temperature", 3),
}
"""The corrections to choose from, those that are preferred first, each with what it asks for."""


_REFERENCES: tuple[Reference, ...] = ("baseline", "raw")


def findings(groups: Groups) -> Iterator[Entry]:
    """Effects of the rescaled prediction, and of training, by the 95% intervals alone."""
    for group in _judged(groups):
        rescaled = f"{group.label}: rescaled prediction (equation 22) against the raw one"
        trained = f"Raw predictions: {group.label} against {groups.baseline.label}"
        for metric in _SPOKEN:
            effect = groups.effect(group, "rescaled", metric, "raw")
            if effect is not None and groups.theta_mean(group) < 1:
                yield _finding(metric, effect, rescaled)
        for metric in _SPOKEN:
            effect = groups.effect(group, "raw", metric, "baseline")
            if effect is not None:
                yield _finding(metric, effect, trained)


def advice(groups: Groups) -> Iterator[str]:
    """Which prediction to use, by NLL, for each group."""
    for group in _judged(groups):
        yield f"{group.label}. {_advice(groups, group)}"


def caveats(groups: Groups) -> Iterator[str]:
    """What the intervals do not say, and holes in the numbers."""
    rows = list(groups.rows())
    effects = [groups.effect(*row, "nll", r) for row in rows for r in _REFERENCES]
    count = len(JUDGED) * sum(e is not None and e.half_width is not None for e in effects)
    fewest = min(len(groups.values(*row, "nll")) for row in rows)
    if count == 0:
        yield _ONE_SEED
    else:
        yield _MULTIPLICITY.format(count=count, by_chance=max(1, round(count / 20)))
        if fewest < 5:
            yield _FEW_SEEDS.format(fewest=fewest)
        yield from (_SPREAD, _CHOICE)
    yield from _remarks(groups)


def _judged(groups: Groups) -> list[Group]:
    """All groups but the baseline, or the baseline if it is the only one."""
    return list(groups.runs)[1:] or list(groups.runs)


def _finding(metric: MetricName, effect: MeanInterval, title: str) -> Entry:
    form = METRIC_FORMATS[metric]
    step = f" {form.step}" if form.step else ""
    side = "higher" if effect.mean > 0 else "lower"
    size = f"{number(abs(effect.mean), form)}{step} {side}"
    judgement = judge(effect, form.direction)
    interval = f"95% CI {range_text(effect, form)}, n = {effect.n}"
    if effect.half_width is None:
        said = f"{size} in the one seed there is; one seed has no interval and shows no difference."
    elif effect.is_degenerate and effect.mean == 0:
        said = f"no difference in any of the {effect.n} seeds."
    elif effect.is_degenerate:
        said = (
            f"{size} in each of the {effect.n} seeds; equal differences leave no interval to judge "
            "them by."
        )
    elif judgement == "undecided":
        mean = number(effect.mean, form, signed=True)
        said = (
            f"no difference that these {effect.n} seeds can show (mean {mean}{step}, {interval})."
        )
    else:
        said = f"{judgement}, {size} ({interval})."
    return Entry(f"{form.label}: {said}", judgement, title)


def _advice(groups: Groups, group: Group) -> str:
    """The correction to use for one group, and its grounds."""
    # Of the corrections whose NLL is below that of the raw prediction by all of the interval, the
    # one with the lowest mean, or a preferred one that is not shown to be worse than that.
    names = [name for name in _CHOICES if name in groups.corrections(group)]
    means = {name: mean for name in names if (mean := groups.mean(group, name, "nll"))}
    if max(mean.n for mean in means.values()) < 2:
        lowest = min(means, key=lambda name: means[name].mean)
        return (
            f"One seed cannot decide. The lowest NLL in it is that of {_CHOICES[lowest][0]}; "
            "run at least three seeds before choosing."
        )
    changes = {n: e for n in names if (e := groups.effect(group, n, "nll", "raw"))}
    lower = [name for name, effect in changes.items() if effect.sign < 0]
    if not lower:
        told = "; ".join(f"{name} {_interval(effect)}" for name, effect in changes.items())
        return f"Keep the raw prediction: no correction is shown to lower its NLL. Changes: {told}."

    def gap(first: Correction, second: Correction) -> MeanInterval:
        found = groups.gap((group, first), (group, second), "nll")
        assert found is not None  # both share seeds with the raw prediction
        return found

    best = min(lower, key=lambda name: means[name].mean)
    chosen = next(name for name in lower if name == best or gap(name, best).sign <= 0)
    said = f"Use {_CHOICES[chosen][0]}: it lowers the NLL ({_interval(changes[chosen])})"
    if chosen == best:
        return f"{said}, and of the corrections that do, it has the lowest mean."
    dearer = ", and it asks for more" if _CHOICES[best][1] > _CHOICES[chosen][1] else ""
    return (
        f"{said}. The mean NLL of {_CHOICES[best][0]} is lower still, which these seeds do not "
        f"show to be more than chance ({_interval(gap(best, chosen))}){dearer}."
    )


def _interval(nll: MeanInterval) -> str:
    form: MetricFormat = METRIC_FORMATS["nll"]
    return (
        f"{number(nll.mean, form, signed=True)} nats, 95% CI {range_text(nll, form)}, n = {nll.n}"
    )


def _remarks(groups: Groups) -> Iterator[str]:
    """Unpaired seeds, missing corrections, and temperatures that are bounds."""
    expected = [run.seed for run in groups.runs[groups.baseline]]
    for group, runs in groups.runs.items():
        seeds = [run.seed for run in runs]
        if seeds != expected:
            yield (
                f"{group.label} has the seeds {seeds} and the baseline {expected}; differences "
                "are taken over those that both have."
            )
    for group, runs in groups.runs.items():
        for name in CORRECTIONS:
            absent = [run.evaluation.absent.get(name, "") for run in runs]
            for reason in dict.fromkeys(filter(None, absent)):
                yield (
                    f"{group.label}, {name}: absent in {absent.count(reason)} of {len(runs)} runs, "
                    f"since it {reason}."
                )
            results = [run.evaluation.results.get(name) for run in runs]
            bounds = [result.remark for result in results if result is not None]
            for reason in dict.fromkeys(filter(None, bounds)):
                yield (
                    f"{group.label}, {name}: in {bounds.count(reason)} of {len(runs)} runs "
                    f"{reason}; there the temperature is a bound, not a minimum."
                )
