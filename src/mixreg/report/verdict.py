"""The plain-words verdict, written from the numbers and never past their intervals."""

from dataclasses import dataclass

from mixreg.evaluation import MeanInterval, MetricName
from mixreg.report.recommendation import Recommendation, recommend
from mixreg.report.results import Group
from mixreg.report.summary import Comparison
from mixreg.report.wording import JUDGED, SCALES, Judgement, Scale, judge, number, range_text

_MULTIPLICITY = (
    "Many comparisons: this page holds {shown} paired 95% intervals of metrics that have a better "
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


@dataclass(frozen=True)
class Finding:
    """What one change did to one metric.

    Args:
        metric: name of the metric.
        judgement: better, worse or undecided.
        sentence: the same in words, with interval and n.
    """

    metric: MetricName
    judgement: Judgement
    sentence: str


@dataclass(frozen=True)
class Change:
    """What one change did to accuracy, NLL and ECE.

    Args:
        title: what was changed against what.
        findings: one a metric.
    """

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Verdict:
    """The verdict of a comparison.

    Args:
        changes: effects of the rescaled prediction, and of training, group by group.
        recommendations: which correction to use, group by group.
        caveats: what the intervals do not say.
    """

    changes: tuple[Change, ...]
    recommendations: tuple[Recommendation, ...]
    caveats: tuple[str, ...]


def verdict(comparison: Comparison) -> Verdict:
    """Say what the numbers show, by the 95% intervals of paired differences alone.

    Args:
        comparison: the summed up runs.

    Returns:
        Effects, recommendations and caveats.
    """
    changes, recommendations = [], []
    for group in _judged_groups(comparison):
        raw, rescaled = comparison.row(group, "raw"), comparison.row(group, "rescaled")
        if rescaled is not None and rescaled.to_raw is not None and rescaled.theta_mean < 1:
            title = f"{group.label}: rescaled prediction (equation 22) against the raw one"
            changes.append(Change(title, _findings(rescaled.to_raw)))
        if raw is not None and raw.to_baseline is not None:
            title = f"Raw predictions: {group.label} against {comparison.baseline.label}"
            changes.append(Change(title, _findings(raw.to_baseline)))
        recommendations.append(recommend(comparison, group))
    return Verdict(tuple(changes), tuple(recommendations), _caveats(comparison))


def _judged_groups(comparison: Comparison) -> tuple[Group, ...]:
    """All groups but the baseline, or the baseline if it is the only one."""
    return comparison.groups[1:] or comparison.groups


def _findings(differences: dict[MetricName, MeanInterval]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            name,
            judge(differences[name], SCALES[name].direction),
            _sentence(name, differences[name]),
        )
        for name in _SPOKEN
    )


def _sentence(metric: MetricName, difference: MeanInterval) -> str:
    """One finding in words."""
    scale = SCALES[metric]
    step = f" {scale.step}" if scale.step else ""
    side = "higher" if difference.mean > 0 else "lower"
    size = f"{number(abs(difference.mean), scale)}{step} {side}"
    if difference.half_width is None:
        return (
            f"{scale.label}: {size} in the one seed there is; one seed has no interval and shows "
            "no difference."
        )
    if difference.is_degenerate:
        return _equal(scale, difference, size)
    interval = f"95% CI {range_text(difference, scale)}, n = {difference.n}"
    judgement = judge(difference, scale.direction)
    if judgement == "undecided":
        return (
            f"{scale.label}: no difference that these {difference.n} seeds can show "
            f"(mean {number(difference.mean, scale, signed=True)}{step}, {interval})."
        )
    return f"{scale.label}: {judgement}, {size} ({interval})."


def _equal(scale: Scale, difference: MeanInterval, size: str) -> str:
    """One finding in words where all seeds give the same difference."""
    if difference.mean == 0:
        return f"{scale.label}: no difference in any of the {difference.n} seeds."
    return (
        f"{scale.label}: {size} in each of the {difference.n} seeds; equal differences leave no "
        "interval to judge them by."
    )


def _caveats(comparison: Comparison) -> tuple[str, ...]:
    differences = [d for row in comparison.rows for d in (row.to_baseline, row.to_raw) if d]
    shown = sum(d[name].half_width is not None for d in differences for name in JUDGED)
    fewest = min(row.means["nll"].n for row in comparison.rows)
    if shown == 0:
        return (_ONE_SEED,)
    caveats = [_MULTIPLICITY.format(shown=shown, by_chance=max(1, round(shown / 20)))]
    if fewest < 5:
        caveats.append(_FEW_SEEDS.format(fewest=fewest))
    return (*caveats, _SPREAD, _CHOICE)
