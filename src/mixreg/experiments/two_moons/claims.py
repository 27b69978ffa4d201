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

    sign: the sign that `first` − `second` should have; 0 where they should be equal.
    towards: where given, what is compared is how far each of the two is from this third one.
    """

    statement: str
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
_COURSE = ("train_nll", "train_accuracy", "test_nll", "test_accuracy")


def _claims() -> Iterator[Claim]:
    for metric, sign in _BETTER.items():
        said = "rescaling improves a model trained with mixup"
        yield Claim(said, metric, MIXUP_RESCALED, MIXUP, sign)
    for metric, sign in _BETTER.items():
        yield Claim("rescaling makes ERM worse", metric, ERM_RESCALED, ERM, -sign)
    for metric in _COURSE:
        said = "approximate Mixup ends where Mixup ends"
        yield Claim(said, metric, APPROXIMATE, MIXUP, 0)
        yield Claim(f"{said}, both rescaled", metric, APPROXIMATE_RESCALED, MIXUP_RESCALED, 0)
    for metric in _COURSE:
        said = "approximate Mixup ends nearer to Mixup than ERM does"
        yield Claim(said, metric, APPROXIMATE, ERM, -1, MIXUP)
    yield Claim("Mixup is less confident than ERM", "test_confidence", MIXUP, ERM, -1)
    said = "approximate Mixup is less confident than ERM"
    yield Claim(said, "test_confidence", APPROXIMATE, ERM, -1)
    for other in (ERM, MODIFIED):
        said = f"Mixup has smaller regularization terms than {_name(other)}"
        yield Claim(said, "regularizers", MIXUP, other, -1)
    said = f"Mixup has a larger loss on modified data than {_name(MODIFIED)}"
    yield Claim(said, "modified_risk", MIXUP, MODIFIED, 1)


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
