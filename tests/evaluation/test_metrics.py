"""Metrics against plain NumPy, and the pitfalls of binned calibration errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg._random import generator
from mixreg.calibration import apply_temperature
from mixreg.evaluation.metrics import METRICS, Metrics, metrics


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
    found, expected = metrics(z, y).to_dict(), oracle(z, y)
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
    assert metrics(z, y) == Metrics(1.0, 0.0, pytest.approx(0, abs=1e-15), 0.0, 0.0, 1.0)
    wrong = metrics(z, (y + 1) % 3)
    assert wrong == Metrics(0.0, 1e4, pytest.approx(1.0), 2.0, 0.0, 1.0)


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
    assert moved.to_dict() == pytest.approx(found.to_dict(), abs=1e-9)


def test_refuses_logits_that_are_not_finite():
    z, y = case(0)
    z[3, 1] = math.nan
    with pytest.raises(ValueError, match="row 3 holds NaN"):
        metrics(z, y)
