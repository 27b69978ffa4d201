"""What the paper says that the two moons can test, as differences paired by repetition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mixreg.evaluation import MeanInterval, mean_interval
from mixreg.experiments.two_moons.measures import Arm

Verdict = Literal["holds", "does not hold", "undecided"]
Values = Mapping[str, Sequence[float]]


class Claim(NamedTuple):
    """A sentence that says which of two models has more of something.

    place: where in the paper it stands.
    sign: the sign that `first` − `second` should have; 0 where they should be equal.
    towards: where given, what is compared is how far each of the two is from this third one.
    """

    statement: str
    place: str
    metric: str
    first: Arm
    second: Arm
    sign: int
    towards: Arm | None = None


@dataclass(frozen=True)
class Finding:
    """A claim with the paired difference that was measured.

    Args:
        claim: the claim.
        difference: `first` − `second`, paired by repetition.
    """

    claim: Claim
    difference: MeanInterval

    @property
    def verdict(self) -> Verdict:
        """What the interval says.

        Equality does not hold where the interval excludes 0, and is undecided else: an interval
        around 0 is no proof of it.
        """
        found = self.difference.sign
        if found == 0:
            return "undecided"
        return "holds" if found == self.claim.sign else "does not hold"

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-safe values.

        Returns:
            Values by name.
        """
        difference = self.difference._asdict()
        return {**self.claim._asdict(), "difference": difference, "verdict": self.verdict}


ERM: Arm = ("erm", "raw")
ERM_RESCALED: Arm = ("erm", "rescaled")
MIXUP: Arm = ("mixup", "raw")
MIXUP_RESCALED: Arm = ("mixup", "rescaled")
APPROXIMATE: Arm = ("approximate", "raw")
APPROXIMATE_RESCALED: Arm = ("approximate", "rescaled")
MODIFIED: Arm = ("modified", "raw")

_BETTER = {"test_accuracy": 1, "test_nll": -1, "test_ece": -1, "test_brier": -1}
_RESCALING, _COURSES = "section 5, figure 4", "section 5, figures 2 and 8"
_CONFIDENCE, _TERMS = "section 5, figures 7 and 9", "section 5, figure 3"
_COURSE = ("train_nll", "train_accuracy", "test_nll", "test_accuracy")


def _claims() -> Iterator[Claim]:
    for metric, sign in _BETTER.items():
        said = "rescaling improves models trained with Mixup"
        yield Claim(said, _RESCALING, metric, MIXUP_RESCALED, MIXUP, sign)
    for metric, sign in _BETTER.items():
        said = "rescaling always makes ERM worse"
        yield Claim(said, _RESCALING, metric, ERM_RESCALED, ERM, -sign)
    for metric in _COURSE:
        said = "approximate Mixup ends where Mixup ends"
        yield Claim(said, _COURSES, metric, APPROXIMATE, MIXUP, 0)
        both = f"{said}, both rescaled"
        yield Claim(both, _COURSES, metric, APPROXIMATE_RESCALED, MIXUP_RESCALED, 0)
    for metric in _COURSE:
        said = "approximate Mixup ends nearer to Mixup than ERM does"
        yield Claim(said, _COURSES, metric, APPROXIMATE, ERM, -1, MIXUP)
    said = "is less confident than ERM"
    yield Claim(f"Mixup {said}", _CONFIDENCE, "test_confidence", MIXUP, ERM, -1)
    yield Claim(f"approximate Mixup {said}", _CONFIDENCE, "test_confidence", APPROXIMATE, ERM, -1)
    for other in (ERM, MODIFIED):
        said = f"Mixup has smaller regularization terms than {_name(other)}"
        yield Claim(said, _TERMS, "regularizers", MIXUP, other, -1)
    said = f"Mixup has a larger loss on modified data than {_name(MODIFIED)}"
    yield Claim(said, _TERMS, "modified_risk", MIXUP, MODIFIED, 1)


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
    return Finding(claim, mean_interval(differences))
