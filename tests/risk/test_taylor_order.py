"""The Taylor error of the approximate Mixup risk, and its leading coefficient.

When the data z = (x, y) shrink to z̄ + t (z − z̄), modified points and perturbations scale with t:

    E − E_Q = t³/6 · mean_i E ∇³G(z̄)[v_i, v_i, v_i] + O(t⁴),  v_i = (θ − θ̄) z_i + (1 − θ) z_j

with z centred. Mixed products vanish, since z has mean zero, and what remains is the third moment
of the data times E(1 − θ)³ − E(θ̄ − θ)³ = 3 a₁ a₂ − 2 a₁³ > 0, with a₁ = E(1 − θ), a₂ = E(1 − θ)².
So the order is three, and four for data whose third moment vanishes, such as data symmetric about
their mean.
"""

import pytest
import torch

from mixreg.losses import resolve_loss
from mixreg.risk import approximate_mixup_risk, mixup_risk


def shrunk(problem, t):
    x, y = (v.mean(0) + t * (v - v.mean(0)) for v in (problem.x, problem.y))
    return problem._replace(x=x, y=y)


def taylor_error(problem, law):
    exact = mixup_risk(*problem, law, order=32)
    return exact - approximate_mixup_risk(*problem, law).total


def third_derivative_along_the_data(problem):
    """mean_i d³/ds³ ℓ(ȳ + s e_i, f(x̄ + s d_i)) at s = 0."""
    net, x, y, loss = problem
    function = resolve_loss(loss)
    x_bar, y_bar = x.mean(0), y.mean(0)
    total = 0.0
    for d, e in zip(x - x_bar, y - y_bar, strict=True):
        s = torch.zeros((), dtype=torch.float64, requires_grad=True)
        value = function((y_bar + s * e)[None], net((x_bar + s * d)[None]))[0]
        for _ in range(3):
            (value,) = torch.autograd.grad(value, s, create_graph=True)
        total += value.item()
    return total / len(x)


def test_error_is_of_third_order_with_the_third_moment_in_front(problem, law):
    errors = [taylor_error(shrunk(problem, t), law) / t**3 for t in (2**-5, 2**-6)]
    a1, a2 = law.shrinkage, law.gamma_squared
    leading = (3 * a1 * a2 - 2 * a1**3) / 6 * third_derivative_along_the_data(problem)
    extrapolated = 2 * errors[1] - errors[0]
    assert extrapolated == pytest.approx(leading, rel=2e-2, abs=1e-7)


def test_error_is_of_fourth_order_for_symmetric_data(problem, law):
    x, y = (torch.cat([v, 2 * v.mean(0) - v]) for v in (problem.x, problem.y))
    symmetric = problem._replace(x=x, y=y)
    errors = [taylor_error(shrunk(symmetric, t), law) for t in (2**-5, 2**-6)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.05)
