"""What the paper says of rescaling and of entropies, tested on any comparison of methods."""

from collections.abc import Iterator

from mixreg.evaluation import MeanInterval, MetricName
from mixreg.report.claims import Claim, Expected
from mixreg.report.summary import Comparison, Row
from mixreg.report.wording import SCALES

_RESCALING = "section 5, figure 4"
_ENTROPY = "section 5, figure 7"
_SIDES: dict[MetricName, tuple[Expected, Expected]] = {
    "accuracy": ("positive", "negative"),
    "nll": ("negative", "positive"),
    "ece": ("negative", "positive"),
}
"""The side of an improvement, and of the opposite, in the metrics of Figure 4."""


def comparison_claims(comparison: Comparison, title: str) -> list[Claim]:
    """The paper's claims about the methods that are there.

    Args:
        comparison: the summed up runs.
        title: data set and model.

    Returns:
        Claims about rescaling for mixup and ERM, and about entropies where ERM is the baseline.
    """
    claims: list[Claim] = []
    for group in comparison.groups:
        law = "" if group.alpha is None else f"α = {group.alpha:g}"
        setting = title if law in title else f"{title}, {law}"
        raw, rescaled = (comparison.row(group, name) for name in ("raw", "rescaled"))
        if rescaled is not None and rescaled.to_raw is not None and rescaled.theta_mean < 1:
            claims += _rescaling(group.method, rescaled.to_raw, setting)
        if raw is not None and comparison.baseline.method == "erm":
            claims += _entropies(raw, setting)
    return claims


def _rescaling(
    method: str, effects: dict[MetricName, MeanInterval], setting: str
) -> Iterator[Claim]:
    statements = {
        "mixup": "Rescaling improves models trained with Mixup.",
        "erm": "Rescaling always makes ERM worse.",
    }
    if method not in statements:
        return
    for metric, sides in _SIDES.items():
        scale = SCALES[metric]
        mean, half, n = effects[metric]
        yield Claim(
            statements[method],
            _RESCALING,
            setting,
            f"test {scale.label} in {scale.step}, {method} rescaled − raw, paired by seed",
            MeanInterval(scale.factor * mean, None if half is None else scale.factor * half, n),
            sides[method == "erm"],
        )


def _entropies(raw: Row, setting: str) -> Iterator[Claim]:
    if raw.group.method in {"mixup", "label-smoothing"} and raw.to_baseline is not None:
        yield Claim(
            "Mixup and label smoothing increase the entropy of the predictions.",
            _ENTROPY,
            setting,
            f"test Entropy in nats, {raw.group.method} − erm, paired by seed",
            raw.to_baseline["entropy"],
            "positive",
        )
