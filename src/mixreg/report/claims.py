"""A sentence of the paper that was tested: what was measured, and what its interval says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mixreg.evaluation import MeanInterval, mean_interval
from mixreg.report.numbers import effect_texts

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
        """What the whole interval says; one seed alone says nothing.

        A side holds where the interval lies on it. "zero" holds where the interval lies within
        the margin, and does not where it lies outside; without a margin, it can only fail.
        """
        low, high = self.effect.low, self.effect.high
        if low is None or high is None:
            return "undecided"
        if self.expected == "zero":
            allowed = self.margin or 0.0
            if self.margin is not None and -allowed <= low and high <= allowed:
                return "holds"
            return "does not hold" if low > allowed or high < -allowed else "undecided"
        if self.effect.sign == 0:
            return "undecided"
        wanted = 1 if self.expected == "positive" else -1
        return "holds" if self.effect.sign == wanted else "does not hold"

    @property
    def text(self) -> str:
        """The claim with its measured effect and verdict in one sentence."""
        mean, interval = effect_texts(self.effect)
        if self.effect.half_width is not None:
            interval = f"95% CI {interval}"
        return (
            f"{self.statement.rstrip('.')} ({self.place}; {self.setting}): {self.verdict}; "
            f"{self.measured} {mean}, {interval}, n = {self.effect.n}."
        )


@dataclass(frozen=True)
class Sentence:
    """A sentence of the paper, and where it stands; tested, it is a claim.

    Example:
        >>> helps = Sentence("Rescaling helps.", "section 4")
        >>> (claim,) = helps.test("digits", "NLL", {0: -0.4, 1: -0.5}, "negative")
        >>> claim.measured, claim.verdict
        ('NLL, paired by seed', 'undecided')
    """

    statement: str
    place: str

    def test(
        self,
        setting: str,
        measured: str,
        effect: Mapping[int, float],
        expected: Expected,
        margin: float | None = None,
    ) -> Iterator[Claim]:
        """The claim that an effect, paired by seed, tests; nothing without seeds.

        Args:
            setting: on what it is tested.
            measured: what the effect is.
            effect: its value for each seed.
            expected: the side of 0 on which the sentence puts it, or "zero".
            margin: how far from 0 it still counts as none.

        Yields:
            The claim.
        """
        if effect:
            mean = mean_interval(list(effect.values()))
            told = f"{measured}, paired by seed"
            yield Claim(self.statement, self.place, setting, told, mean, expected, margin)
