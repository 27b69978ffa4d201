"""J(i) of Theorem 2 against the reference and its special cases (equations 13, 14, 16, 18)."""

import pytest
import torch

from mixreg import reference
from mixreg.covariance import Whitening
from mixreg.laws import Beta, Constant
from mixreg.risk import approximate_mixup_risk, regression_jacobian

G = torch.Generator().manual_seed(0)
X = torch.randn(9, 2, 2, generator=G, dtype=torch.float64)
Y = torch.randn(9, 3, generator=G, dtype=torch.float64)


def flat(x):
    return x.flatten(1)[:, :3]


def test_equals_the_reference(problem, law):
    n = len(problem.x)
    fast = regression_jacobian(*problem, law, torch.arange(n))
    for i in range(n):
        slow = reference.regression_jacobian(*problem, law, i)
        torch.testing.assert_close(fast[i], slow, rtol=1e-9, atol=1e-9 * float(slow.abs().max()))


def test_squared_error_without_variance_gives_least_squares():
    """For constant θ no sample has more weight than another, and J(i) is the OLS slope (18)."""
    slopes = regression_jacobian(flat, X, Y, "squared_error", Constant(0.7), torch.arange(9))
    design = torch.cat([X.flatten(1), torch.ones(9, 1).double()], 1)
    expected = torch.linalg.lstsq(design, Y).solution[:4].T.reshape(3, 2, 2)
    torch.testing.assert_close(slopes, expected.expand(9, 3, 2, 2), rtol=1e-10, atol=1e-12)


def test_interpolated_data_have_one_slope_for_all_samples():
    """With n ≤ d least squares has no residuals, and the weights do not matter."""
    slopes = regression_jacobian(flat, X[:4], Y[:4], "squared_error", Beta(0.2), torch.arange(4))
    torch.testing.assert_close(slopes, slopes[:1].expand_as(slopes), rtol=1e-10, atol=1e-12)


def test_a_network_with_this_jacobian_has_no_r1():
    x = X.flatten(1)
    law = Constant(0.7)
    slope = regression_jacobian(lambda x: x[:, :3], x, Y, "squared_error", law, torch.tensor([0]))
    terms = approximate_mixup_risk(lambda x: x @ slope[0].T, x, Y, "squared_error", law)
    assert terms.r1 == pytest.approx(0, abs=1e-14)
    assert terms.r3 < -0.01


def test_samples_in_any_order_and_a_given_factorisation():
    law, picked = Beta(1.0), torch.tensor([5, 2, 5])
    some = regression_jacobian(
        flat, X, Y, "squared_error", law, picked, whitening=Whitening.from_data(X)
    )
    every = regression_jacobian(flat, X, Y, "squared_error", law, torch.arange(9))
    torch.testing.assert_close(some, every[picked])


def test_one_output():
    slopes = regression_jacobian(
        lambda x: x.sum((1, 2)), X, Y[:, 0], "squared_error", Beta(1.0), torch.tensor([1])
    )
    assert slopes.shape == (1, 1, 2, 2)
