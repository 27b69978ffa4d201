"""Reliability curves and histograms."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg._random import generator
from mixreg.evaluation.metrics import metrics
from mixreg.evaluation.reliability import (
    Histogram,
    ReliabilityCurve,
    confidence_histogram,
    entropy_histogram,
    reliability_curve,
)


def case(seed, n=100, c=3, scale=2.0):
    g = generator("reliability", seed)
    return scale * torch.randn(n, c, generator=g), torch.randint(c, (n,), generator=g)


@given(seed=st.integers(0, 1000), n=st.integers(1, 200), scale=st.floats(0, 1e3))
def test_the_curve_carries_the_ece_of_the_metrics(seed, n, scale):
    z, y = case(seed, n, scale=scale)
    curve, found = reliability_curve(z, y), metrics(z, y)
    assert sum(curve.counts) == n
    assert curve.expected_error == pytest.approx(found.ece, abs=1e-12)
    hits = [k * a for k, a in zip(curve.counts, curve.accuracy, strict=True) if a is not None]
    assert sum(hits) / n == pytest.approx(found.accuracy, abs=1e-6)


def test_bins_hold_their_confidences_and_empty_ones_have_no_mean():
    z, y = case(1)
    curve = reliability_curve(z, y)
    assert curve.counts[0] == 0
    assert curve.confidence[0] is None
    assert curve.accuracy[0] is None
    for low, high, n, mean in zip(
        curve.edges, curve.edges[1:], curve.counts, curve.confidence, strict=False
    ):
        assert (mean is None) == (n == 0)
        assert mean is None or low <= mean <= high


def test_certainty_falls_into_the_last_bin():
    curve = reliability_curve(torch.tensor([[900.0, 0.0]]), torch.tensor([0]))
    assert curve.counts == (0,) * 14 + (1,)
    assert curve.confidence[-1] == 1.0


@pytest.mark.parametrize(("c", "index"), [(3, 5), (5, 3), (15, 1)])
def test_bins_are_closed_below(c, index):
    curve = reliability_curve(torch.zeros(1, c), torch.tensor([0]))
    assert curve.counts[index] == 1


@given(seed=st.integers(0, 1000), n=st.integers(1, 100), c=st.integers(2, 5))
def test_histograms_count_every_example(seed, n, c):
    z, _ = case(seed, n, c)
    for histogram in (confidence_histogram(z), entropy_histogram(z)):
        assert sum(histogram.counts) == n
        assert len(histogram.edges) == len(histogram.counts) + 1 == 21


def test_histograms_put_extremes_into_the_outer_bins():
    sure, unsure = torch.tensor([[1e4, 0.0]]), torch.zeros(1, 2)
    assert confidence_histogram(sure).counts[-1] == 1
    assert confidence_histogram(unsure).counts[10] == 1
    assert entropy_histogram(sure).counts[0] == 1
    assert entropy_histogram(unsure).counts[-1] == 1
    assert entropy_histogram(unsure).edges[-1] == pytest.approx(math.log(2))


@pytest.mark.parametrize("make", [reliability_curve, lambda z, _: confidence_histogram(z)])
def test_json_round_trip(make):
    found = make(*case(2))
    kind = ReliabilityCurve if isinstance(found, ReliabilityCurve) else Histogram
    assert kind.from_dict(json.loads(json.dumps(found.to_dict()))) == found
