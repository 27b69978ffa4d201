"""Proposition 1 on fitted linear softmax models, with and without an intercept."""

import math

import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

from mixreg._errors import MixregError
from mixreg.entropy import (
    entropy,
    fit_linear_softmax,
    proposition_one,
)
from mixreg.laws import Beta, Constant

LAWS = [Beta(0.1), Beta(1.0), Constant(0.5)]


def with_intercept(x):
    return torch.cat([x, torch.ones(len(x), 1)], 1)


def iris(flip=0.2):
    """Iris with some labels flipped, so that a finite minimum exists."""
    data = load_iris()
    x, y = torch.tensor(data.data).float(), torch.tensor(data.target)
    g = torch.Generator().manual_seed(0)
    flipped = torch.rand(len(y), generator=g) < flip
    y = torch.where(flipped, torch.randint(3, y.shape, generator=g), y)
    keep = (y != 2) | (torch.arange(len(y)) % 5 == 0)
    return (x - x.mean(0))[keep], torch.eye(3)[y][keep]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("prepare", [with_intercept, lambda x: x + 1, lambda x: x[:, :1]])
def test_the_inequality_holds(law, prepare):
    x, y = iris()
    sides = proposition_one(prepare(x), y, law)
    assert sides.gap > 0
    assert sides.label_smoothing == law.shrinkage
    bound = law.theta_mean * sides.plain + (1 - law.theta_mean) * sides.labels
    assert sides.bound == pytest.approx(bound, rel=1e-14)


def test_with_an_intercept_the_mean_prediction_is_the_mean_label():
    x, y = iris()
    sides = proposition_one(with_intercept(x), y, Beta(1.0))
    assert sides.mean_prediction == pytest.approx(sides.labels, rel=1e-8)
    assert sides.condition
    assert sides.plain < sides.smoothed


def test_without_an_intercept_smoothing_can_lower_the_entropy():
    """x = 1, 1, 1, 2 with labels 0, 0, 0, 1: mean 𝒵(p) > 𝒵(ȳ), though mean 𝒵(p) ≤ 𝒵(mean p)."""
    x, y = torch.tensor([[1.0], [1.0], [1.0], [2.0]]), torch.eye(2)[[0, 0, 0, 1]]
    sides = proposition_one(x, y, Beta(1.0))
    assert not sides.condition
    assert sides.plain <= sides.mean_prediction
    assert sides.smoothed < sides.plain - 0.01
    assert sides.gap > 0


def test_without_features_that_tell_the_inequality_is_an_equality():
    """With an intercept alone both models predict ȳ, and every entropy is 𝒵(ȳ)."""
    y = torch.eye(3)[[0, 0, 1, 2, 2, 2]]
    sides = proposition_one(torch.ones(6, 1), y, Beta(1.0))
    expected = float(entropy(y.double().mean(0)))
    for value in (sides.plain, sides.smoothed, sides.bound, sides.labels):
        assert value == pytest.approx(expected, rel=1e-8)


def test_separable_data_have_a_bound_too():
    """No minimum exists; in the limit p = y, and the bound is (1 − θ̄) 𝒵(ȳ)."""
    digits = load_digits(n_class=3)
    x, y = torch.tensor(digits.data[:60, ::4]).float() / 16, torch.eye(3)[digits.target[:60]]
    sides = proposition_one(x, y, Beta(1.0))
    assert sides.plain == pytest.approx(0, abs=1e-6)
    assert sides.bound == pytest.approx(sides.labels / 4, abs=1e-6)
    assert sides.gap > 0


def test_the_fit_is_that_of_scikit_learn():
    x, y = iris()
    weight = fit_linear_softmax(with_intercept(x), y)
    model = LogisticRegression(C=1e10, tol=1e-12, max_iter=10000)
    model.fit(x.double().numpy(), y.argmax(1).numpy())
    p = torch.softmax(with_intercept(x).double() @ weight.T, 1)
    expected = torch.tensor(model.predict_proba(x.double().numpy())).double()
    torch.testing.assert_close(p, expected, rtol=0, atol=1e-5)
    slope = (p - y).T @ with_intercept(x).double() / len(x)
    assert slope.abs().max() < 1e-9


def test_entropy_of_known_distributions():
    p = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    torch.testing.assert_close(entropy(p), torch.tensor([math.log(4), 0.0, math.log(2)]))


def test_no_convergence_is_an_error():
    x, y = iris()
    with pytest.raises(MixregError, match="did not converge in 1 Newton steps"):
        fit_linear_softmax(x, y, max_steps=1)
