"""Means over seeds against SciPy's t intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mixreg.evaluation.intervals import MeanInterval, mean_interval, paired_difference

values = st.floats(-1e6, 1e6)


@given(st.lists(values, min_size=2, max_size=30))
def test_agrees_with_scipys_interval(sample):
    found = mean_interval(sample)
    spread = float(np.std(sample, ddof=1))
    assert found.mean == pytest.approx(np.mean(sample), abs=1e-9 * max(map(abs, sample)) + 1e-300)
    if spread > 1e-6 * max(map(abs, sample)):
        low, high = stats.t.interval(
            0.95, len(sample) - 1, np.mean(sample), spread / math.sqrt(len(sample))
        )
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)


@given(st.lists(st.tuples(values, values), min_size=2, max_size=10))
def test_paired_difference_is_scipys_paired_t_test(pairs):
    a, b = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    found = paired_difference(a, b)
    differences = [x - y for x, y in pairs]
    if np.std(differences, ddof=1) > 1e-6 * max(map(abs, differences)):
        test = stats.ttest_rel(*zip(*pairs, strict=True)).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((test.low, test.high), rel=1e-6)


def test_pairing_is_by_seed_not_by_position():
    found = paired_difference({3: 1.0, 1: 5.0}, {1: 4.0, 3: 0.0})
    assert found == MeanInterval(1.0, 0.0, 2)


def test_one_value_has_no_interval():
    found = mean_interval([0.7])
    assert found == MeanInterval(0.7, None, 1)
    assert (found.low, found.high, found.sign) == (None, None, 0)


@pytest.mark.parametrize(
    ("interval", "sign"),
    [
        (MeanInterval(2.0, 1.0, 5), 1),
        (MeanInterval(-2.0, 1.0, 5), -1),
        (MeanInterval(2.0, 3.0, 5), 0),
        (MeanInterval(2.0, 2.0, 5), 0),
        (MeanInterval(0.0, 0.0, 5), 0),
        (MeanInterval(2.0, 0.0, 5), 0),
        (MeanInterval(2.0, 1e-15, 5), 0),
        (MeanInterval(2.0, None, 1), 0),
    ],
)
def test_sign_needs_the_whole_interval_on_one_side(interval, sign):
    assert interval.sign == sign


def test_equal_differences_have_no_interval_to_judge_by():
    a, b = {0: 441 / 450, 1: 440 / 450}, {0: 438 / 450, 1: 437 / 450}
    found = paired_difference(a, b)
    assert found.mean == pytest.approx(3 / 450)
    assert found.is_degenerate
    assert not mean_interval([1.0, 1.1]).is_degenerate
    assert not mean_interval([1.0]).is_degenerate


def test_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, math.nan])
    with pytest.raises(ValueError, match="at least one value"):
        paired_difference({}, {})


def test_refuses_different_seeds():
    with pytest.raises(ValueError, match=r"same seeds on both sides, got \[0, 1\] and \[0, 2\]"):
        paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 2: 2.0})
