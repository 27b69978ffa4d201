"""What the interval of an effect says of a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixreg.evaluation import MeanInterval
from mixreg.report.records import Claim, Expected


def claim(
    mean: float, half: float | None, expected: Expected, margin: float | None = None
) -> Claim:
    effect = MeanInterval(mean, half, 1 if half is None else 5)
    return Claim("It is so.", "section 4", "a setting", "an effect", effect, expected, margin)


@pytest.mark.parametrize(
    ("mean", "half", "expected", "margin", "verdict"),
    [
        (1.0, 0.5, "positive", None, "holds"),
        (1.0, 0.5, "negative", None, "does not hold"),
        (1.0, 1.5, "positive", None, "undecided"),
        (-1.0, 0.5, "negative", None, "holds"),
        (1.0, None, "positive", None, "undecided"),
        (0.1, 0.2, "zero", 0.4, "holds"),
        (0.1, 0.2, "zero", 0.25, "undecided"),
        (0.5, 0.2, "zero", 0.25, "does not hold"),
        (0.3, 0.2, "zero", 0.25, "undecided"),
        (-0.5, 0.2, "zero", 0.25, "does not hold"),
        (0.1, 0.2, "zero", None, "undecided"),
        (0.3, 0.2, "zero", None, "does not hold"),
        (0.0, None, "zero", 1.0, "undecided"),
    ],
)
def test_verdict(
    mean: float, half: float | None, expected: Expected, margin: float | None, verdict: str
) -> None:
    assert claim(mean, half, expected, margin).verdict == verdict


@given(st.floats(-2, 2), st.floats(0, 2))
def test_a_side_and_its_opposite_never_hold_together(mean: float, half: float) -> None:
    verdicts = {claim(mean, half, side).verdict for side in ("positive", "negative")}
    assert verdicts in ({"undecided"}, {"holds", "does not hold"})


@pytest.mark.parametrize(("expected", "margin"), [("positive", 1.0), ("zero", 0.0), ("zero", -1.0)])
def test_refuses_a_margin_that_means_nothing(expected: Expected, margin: float) -> None:
    with pytest.raises(ValueError, match="a margin is a positive number"):
        claim(0.1, 0.2, expected, margin)
