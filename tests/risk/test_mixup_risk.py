"""The Mixup risk, its estimate and its perturbed form against brute force and closed forms."""

import math

import mpmath
import pytest
import torch
from torch import nn

from mixreg import reference
from mixreg.laws import Beta, Constant, Uniform, mixture
from mixreg.risk import (
    RiskEstimate,
    empirical_risk,
    mixup_risk,
    mixup_risk_estimate,
    modified_risk,
    perturbed_risk,
    theorem_one,
)
from mixreg.risk.exact import folded_rule

LAWS = [
    Beta(0.2),
    Beta(3.0),
    Uniform(0.1, 0.7),
    Constant(0.3),
    Constant(1.0),
    mixture([(0.5, Beta(1.0)), (0.3, Uniform(0.0, 0.4)), (0.2, Constant(1.0))]),
]
ASYMMETRIC = [Uniform(0.1, 0.7), mixture([(0.5, Beta(1.0)), (0.5, Uniform(0.0, 0.4))])]


def output_sum(_, u):
    return u.sum(1)


@pytest.mark.parametrize("any_law", LAWS, ids=str)
@pytest.mark.parametrize("order", [4, 7])
def test_equals_brute_force_over_pairs(problem, any_law, order):
    """Also for laws that are not symmetric, which are folded."""
    slow = reference.mixup_risk(*problem, any_law, order=order)
    assert mixup_risk(*problem, any_law, order=order) == pytest.approx(slow, rel=1e-13)


@pytest.mark.parametrize("any_law", LAWS, ids=str)
def test_theorem_one(problem, any_law):
    both = theorem_one(*problem, any_law, order=6)
    assert both.perturbed_risk == pytest.approx(both.mixup_risk, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 9, 16])
@pytest.mark.parametrize("any_law", [Beta(0.2), *ASYMMETRIC], ids=str)
def test_folded_rules_keep_symmetric_means(any_law, order):
    nodes, weights = any_law.quadrature(order)
    theta, folded = folded_rule(any_law, order)
    assert theta.min() >= 0.5
    assert (theta.diff() > 0).all()
    for power in (0, 1, 2, 5):
        expected = (weights * (nodes * (1 - nodes)) ** power).sum()
        torch.testing.assert_close((folded * (theta * (1 - theta)) ** power).sum(), expected)


def test_the_symmetric_rule_takes_half_the_evaluations():
    assert len(folded_rule(Beta(0.7), 16).nodes) == 8
    assert len(folded_rule(Beta(0.7), 9).nodes) == 5


def test_spectral_accuracy_for_a_smooth_function():
    """One pair at ±1, f = exp, ℓ = u: the risk is mean over pairs of E exp(2λ − 1), and e^±1."""
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    mean = mpmath.hyp1f1(0.7, 1.4, 2) * mpmath.exp(-1)
    exact = float((mpmath.cosh(1) + mean) / 2)
    risk = mixup_risk(torch.exp, x, x, output_sum, Beta(0.7), order=12)
    assert risk == pytest.approx(exact, rel=1e-14)


def test_kinks_converge_quadratically():
    """f = relu on pairs at irregular places: the error falls about as the square of the order."""
    x = torch.linspace(-1, 1, 23, dtype=torch.float64).sin().unsqueeze(1) + 0.1

    def error(order):
        risk = mixup_risk(torch.relu, x, x, output_sum, Beta(1.0), order=order)
        # ∫ relu(λa + (1 − λ)b) dλ over [0, 1], for each pair.
        a, b = x, x.T
        crossing = (a * b) < 0
        inside = torch.where(
            crossing,
            torch.maximum(a, b) ** 2 / (2 * (a - b).abs().clamp_min(1e-300)),
            torch.relu((a + b) / 2),
        )
        return abs(risk - float(inside.mean()))

    for order in (8, 16, 32, 64, 128):
        assert error(order) < 0.02 / order**2


def test_limits_of_alpha(problem):
    erm = empirical_risk(*problem)
    gaps = [abs(mixup_risk(*problem, Beta(alpha)) - erm) for alpha in (1e-4, 1e-6)]
    assert gaps[1] == pytest.approx(gaps[0] / 100, rel=1e-2)
    halves = mixup_risk(*problem, Constant(0.5))
    assert mixup_risk(*problem, Beta(1e8)) == pytest.approx(halves, rel=1e-6)


def test_without_mixing_all_risks_are_the_empirical_one(problem):
    erm, law = empirical_risk(*problem), Constant(1.0)
    assert mixup_risk(*problem, law) == pytest.approx(erm, rel=1e-14)
    assert modified_risk(*problem, law) == pytest.approx(erm, rel=1e-14)
    assert perturbed_risk(*problem, law) == pytest.approx(erm, rel=1e-14)


def test_modified_risk_is_the_loss_of_the_modified_data(problem, law):
    net, x, y, loss = problem
    x_tilde, y_tilde = reference.modified(x, y, law)
    with torch.no_grad():
        expected = reference.resolve_loss(loss)(y_tilde, net(x_tilde)).mean()
    assert modified_risk(*problem, law) == pytest.approx(float(expected), rel=1e-13)


def test_chunks_change_nothing(problem):
    law = mixture([(0.5, Beta(1.0)), (0.5, Constant(1.0))])
    for risk in (mixup_risk, perturbed_risk, modified_risk):
        assert risk(*problem, law, chunk_size=5) == pytest.approx(risk(*problem, law), rel=1e-13)
    assert empirical_risk(*problem, chunk_size=2) == pytest.approx(empirical_risk(*problem))


def test_permutations_of_the_data_change_nothing(problem, law):
    order = torch.randperm(len(problem.x), generator=torch.Generator().manual_seed(0))
    permuted = problem._replace(x=problem.x[order], y=problem.y[order])
    assert mixup_risk(*permuted, law) == pytest.approx(mixup_risk(*problem, law), rel=1e-13)


def test_estimate_agrees_within_its_error(problem):
    law = Beta(0.4)
    exact = mixup_risk(*problem, law)
    g = torch.Generator().manual_seed(5)
    estimates = [
        mixup_risk_estimate(*problem, law, samples=500, generator=g, chunk_size=64)
        for _ in range(40)
    ]
    scores = torch.tensor([(e.value - exact) / e.standard_error for e in estimates])
    assert abs(scores.mean()) < 4 / math.sqrt(40)
    assert 0.5 < scores.std() < 1.7


def test_estimates_are_those_of_the_generator(problem):
    first, second = (
        mixup_risk_estimate(
            *problem, Beta(1.0), samples=50, generator=torch.Generator().manual_seed(1)
        )
        for _ in range(2)
    )
    assert isinstance(first, RiskEstimate)
    assert first == second
    assert first.samples == 50


def test_float32_is_accumulated_in_float64():
    x = torch.full((2000, 1), 0.1)
    net = nn.Identity()
    assert empirical_risk(net, x, 0 * x, "squared_error") == pytest.approx(
        float(x[0].double() ** 2 / 2), rel=1e-14
    )
