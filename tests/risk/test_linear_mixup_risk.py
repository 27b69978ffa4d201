"""Mixup of linear least squares: the corrected equation 19 and its consequence (Corollary 3)."""

import pytest
import torch
from torch import nn

from mixreg.laws import Beta, Constant, Uniform
from mixreg.reference import equation_19_as_printed
from mixreg.risk import approximate_mixup_risk, linear_mixup_risk, mixup_risk

G = torch.Generator().manual_seed(0)
X = torch.randn(10, 3, generator=G, dtype=torch.float64) + 2
Y = X @ torch.randn(3, 2, generator=G, dtype=torch.float64) + torch.randn(10, 2, generator=G) ** 3
LAWS = [Beta(0.1), Beta(1.0), Beta(8.0), Constant(0.5), Uniform(0.0, 0.3)]


def least_squares():
    design = torch.cat([X, torch.ones(10, 1).double()], 1)
    solution = torch.linalg.lstsq(design, Y).solution.T
    return solution[:, :3], solution[:, 3]


def linear(weight, bias):
    net = nn.Linear(3, 2).double()
    net.weight.data, net.bias.data = weight, bias
    return net


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_closed_form_is_the_mixup_risk(law, seed):
    g = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(2, 3, generator=g).double(), torch.randn(2, generator=g).double()
    closed = linear_mixup_risk(weight, bias, X, Y, law)
    net = linear(weight, bias)
    assert mixup_risk(net, X, Y, "squared_error", law, order=4) == pytest.approx(closed, rel=1e-12)
    # The loss of a linear model is quadratic, so that the approximate risk is exact.
    approximate = approximate_mixup_risk(net, X, Y, "squared_error", law)
    assert approximate.total == pytest.approx(closed, rel=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_least_squares_minimises_it(law):
    weight, bias = (nn.Parameter(v) for v in least_squares())
    best = linear_mixup_risk(weight, bias, X, Y, law)
    g = torch.Generator().manual_seed(1)
    for size in (1e-3, 1.0):
        for _ in range(5):
            moved = weight + size * torch.randn(2, 3, generator=g).double(), bias
            assert linear_mixup_risk(*moved, X, Y, law) > best
            moved = weight, bias + size * torch.randn(2, generator=g).double()
            assert linear_mixup_risk(*moved, X, Y, law) > best


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_both_risks_are_stationary_at_least_squares(law):
    """Differences of the mixup risk itself, by its quadrature, vanish at the OLS solution."""
    weight, bias = least_squares()

    def risk(step, direction):
        net = linear(weight + step * direction[:, :3], bias + step * direction[:, 3])
        return mixup_risk(net, X, Y, "squared_error", law, order=4)

    g = torch.Generator().manual_seed(2)
    for _ in range(3):
        direction = torch.randn(2, 4, generator=g).double()
        forward, backward = risk(1.0, direction), risk(-1.0, direction)
        # The risk is quadratic, so that this difference is exact.
        assert forward - backward == pytest.approx(0, abs=1e-10 * forward)


def test_the_printed_equation_is_not_the_risk_up_to_a_constant():
    weight, bias = least_squares()
    law = Beta(1.0)
    points = [(weight, bias), (weight, bias + 1), (0 * weight, bias), (2 * weight, bias)]
    differences = [
        linear_mixup_risk(*point, X, Y, law) - equation_19_as_printed(*point, X, Y, law)
        for point in points
    ]
    assert differences[1] - differences[0] == pytest.approx(-1.0)  # ½‖1‖² against ‖1‖² in R²
    assert abs(differences[2] - differences[0]) > 0.1


def test_single_precision_is_computed_in_double():
    weight, bias = least_squares()
    exact = linear_mixup_risk(weight.float().double(), bias.float().double(), X, Y, Beta(1.0))
    assert linear_mixup_risk(weight.float(), bias.float(), X, Y, Beta(1.0)) == exact
