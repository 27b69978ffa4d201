"""Metrics against plain NumPy, bins and their edges, and the pitfalls of calibration errors."""

import math
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg._random import generator
from mixreg.calibration import apply_temperature
from mixreg.evaluation import (
    METRICS,
    Histogram,
    Metrics,
    ReliabilityCurve,
    confidence_histogram,
    entropy_histogram,
    metrics,
    reliability_curve,
)


def case(seed, n=200, c=4, scale=3.0):
    g = generator("metrics", seed)
    z = scale * torch.randn(n, c, generator=g, dtype=torch.float64)
    return z, torch.randint(c, (n,), generator=g)


def oracle(z, y):
    """Every metric by loops and masks over NumPy arrays."""
    z, y = z.double().numpy(), y.numpy()
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    n, c = p.shape
    confidence, hit = p.max(1), p.argmax(1) == y
    ece = 0.0
    for k in range(15):
        low, high = np.linspace(0, 1, 16)[k : k + 2]
        inside = (confidence >= low) & ((confidence < high) | (k == 14))
        if inside.any():
            ece += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(p > 0, p * np.log(p), 0.0).sum(1)
    return {
        "accuracy": hit.mean(),
        "nll": np.mean(np.log(e.sum(1)) - (z - z.max(1, keepdims=True))[range(n), y]),
        "ece": ece,
        "brier": np.mean(((p - np.eye(c)[y]) ** 2).sum(1)),
        "entropy": entropy.mean(),
        "confidence": confidence.mean(),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "c", "scale"), [(1, 2, 1.0), (200, 4, 3.0), (500, 10, 30.0)])
def test_every_metric_agrees_with_numpy(seed, n, c, scale):
    z, y = case(seed, n, c, scale)
    found, expected = asdict(metrics(z, y)), oracle(z, y)
    assert tuple(found) == METRICS == tuple(expected)
    for name in METRICS:
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name


def test_confidence_of_exactly_one_shares_the_last_bin():
    # Two sure examples, one wrong, and one at .95 that is right: mean gap of one bin, not of two.
    z = torch.tensor([[800.0, 0.0], [800.0, 0.0], [math.log(19), 0.0]])
    y = torch.tensor([0, 1, 0])
    assert metrics(z, y).ece == pytest.approx(abs(2 / 3 - 2.95 / 3), abs=1e-7)
    assert metrics(z, y).nll == pytest.approx((800 - math.log(0.95)) / 3, rel=1e-6)


def test_ece_of_many_saturated_confidences_does_not_drown_in_rounding():
    z = torch.tensor([[math.log(0.9998 / 0.0002), 0.0]], dtype=torch.float64).expand(20_000, 2)
    assert metrics(z, torch.zeros(20_000).long()).ece == pytest.approx(2e-4, rel=1e-6)


def test_logits_inside_the_unit_interval_are_still_logits():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert metrics(z, torch.tensor([0, 1])).confidence == pytest.approx(1 / (1 + math.exp(-1)))


