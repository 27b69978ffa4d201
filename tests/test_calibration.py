"""Temperature scaling against SciPy's bounded minimiser and closed forms."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mixreg._random import generator
from mixreg.calibration import (
    apply_temperature,
    describe_limit,
    fit_temperature,
    search_in_parts,
    search_temperature,
)


def sampled(n, c, *, temperature=1.0, scale=3.0, seed=0):
    """Logits, and labels drawn from their softmax at the given temperature."""
    g = generator("logits", seed)
    z = scale * torch.randn(n, c, generator=g, dtype=torch.float64)
    labels = torch.multinomial((z / temperature).softmax(1), 1, generator=g).squeeze(1)
    return z, labels


def nll(z, labels, temperature):
    log_p = log_softmax(z.numpy() / temperature, axis=1)
    return -log_p[range(len(z)), labels.numpy()].mean()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.7])
@pytest.mark.parametrize(("n", "c"), [(200, 2), (500, 10)])
def test_agrees_with_scipys_minimum(n, c, temperature):
    z, labels = sampled(n, c, temperature=temperature)
    oracle = minimize_scalar(
        lambda t: nll(z, labels, math.exp(t)), bounds=(-6, 6), options={"xatol": 1e-10}
    )
    fit = search_temperature(z, labels)
    assert fit.limit is None
    assert math.log(fit.temperature) == pytest.approx(oracle.x, abs=1e-6)
    assert fit.nll == pytest.approx(oracle.fun, abs=1e-12)


def test_parts_give_the_temperature_of_the_whole(monkeypatch):
    """Blocks of seven rows against all rows at once; one block gives the same bits."""
    z, labels = sampled(300, 3, temperature=1.7)
    whole = search_temperature(z, labels)
    assert search_in_parts(lambda: [(z, labels)]) == whole
    monkeypatch.setattr("mixreg.calibration._NUMBERS", 21)
    parts = search_temperature(z, labels)
    assert parts.temperature == pytest.approx(whole.temperature, rel=1e-11)
    assert parts.nll == pytest.approx(whole.nll, rel=1e-13)


def test_recovers_the_temperature_the_labels_were_drawn_with():
    z, labels = sampled(200_000, 3, temperature=1.7)
    assert fit_temperature(z, labels) == pytest.approx(1.7, rel=0.02)


def test_two_classes_with_equal_margins_have_a_closed_form():
    # right in 3 of 4 cases at margin m: sigmoid(m/T) = 3/4
    z = torch.tensor([[1.3, 0.0]] * 4)
    fitted = fit_temperature(z, torch.tensor([0, 0, 0, 1]))
    assert fitted == pytest.approx(1.3 / math.log(3), rel=1e-6)


@given(
    seed=st.integers(0, 10_000),
    shift=st.floats(-100, 100),
    log_scale=st.floats(-10, 10),
    n=st.integers(1, 30),
)
def test_follows_the_scale_of_the_logits_and_ignores_shifts(seed, shift, log_scale, n):
    z, labels = sampled(n, 3, seed=seed)
    factor = math.exp(log_scale)
    fit = search_temperature(z, labels)
    other = search_temperature(factor * z + factor * shift, labels)
    assert other.limit == fit.limit
    assert other.temperature == pytest.approx(factor * fit.temperature, rel=1e-5)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 40), c=st.integers(2, 5))
def test_no_nearby_temperature_fits_better(seed, n, c):
    z, labels = sampled(n, c, seed=seed)
    fit = search_temperature(z, labels)
    best = nll(z, labels, fit.temperature)
    if fit.limit is None:
        assert all(nll(z, labels, fit.temperature * f) >= best - 1e-12 for f in (0.9, 0.99, 1.01))
    elif fit.limit == "sharp":
        assert nll(z, labels, 1.01 * fit.temperature) > best


def test_temperature_does_not_change_the_order_of_classes():
    z, _ = sampled(100, 4)
    assert torch.equal(apply_temperature(z, 3.3).argsort(1), z.argsort(1))


def test_separable_hold_out_stops_at_the_rule_of_succession():
    z, _ = sampled(50, 4)
    with pytest.warns(UserWarning, match="without error"):
        temperature = fit_temperature(z, z.argmax(1))
    assert nll(z, z.argmax(1), temperature) == pytest.approx(1 / 52, rel=1e-9)


def test_almost_separable_hold_out_is_held_back_too():
    # One error by a hair among examples that are right by far.
    z = torch.tensor([[1.0, 0.0]] * 99 + [[0.0, 1e-6]])
    fit = search_temperature(z, torch.zeros(100, dtype=torch.long))
    assert fit.limit == "sharp"
    assert fit.nll == pytest.approx(1 / 102, rel=1e-9)


def test_ties_that_no_temperature_breaks_stop_at_the_lower_bound():
    z = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    fit = search_temperature(z, torch.tensor([0, 1]))
    deviation = float((z - z.mean(1, keepdim=True)).square().mean().sqrt())
    assert fit.limit == "sharp"
    assert fit.temperature == pytest.approx(1e-6 * deviation, rel=1e-6)


def test_logits_worse_than_chance_stop_at_the_upper_bound():
    z, _ = sampled(50, 4)
    with pytest.warns(UserWarning, match="no more about the labels than chance"):
        temperature = fit_temperature(z, z.argmin(1))
    deviation = float((z - z.mean(1, keepdim=True)).square().mean().sqrt())
    assert temperature == pytest.approx(1000 * deviation, rel=1e-9)


def test_constant_logits_leave_the_temperature_at_one():
    fit = search_temperature(torch.full((3, 4), 7.0), torch.tensor([0, 1, 2]))
    assert fit == (1.0, math.log(4), "constant")
    assert "constant" in describe_limit(fit.limit)


def test_huge_logits_and_low_precision_are_safe():
    z, labels = sampled(300, 3, temperature=1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_temperature(1e4 * z, labels) == pytest.approx(
            1e4 * fit_temperature(z, labels), rel=1e-9
        )
        half = fit_temperature(z.bfloat16(), labels.int())
    assert half == pytest.approx(fit_temperature(z, labels), rel=0.02)


def test_fitting_leaves_no_gradient_behind():
    z, labels = sampled(50, 3)
    z.requires_grad_()
    assert isinstance(fit_temperature(z, labels), float)
    assert z.grad is None


def test_probabilities_in_the_place_of_logits_draw_a_warning():
    z, labels = sampled(300, 3)
    with pytest.warns(UserWarning, match="as probabilities do; this needs logits"):
        fit_temperature(z.softmax(1).float(), labels)
