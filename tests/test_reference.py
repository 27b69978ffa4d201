"""The slow reference against itself: each formula by another route than its own."""

import numpy as np
import pytest
import torch
from scipy.special import roots_jacobi
from torch import nn

from mixreg import reference
from mixreg.laws import Beta, Constant

G = torch.Generator().manual_seed(0)
X = torch.randn(6, 3, generator=G, dtype=torch.float64)
Y = torch.softmax(torch.randn(6, 3, generator=G, dtype=torch.float64), 1)
LAW = Beta(0.6)


@pytest.fixture
def net():
    layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    for parameter in layers.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    return layers


def theta_rule(order=50):
    """A rule for θ on [½, 1] under Beta(α, α), independent of the package."""
    nodes, weights = roots_jacobi(order, LAW.alpha - 1, 0)
    t = (1 + nodes) / 2
    weights = weights * (1 + t) ** (LAW.alpha - 1)
    return (1 + t) / 2, weights / weights.sum()


def test_modified_data_are_the_mean_of_the_mixed():
    theta, weights = theta_rule()
    x_tilde, _ = reference.modified(X, Y, LAW)
    mean = sum(w * (t * X + (1 - t) * X.mean(0)) for t, w in zip(theta, weights, strict=True))
    torch.testing.assert_close(x_tilde, mean)


def test_enumerated_moments_by_quadrature_over_theta():
    theta, weights = theta_rule()
    for i in (0, 4):
        delta, epsilon = (
            np.array(
                [[reference.perturbation(v, LAW, t, i, j).numpy() for j in range(6)] for t in theta]
            )
            for v in (X, Y)
        )
        moments = reference.enumerated_moments(X, Y, LAW, i)
        for a, b, moment in (
            (delta, delta, moments.xx),
            (delta, epsilon, moments.xy),
            (epsilon, epsilon, moments.yy),
        ):
            expected = np.einsum("t,tja,tjb->ab", weights, a, b) / 6
            np.testing.assert_allclose(moment, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("law", [LAW, Beta(20.0), Constant(0.5)], ids=str)
def test_lemma_one(law):
    for i in range(6):
        for printed, moment in zip(
            reference.covariances(X, Y, law, i),
            reference.enumerated_moments(X, Y, law, i),
            strict=True,
        ):
            torch.testing.assert_close(printed, moment, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic", "squared_error"])
def test_theorem_two(net, loss):
    """The terms add up to the mean Taylor polynomial, with and without the completed square."""
    terms = reference.approximate_mixup_risk(net, X, Y, loss, LAW)
    quadratic = reference.quadratic_risk(net, X, Y, loss, LAW)
    assert terms.r1 + terms.r3 == pytest.approx(terms.r1_plus_r3, rel=1e-10)
    assert terms.modified + terms.r1_plus_r3 + terms.r2 + terms.r4 == pytest.approx(quadratic)
    assert terms.r1 > 0 > terms.r3


def test_derivatives_by_finite_differences(net):
    at = reference.derivatives(net, X, Y, "cross_entropy", LAW, 2)
    x_tilde, _ = reference.modified(X, Y, LAW)
    step = 1e-4 * torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        ahead, here, behind = net(x_tilde[2] + step), net(x_tilde[2]), net(x_tilde[2] - step)
    torch.testing.assert_close(at.jacobian.T, (ahead - behind) / 2e-4, rtol=1e-6, atol=1e-7)
    curvature = (ahead - 2 * here + behind) / 1e-8
    torch.testing.assert_close(
        at.second.diagonal(dim1=1, dim2=2).T, curvature, rtol=1e-4, atol=1e-5
    )
    p = torch.softmax(here, 0)
    torch.testing.assert_close(at.loss_uu, torch.diag(p) - torch.outer(p, p))


def test_mixup_risk_of_two_points():
    """f(x) = x², ℓ = ½(y − u)²: one pair at ±1 with λ = ¾ mixes to ±½."""
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    risk = reference.mixup_risk(torch.square, x, x, "squared_error", Constant(0.75))
    by_hand = (2**2 / 2 + 0 + (0.5 + 0.25) ** 2 / 2 + (0.5 - 0.25) ** 2 / 2) / 4
    assert risk == pytest.approx(by_hand, rel=1e-14)


def test_the_printed_equation_19():
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    zero = torch.zeros(1, 1).double()
    law = Beta(1.0)
    value = reference.equation_19_as_printed(zero, torch.ones(1).double(), x, x, law)
    assert value == pytest.approx((2 / 48 + 2 * 9 / 16 + 1 / 16) / 2 / 2 + 1)
