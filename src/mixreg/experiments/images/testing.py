"""Effects paired by seed as claims of the paper."""

from collections.abc import Iterator
from dataclasses import dataclass

from mixreg.evaluation import MetricName, mean_interval
from mixreg.experiments.images.outcomes import BySeed
from mixreg.report.claims import Claim, Expected
from mixreg.report.wording import SCALES

BETTER: dict[MetricName, Expected] = {
    "accuracy": "positive",
    "nll": "negative",
    "ece": "negative",
}
"""The metrics of the paper, with the side on which a difference is an improvement."""

WORSE: dict[MetricName, Expected] = {
    "accuracy": "negative",
    "nll": "positive",
    "ece": "positive",
}


@dataclass(frozen=True)
class Sentence:
    """A sentence of the paper, with where it stands and on what it is tested.

    Args:
        statement: the sentence.
        place: where the paper says so.
        setting: on what it is tested.
    """

    statement: str
    place: str
    setting: str

    def claim(
        self,
        measured: str,
        first: BySeed,
        second: BySeed,
        expected: Expected,
        margin: float | None = None,
    ) -> Iterator[Claim]:
        """The difference of two numbers, paired by seed, as a test of the sentence.

        Args:
            measured: what the difference is.
            first: values by seed.
            second: values by seed, subtracted.
            expected: the side of 0 on which the sentence puts the difference, or "zero".
            margin: how far from 0 it still counts as none.

        Yields:
            The claim; nothing without common seeds.
        """
        seeds = sorted(first.keys() & second.keys())
        if seeds:
            effect = mean_interval([first[seed] - second[seed] for seed in seeds])
            told = f"{measured}, paired by seed"
            place, setting = self.place, self.setting
            yield Claim(self.statement, place, setting, told, effect, expected, margin)

    def metric_claim(
        self,
        metric: MetricName,
        compared: str,
        first: BySeed,
        second: BySeed,
        expected: Expected,
    ) -> Iterator[Claim]:
        """The difference of a metric of the test set, in its usual unit.

        Args:
            metric: which.
            compared: what is subtracted from what.
            first: values by seed.
            second: values by seed, subtracted.
            expected: the side of 0 on which the sentence puts the difference.

        Yields:
            The claim; nothing without common seeds.
        """
        scale = SCALES[metric]
        unit = f" in {scale.step}" if scale.step else ""
        shown, subtracted = (
            {seed: scale.factor * value for seed, value in values.items()}
            for values in (first, second)
        )
        told = f"test {scale.label}{unit}, {compared}"
        yield from self.claim(told, shown, subtracted, expected)


def half_distance(first: BySeed, second: BySeed) -> float | None:
    """Half the distance of two means, as the margin within which a third counts as the first.

    Args:
        first: values by seed.
        second: values by seed.

    Returns:
        The margin; None where the means are equal or one has no values.
    """
    if not first or not second:
        return None
    a, b = (mean_interval(list(values.values())).mean for values in (first, second))
    return abs(a - b) / 2 or None


def difference(first: BySeed, second: BySeed) -> BySeed:
    """Differences over the common seeds.

    Args:
        first: values by seed.
        second: values by seed, subtracted.

    Returns:
        Differences by seed.
    """
    return {seed: first[seed] - second[seed] for seed in first.keys() & second.keys()}
