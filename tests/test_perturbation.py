"""Modified data and perturbations (Theorem 1) against independent quadrature and simulation."""

import numpy as np
import pytest
import torch
from scipy.special import roots_jacobi

from mixreg.laws import Beta, Constant
from mixreg.mixing import mix
from mixreg.perturbation import draw_perturbation, modified, perturbation

G = torch.Generator().manual_seed(0)
X = torch.randn(7, 2, 3, generator=G, dtype=torch.float64) + 5
Y = torch.softmax(torch.randn(7, 4, generator=G, dtype=torch.float64), 1)
MEANS = X.mean(0), Y.mean(0)


def folded_beta(alpha, order=60):
    """Nodes θ and weights: t = 2θ − 1 has density ∝ (1 − t)^(α−1) (1 + t)^(α−1) on [0, 1]."""
    nodes, weights = roots_jacobi(order, alpha - 1, 0)
    t = (1 + nodes) / 2
    weights = weights * (1 + t) ** (alpha - 1)
    return (1 + t) / 2, weights / weights.sum()


def perturbations(theta):
    """δ and ε of every sample for every partner at one θ, as (n, n, ·) arrays."""
    n = len(X)
    parts = [
        perturbation(
            X,
            Y,
            *MEANS,
            LAW,
            theta=torch.full((n,), theta, dtype=torch.float64),
            partner=torch.full((n,), j),
        )
        for j in range(n)
    ]
    return (
        np.stack([p.inputs.flatten(1).numpy() for p in parts]),
        np.stack([p.targets.numpy() for p in parts]),
    )


LAW = Beta(0.3)


def test_modified_data_move_towards_their_mean():
    law = Beta(2.0)
    inputs, targets = modified(X, Y, *MEANS, law)
    theta_bar = law.theta_mean
    torch.testing.assert_close(inputs, MEANS[0] + theta_bar * (X - MEANS[0]))
    torch.testing.assert_close(targets, MEANS[1] + theta_bar * (Y - MEANS[1]))
    torch.testing.assert_close(targets.sum(1), torch.ones(7).double())


def test_modified_data_plus_perturbations_are_mixed_data():
    theta, partner = (
        torch.rand(7, generator=G).double() / 2 + 0.5,
        torch.tensor([6, 5, 4, 3, 2, 1, 1]),
    )
    mixed = mix(X, Y, theta, partner)
    delta, epsilon, *_ = perturbation(X, Y, *MEANS, LAW, theta=theta, partner=partner)
    inputs, targets = modified(X, Y, *MEANS, LAW)
    torch.testing.assert_close(inputs + delta, mixed.inputs, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(targets + epsilon, mixed.targets, rtol=1e-14, atol=1e-14)


def test_perturbations_have_mean_zero():
    nodes, weights = folded_beta(LAW.alpha)
    for part in (0, 1):
        mean = sum(
            w * perturbations(theta)[part].mean(0) for theta, w in zip(nodes, weights, strict=True)
        )
        np.testing.assert_allclose(mean, 0, atol=1e-13)


def test_draws_follow_the_law_and_pair_uniformly():
    g, draws = torch.Generator().manual_seed(1), 400
    x, y = torch.arange(5.0)[:, None], torch.eye(5)
    drawn = [draw_perturbation(x, y, x.mean(0), y.mean(0), LAW, generator=g) for _ in range(draws)]
    theta = torch.stack([draw.theta for draw in drawn])
    assert theta.min() >= 0.5
    error = (LAW.theta_variance / theta.numel()) ** 0.5
    assert theta.mean().item() == pytest.approx(LAW.theta_mean, abs=4 * error)
    counts = torch.stack([draw.partner for draw in drawn]).flatten().bincount()
    assert (counts - draws).abs().max() < 4 * (draws * 0.8) ** 0.5
    delta = torch.stack([draw.inputs for draw in drawn])
    assert (delta.mean(0).abs() < 4 * delta.std(0) / draws**0.5).all()


def test_draws_are_those_of_the_generator():
    draws = [
        draw_perturbation(X, Y, *MEANS, LAW, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    ]
    for one, other in zip(*draws, strict=True):
        assert torch.equal(one, other)


def test_small_departures_from_one_keep_their_digits():
    """At α → 0 both 1 − θ and θ̄ − θ are small, and neither is a difference of numbers near one."""
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    theta, partner = torch.ones(2, dtype=torch.float64), torch.tensor([0, 0])
    law = Beta(1e-12)
    delta = perturbation(x, x, x.mean(0), x.mean(0), law, theta=theta, partner=partner).inputs
    assert delta[1].item() == pytest.approx(law.shrinkage / 2, rel=1e-14, abs=0)


def test_without_mixing_nothing_moves():
    law = Constant(1.0)
    draw = draw_perturbation(X, Y, *MEANS, law, generator=torch.Generator().manual_seed(0))
    assert not draw.inputs.any()
    torch.testing.assert_close(modified(X, Y, *MEANS, law).inputs, X)