def test_perfect_and_perfectly_wrong_predictions():
    z, y = 1e4 * torch.eye(3), torch.arange(3)
    assert metrics(z, y) == Metrics(1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    wrong = metrics(z, (y + 1) % 3)
    assert wrong == Metrics(0.0, 1e4, 1.0, 2.0, 0.0, 1.0)


@given(
    seed=st.integers(0, 1000), n=st.integers(1, 50), c=st.integers(2, 6), scale=st.floats(0, 1e4)
)
def test_values_stay_in_their_ranges(seed, n, c, scale):
    found = metrics(*case(seed, n, c, scale))
    assert 0 <= found.accuracy <= 1
    assert 0 <= found.ece <= 1
    assert 0 <= found.brier <= 2
    assert 0 <= found.nll < math.inf
    assert -1e-12 <= found.entropy <= math.log(c) + 1e-12
    assert 1 / c - 1e-12 <= found.confidence <= 1


@given(seed=st.integers(0, 1000), log_temperature=st.floats(-8, 8))
def test_a_temperature_leaves_the_accuracy_alone(seed, log_temperature):
    z, y = case(seed)
    tempered = apply_temperature(z, math.exp(log_temperature))
    assert metrics(tempered, y).accuracy == metrics(z, y).accuracy


@given(seed=st.integers(0, 1000), shift=st.floats(-1e3, 1e3))
def test_order_of_examples_and_shifts_of_the_logits_do_not_matter(seed, shift):
    z, y = case(seed)
    order = torch.randperm(len(y), generator=generator("order", seed))
    found, moved = metrics(z, y), metrics(z[order] + shift, y[order])
    assert asdict(moved) == pytest.approx(asdict(found), abs=1e-9)


def test_refuses_logits_that_are_not_finite():
    z, y = case(0)
    z[3, 1] = math.nan
    with pytest.raises(ValueError, match="row 3 holds NaN"):
        metrics(z, y)


def test_parts_give_the_metrics_of_the_whole(monkeypatch):
    z, y = case(1, 1000, 5)
    whole, curve, histogram = metrics(z, y), reliability_curve(z, y), entropy_histogram(z)
    monkeypatch.setitem(metrics.__globals__, "_NUMBERS", 35)
    assert asdict(metrics(z, y)) == pytest.approx(asdict(whole), rel=1e-14)
    assert reliability_curve(z, y).counts == curve.counts
    assert reliability_curve(z, y).accuracy == curve.accuracy
    assert entropy_histogram(z) == histogram


@given(seed=st.integers(0, 1000), n=st.integers(1, 200), scale=st.floats(0, 1e3))
def test_the_curve_carries_the_ece_and_the_accuracy_of_the_metrics(seed, n, scale):
    z, y = case(seed, n, 3, scale)
    curve, found = reliability_curve(z, y), metrics(z, y)
    assert sum(curve.counts) == n
    assert curve.expected_error == found.ece
    hits = [k * a for k, a in zip(curve.counts, curve.accuracy, strict=True) if a is not None]
    assert sum(hits) / n == pytest.approx(found.accuracy, abs=1e-12)


def test_bins_hold_their_confidences_and_empty_ones_have_no_mean():
    curve = reliability_curve(*case(1))
    bins = zip(curve.edges, curve.edges[1:], curve.counts, curve.confidence, strict=False)
    assert curve.counts[0] == 0
    for low, high, n, mean in bins:
        assert (mean is None) == (n == 0)
        assert mean is None or low <= mean <= high


@pytest.mark.parametrize("c", range(2, 40))
def test_confidences_on_an_edge_belong_to_the_bin_above(c):
    """With a of c classes equally probable the confidence is 1/a, on an edge where a divides b."""
    for a in range(1, c + 1):
        z = torch.full((1, c), -1e4)
        z[0, :a] = 0
        assert reliability_curve(z, torch.tensor([0])).counts[min(15 // a, 14)] == 1
        assert confidence_histogram(z).counts[min(20 // a, 19)] == 1


@pytest.mark.parametrize("k", range(8, 15))
def test_edges_are_the_nearest_numbers_and_hold_what_lies_on_them(k):
    z = torch.tensor([[math.log(k), math.log(15 - k)]], dtype=torch.float64)
    curve = reliability_curve(z, torch.tensor([0]))
    assert curve.counts[k] == 1
    assert curve.edges[k] == float(Fraction(k, 15))
    below = reliability_curve(z - torch.tensor([[1e-12, 0.0]]), torch.tensor([0]))
    assert below.counts[k - 1] == 1


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Metrics(1.5, 0, 0, 0, 0, 1), r"accuracy must lie in \[0, 1\], got 1\.5"),
        (lambda: Metrics(1, math.nan, 0, 0, 0, 1), r"nll must lie in \[0, inf\], got nan"),
        (lambda: Histogram((0.0, 0.5, 1.0), (0, 0)), "not all of them 0"),
        (lambda: Histogram((0.0, 0.5, 1.0), (2, -1)), "at least 0"),
        (lambda: Histogram((0.0, 1.0), (2, 1)), "2 bins need 3 edges"),
        (lambda: Histogram((0.0, 1.0, 0.5), (2, 1)), "edges that increase"),
        (lambda: ReliabilityCurve((0.0, 1.0), (2,), (None,), (0.5,)), "needs its means"),
        (lambda: ReliabilityCurve((0.0, 1.0), (2,), (0.5,), (0.5, 0.5)), "needs its means"),
    ],
)
def test_refuses_numbers_that_no_predictions_have(make, message):
    with pytest.raises(ValueError, match=message):
        make()
