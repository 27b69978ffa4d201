"""What the paper says that the two moons can test, as differences paired by repetition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mixreg.evaluation import MeanInterval, mean_interval
from mixreg.experiments.two_moons.measures import Arm
from mixreg.report.claims import Expected, Verdict, judge_effect

Values = Mapping[str, Sequence[float]]


class Claim(NamedTuple):
    """A sentence that says which of two models has more of something.

    place: where in the paper it stands.
    expected: where `first` − `second` should be; "zero" where they should be equal, which half
        the distance between `second` and ERM counts as.
    towards: where given, what is compared is how far each of the two is from this third one.
    """

    statement: str
    place: str
    metric: str
    first: Arm
    second: Arm
    expected: Expected
    towards: Arm | None = None


@dataclass(frozen=True)
class Finding:
    """A claim with the paired difference that was measured.

    Args:
        claim: the claim.
        difference: `first` − `second`, paired by repetition.
        margin: what still counts as no difference, where none is expected.
    """

    claim: Claim
    difference: MeanInterval
    margin: float | None = None

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        return judge_effect(self.difference, self.claim.expected, self.margin)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-safe values.

        Returns:
            Values by name.
        """
        difference = self.difference._asdict()
        return {
            **self.claim._asdict(),
            "difference": difference,
            "margin": self.margin,
            "verdict": self.verdict,
        }


ERM: Arm = ("erm", "raw")
ERM_RESCALED: Arm = ("erm", "rescaled")
MIXUP: Arm = ("mixup", "raw")
MIXUP_RESCALED: Arm = ("mixup", "rescaled")
APPROXIMATE: Arm = ("approximate", "raw")
APPROXIMATE_RESCALED: Arm = ("approximate", "rescaled")
MODIFIED: Arm = ("modified", "raw")

_BETTER: dict[str, Expected] = {
    "test_accuracy": "positive",
    "test_nll": "negative",
    "test_ece": "negative",
    "test_brier": "negative",
}
_WORSE: dict[str, Expected] = {
    metric: "negative" if side == "positive" else "positive" for metric, side in _BETTER.items()
}
_RESCALING, _COURSES = "section 5, figure 4", "section 5, figures 2 and 8"
_CONFIDENCE, _TERMS = "section 5, figures 7 and 9", "section 5, figure 3"
_COURSE = ("train_nll", "train_accuracy", "test_nll", "test_accuracy")


def _claims() -> Iterator[Claim]:
    for metric, side in _BETTER.items():
        said = "rescaling improves models trained with Mixup"
        yield Claim(said, _RESCALING, metric, MIXUP_RESCALED, MIXUP, side)
    for metric, side in _WORSE.items():
        said = "rescaling always makes ERM worse"
        yield Claim(said, _RESCALING, metric, ERM_RESCALED, ERM, side)
    for metric in _COURSE:
        said = "approximate Mixup mimics the performance of Mixup, both in training and test"
        yield Claim(said, _COURSES, metric, APPROXIMATE, MIXUP, "zero")
        yield Claim(said, _COURSES, metric, APPROXIMATE_RESCALED, MIXUP_RESCALED, "zero")
    for metric in _COURSE:
        said = "approximate Mixup ends nearer to Mixup than ERM does"
        yield Claim(said, _COURSES, metric, APPROXIMATE, ERM, "negative", MIXUP)
    said = "is less confident than ERM"
    yield Claim(f"Mixup {said}", _CONFIDENCE, "test_confidence", MIXUP, ERM, "negative")
    approximate = f"approximate Mixup {said}"
    yield Claim(approximate, _CONFIDENCE, "test_confidence", APPROXIMATE, ERM, "negative")
    for other in (ERM, MODIFIED):
        said = f"Mixup has smaller regularization terms than {_name(other)}"
        yield Claim(said, _TERMS, "regularizers", MIXUP, other, "negative")
    said = f"Mixup has a larger loss on modified data than {_name(MODIFIED)}"
    yield Claim(said, _TERMS, "modified_risk", MIXUP, MODIFIED, "positive")


def _name(arm: Arm) -> str:
    return {"erm": "ERM", "modified": "ERM on modified data"}[arm[0]]


CLAIMS: tuple[Claim, ...] = tuple(_claims())


def judge(claim: Claim, outcomes: Mapping[Arm, Values]) -> Finding:
    """The paired difference that a claim is about.

    Args:
        claim: the claim.
        outcomes: values of each metric, one for each repetition in the same order everywhere.

    Returns:
        The finding.
    """
    first, second = (outcomes[arm][claim.metric] for arm in (claim.first, claim.second))
    if claim.towards is not None:
        target = outcomes[claim.towards][claim.metric]
        first, second = (
            [abs(a - b) for a, b in zip(values, target, strict=True)] for values in (first, second)
        )
    differences = [a - b for a, b in zip(first, second, strict=True)]
    margin = None
    if claim.expected == "zero":
        means = [mean_interval(values).mean for values in (second, outcomes[ERM][claim.metric])]
        margin = abs(means[0] - means[1]) / 2 or None
    return Finding(claim, mean_interval(differences), margin)
