"""Which correction to use, by the NLL of the test examples and its intervals."""

from dataclasses import dataclass

from mixreg.evaluation import Correction, MeanInterval, paired_difference
from mixreg.report.results import Group
from mixreg.report.summary import Comparison, Row
from mixreg.report.wording import SCALES, number, range_text

_NAMES: dict[Correction, str] = {
    "raw": "the raw prediction",
    "rescaled": "the rescaled prediction (equation 22)",
    "temperature": "temperature scaling",
    "rescaled+temperature": "the rescaled prediction with a fitted temperature",
}
"""The corrections to choose from, those that ask for less first."""


@dataclass(frozen=True)
class Recommendation:
    """The correction to use for one group of runs.

    Args:
        group: the group.
        correction: the correction, None where one seed cannot decide.
        sentence: the choice and its grounds in words.
    """

    group: Group
    correction: Correction | None
    sentence: str


def recommend(comparison: Comparison, group: Group) -> Recommendation:
    """Choose a correction for one group of runs.

    Of the corrections whose NLL is shown to be below that of the raw prediction (by the 95%
    interval of the paired difference), the one with the lowest mean; instead of it one that asks
    for less, where the paired difference between the two does not show it to be worse; and the
    raw prediction where no correction is shown to improve on it.

    Args:
        comparison: the summed up runs.
        group: the group.

    Returns:
        The choice and its grounds.
    """
    rows = [row for name in _NAMES if (row := comparison.row(group, name)) is not None]
    if max(row.means["nll"].n for row in rows) < 2:
        lowest = min(rows, key=lambda row: row.means["nll"].mean)
        sentence = (
            f"One seed cannot decide. The lowest NLL in it is that of {_NAMES[lowest.correction]}; "
            "run at least three seeds before choosing."
        )
        return Recommendation(group, None, sentence)
    shown = [row for row in rows if row.to_raw is not None and row.to_raw["nll"].sign < 0]
    if not shown:
        changes = "; ".join(f"{r.correction} {_change(r)}" for r in rows if r.correction != "raw")
        sentence = (
            f"Keep the raw prediction: no correction is shown to lower its NLL. Changes: {changes}."
        )
        return Recommendation(group, "raw", sentence)
    best = min(shown, key=lambda row: row.means["nll"].mean)
    chosen = next(row for row in shown if row is best or _gap(row, best).sign <= 0)
    sentence = f"Use {_NAMES[chosen.correction]}: it lowers the NLL ({_change(chosen)})"
    if chosen is best:
        sentence += ", and of the corrections that do, it has the lowest mean."
    else:
        sentence += (
            f". The mean NLL of {_NAMES[best.correction]} is lower still, which these seeds do not "
            f"show to be more than chance ({_interval(_gap(best, chosen))}), and it asks for more."
        )
    return Recommendation(group, chosen.correction, sentence)


def _change(row: Row) -> str:
    """Paired NLL difference of a row to the raw prediction."""
    assert row.to_raw is not None
    return _interval(row.to_raw["nll"])


def _interval(nll: MeanInterval) -> str:
    scale = SCALES["nll"]
    return (
        f"{number(nll.mean, scale, signed=True)} nats, 95% CI {range_text(nll, scale)}, n = {nll.n}"
    )


def _gap(a: Row, b: Row) -> MeanInterval:
    """NLL of one row less that of another, paired over the seeds that both have."""
    x, y = a.values["nll"], b.values["nll"]
    common = x.keys() & y.keys()
    return paired_difference({seed: x[seed] for seed in common}, {seed: y[seed] for seed in common})
