"""Corrections against equation 22 written out, and their limits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg import Beta, Constant
from mixreg._random import generator
from mixreg.evaluation.corrections import CORRECTIONS, correct
from mixreg.evaluation.predictions import Predictions

LAW = Beta(1.0)
MEAN = torch.tensor([0.2, 0.3, 0.5])
TEMPERATURES = {"temperature": 1.6, "rescaled+temperature": 1.6}


def predictions(seed=0, n=6, c=3):
    g = generator("corrections", seed)
    raw, shrunk = torch.randn(2, n, c, generator=g)
    return Predictions(raw, shrunk, torch.zeros(n, dtype=torch.long))


def test_each_correction_is_its_formula():
    p = predictions()
    u, v, mean = p.raw.double(), p.shrunk.double(), MEAN.double()
    expected = {
        "raw": u,
        "rescaled": mean * (1 - 1 / 0.75) + v / 0.75,
        "shrink-only": v,
        "scale-only": mean * (1 - 1 / 0.75) + u / 0.75,
        "two-views": (mean * (1 - 1 / 0.75) + u / 0.75 + mean * (1 - 1 / 0.75) + v / 0.75) / 2,
        "temperature": u / 1.6,
        "rescaled+temperature": (mean * (1 - 1 / 0.75) + v / 0.75) / 1.6,
    }
    assert tuple(expected) == CORRECTIONS
    for name, logits in expected.items():
        found = correct(p, name, y_mean=MEAN, law=LAW, temperature=TEMPERATURES.get(name))
        torch.testing.assert_close(found, logits, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 1000), c=st.integers(2, 6), alpha=st.floats(0.01, 100))
def test_with_balanced_classes_rescaling_is_the_temperature_theta_mean(seed, c, alpha):
    p, law = predictions(seed, c=c), Beta(alpha)
    rescaled = correct(p, "rescaled", y_mean=torch.full((c,), 1 / c, dtype=torch.float64), law=law)
    tempered = p.shrunk.double() / law.theta_mean
    torch.testing.assert_close(rescaled.softmax(1), tempered.softmax(1), rtol=0, atol=1e-12)


def test_without_mixing_nothing_changes():
    p = predictions()
    found = correct(p, "scale-only", y_mean=MEAN, law=Constant(1.0))
    assert torch.equal(found, p.raw.double())


@given(seed=st.integers(0, 1000), mean=st.floats(0, 1))
def test_one_label_mean_stands_for_two_classes(seed, mean):
    p = predictions(seed, c=2)
    pair = correct(p, "rescaled", y_mean=torch.tensor([1 - mean, mean]).double(), law=LAW)
    for shape in ((), (1,)):
        single = torch.tensor(mean, dtype=torch.float64).reshape(shape)
        torch.testing.assert_close(correct(p, "rescaled", y_mean=single, law=LAW), pair)
    logit = (p.shrunk[:, 1] - p.shrunk[:, 0]).double()
    torch.testing.assert_close(
        pair[:, 1] - pair[:, 0], logit / 0.75 + (2 * mean - 1) * (1 - 1 / 0.75)
    )


def test_refuses_an_unknown_correction():
    with pytest.raises(ValueError, match=r"one of raw, rescaled.*got 'rescale'"):
        correct(predictions(), "rescale", y_mean=MEAN, law=LAW)


@pytest.mark.parametrize("shape", [(), (2,), (4,), (1, 3)])
def test_refuses_means_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"y_mean must have shape \(3,\)"):
        correct(predictions(), "rescaled", y_mean=torch.zeros(shape), law=LAW)


@pytest.mark.parametrize(
    "mean", [[0.2, 0.3, torch.nan], [-0.1, 0.6, 0.5], [2.0, 3.0, 5.0], [torch.inf, 0.0, 0.0]]
)
def test_refuses_means_that_are_no_shares(mean):
    with pytest.raises(ValueError, match=r"at least 0 and with sum 1, got .*TrainingStatistics"):
        correct(predictions(), "rescaled", y_mean=torch.tensor(mean), law=LAW)


@pytest.mark.parametrize("name", ["temperature", "rescaled+temperature"])
def test_a_temperature_is_needed_where_it_is_used(name):
    with pytest.raises(ValueError, match="needs a temperature, got None"):
        correct(predictions(), name, y_mean=MEAN, law=LAW)
    with pytest.raises(ValueError, match=r"positive finite number, got 0\.0"):
        correct(predictions(), name, y_mean=MEAN, law=LAW, temperature=0.0)


@pytest.mark.parametrize("name", ["raw", "rescaled", "shrink-only", "scale-only", "two-views"])
def test_a_temperature_is_refused_where_it_is_not_used(name):
    with pytest.raises(ValueError, match=r"uses no temperature, got 2\.0"):
        correct(predictions(), name, y_mean=MEAN, law=LAW, temperature=2.0)
