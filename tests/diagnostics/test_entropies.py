import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy.special import logsumexp
from scipy.stats import entropy

from mixreg import Beta, shrink
from mixreg.diagnostics import entropy_report, prediction_entropy


def test_the_entropy_is_scipys():
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = entropy(logits.softmax(1).numpy(), axis=1)
    np.testing.assert_allclose(prediction_entropy(logits), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([[0.0, 0.0, 0.0]], math.log(3)),
        ([[1e4, -1e4]], 0.0),
        ([0.0], math.log(2)),
        ([[1e4]], 0.0),
    ],
)
def test_the_ends_of_the_entropy(logits, expected):
    assert float(prediction_entropy(torch.tensor(logits))) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6))
def test_the_entropy_lies_between_zero_and_log_c(logits):
    found = float(prediction_entropy(torch.tensor([logits], dtype=torch.float64)))
    assert -1e-12 <= found <= math.log(len(logits)) + 1e-12


def problem(n=40, d=3, c=4):
    source = torch.Generator().manual_seed(3)
    x = torch.randn(n, d, generator=source, dtype=torch.float64)
    y = torch.eye(c, dtype=torch.float64)[torch.randint(c, (n,), generator=source)]
    return x, y, shrink(y, y.mean(0), Beta(1.0))


def fit(x, y):
    """The linear model that minimises cross-entropy, by SciPy."""
    x, y = x.numpy(), y.numpy()

    def risk(weights):
        u = x @ weights.reshape(x.shape[1], -1)
        p = np.exp(u - logsumexp(u, axis=1, keepdims=True))
        loss = (logsumexp(u, axis=1) - (y * u).sum(1)).mean()
        return loss, (x.T @ (p - y) / len(x)).ravel()

    start = np.zeros(x.shape[1] * y.shape[1])
    found = optimize.minimize(risk, start, jac=True, method="BFGS", options={"gtol": 1e-10})
    return torch.from_numpy(x @ found.x.reshape(x.shape[1], -1))


def test_proposition_one_for_fitted_linear_models():
    x, y, smoothed = problem()
    plain, smooth = fit(x, y), fit(x, smoothed)
    report = entropy_report(smooth, smooth, smoothed, theta_mean=0.75, reference_outputs=plain)
    reference = entropy(plain.softmax(1).numpy(), axis=1).mean()
    assert report.reference == pytest.approx(reference)
    assert report.bound == pytest.approx(0.75 * reference + 0.25 * entropy(y.mean(0).numpy()))
    assert report.bound <= report.predictions
    assert report.modified_labels <= report.predictions


def test_at_the_best_scale_of_any_logits_the_entropy_is_the_loss_and_above_that_of_the_labels():
    x, _, smoothed = problem()
    u = torch.sin(5 * x @ torch.ones(3, 4, dtype=torch.float64).cumsum(1))

    def risk(t):
        return float((torch.logsumexp(t * u, 1) - (smoothed * t * u).sum(1)).mean())

    best = optimize.minimize_scalar(risk, bounds=(-50, 50), options={"xatol": 1e-10}).x
    report = entropy_report(best * u, best * u, smoothed, theta_mean=0.75)
    assert report.scale_slope == pytest.approx(0, abs=1e-7)
    assert report.modified_predictions == pytest.approx(risk(best), abs=1e-7)
    assert report.modified_predictions > report.modified_labels


def test_the_slope_is_the_derivative_in_the_scale_and_loss_less_entropy():
    x, _, smoothed = problem()
    u = (x @ torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()) * 3
    t = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = (torch.logsumexp(t * u, 1) - (smoothed * t * u).sum(1)).mean()
    loss.backward()
    report = entropy_report(u, u, smoothed, theta_mean=0.75)
    assert report.scale_slope == pytest.approx(float(t.grad), rel=1e-10)
    difference = float(loss.detach()) - report.modified_predictions
    assert report.scale_slope == pytest.approx(difference, rel=1e-10)


def test_bounds_in_their_order():
    x, _, smoothed = problem()
    u = torch.zeros(len(x), 4)
    without = entropy_report(u, u, smoothed, theta_mean=0.75)
    sure = entropy_report(u, u, smoothed, theta_mean=0.75, reference_outputs=1e4 * (u + smoothed))
    assert without.reference is None
    assert without.bound == pytest.approx(0.25 * without.class_means)
    assert sure.bound == pytest.approx(without.bound)
    assert without.bound <= without.modified_labels
    unmixed = entropy_report(u, u, smoothed, theta_mean=1.0)
    assert unmixed.bound == 0


def test_predictions_and_modified_predictions_are_told_apart():
    _, _, smoothed = problem()
    flat, sure = torch.zeros(40, 4), 1e4 * smoothed
    report = entropy_report(flat, sure, smoothed, theta_mean=0.75)
    assert report.predictions == pytest.approx(math.log(4))
    assert report.modified_predictions == pytest.approx(0, abs=1e-12)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"one shape \(n, c\), got \(2, 3\), \(2, 4\)"):
        entropy_report(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 3), theta_mean=0.5)
