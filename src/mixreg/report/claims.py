"""A sentence of the paper that was tested: what was measured, and what its interval says."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from mixreg.evaluation import MeanInterval

Expected = Literal["positive", "negative", "zero"]
Verdict = Literal["holds", "does not hold", "undecided"]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper with the effect it speaks of, measured.

    Args:
        statement: what the paper says, in one sentence.
        place: where it says so, such as "section 4, figure 4".
        setting: on what it was tested, such as "cifar10, lenet, α = 1".
        measured: what the effect is, such as "test NLL, rescaled − raw, paired by seed".
        effect: its mean over seeds with the 95% confidence interval.
        expected: the side of 0 on which the sentence puts the effect, or "zero".
        margin: how far from 0 an effect still counts as none; only where "zero" is expected.

    Raises:
        ValueError: the margin is not positive, or there is one where a side is expected.

    Example:
        >>> better = Claim("Rescaling improves accuracy.", "section 4", "cifar10, lenet, α = 1",
        ...                "accuracy, rescaled − raw", MeanInterval(0.4, 0.1, 5), "positive")
        >>> better.verdict
        'holds'
    """

    statement: str
    place: str
    setting: str
    measured: str
    effect: MeanInterval
    expected: Expected
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.margin is not None and (self.expected != "zero" or not self.margin > 0):
            raise ValueError(
                f"a margin is a positive number and belongs to the expectation 'zero', got "
                f"{self.margin} for {self.expected!r}"
            )

    @property
    def verdict(self) -> Verdict:
        """What the whole interval says."""
        return judge_effect(self.effect, self.expected, self.margin)

    def to_dict(self) -> dict[str, Any]:
        """The claim as JSON-safe values, with its verdict.

        Returns:
            Values by name.
        """
        return {**asdict(self), "effect": self.effect._asdict(), "verdict": self.verdict}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote; the verdict is worked out again.

        Args:
            values: values by name.

        Returns:
            The claim.
        """
        stored = {name: value for name, value in values.items() if name != "verdict"}
        return cls(**(stored | {"effect": MeanInterval(**values["effect"])}))


def judge_effect(effect: MeanInterval, expected: Expected, margin: float | None = None) -> Verdict:
    """What the whole interval of an effect says; one seed alone says nothing.

    A side holds where the interval lies on it. "zero" holds where the interval lies within the
    margin, and does not where it lies outside; without a margin, it can only fail.

    Args:
        effect: its mean over seeds with the 95% confidence interval.
        expected: the side of 0 on which the effect should be, or "zero".
        margin: how far from 0 an effect still counts as none.

    Returns:
        The verdict.

    Example:
        >>> judge_effect(MeanInterval(0.1, 0.2, 5), "zero", 0.5)
        'holds'
        >>> judge_effect(MeanInterval(0.1, 0.2, 5), "positive")
        'undecided'
    """
    low, high = effect.low, effect.high
    if low is None or high is None:
        return "undecided"
    if expected == "zero":
        allowed = margin or 0.0
        if margin is not None and -allowed <= low and high <= allowed:
            return "holds"
        return "does not hold" if low > allowed or high < -allowed else "undecided"
    if effect.sign == 0:
        return "undecided"
    return "holds" if effect.sign == {"positive": 1, "negative": -1}[expected] else "does not hold"
