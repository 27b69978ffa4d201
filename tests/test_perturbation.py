"""Modified data, perturbations (Theorem 1) and every law of them (Lemma 1), by other routes.

Second moments: batches are drawn without replacement and the perturbations of every example are
collected; given the example, their moments must be (9) with the blocks that the law drops set to
zero, within 5.5 standard errors of every entry, estimated from the draws.
"""

import numpy as np
import pytest
import torch
from scipy.special import roots_jacobi

from mixreg import Beta, Constant, TrainingStatistics
from mixreg.mixing import mix
from mixreg.perturbation import draw_perturbation, modified, moments_kept, perturb, perturbation

G = torch.Generator().manual_seed(0)
X = torch.randn(7, 2, 3, generator=G, dtype=torch.float64) + 5
Y = torch.softmax(torch.randn(7, 4, generator=G, dtype=torch.float64), 1)
MEANS = X.mean(0), Y.mean(0)
SMALL, LAW = Beta(0.3), Beta(1.0)

KINDS = ("mixup", "inputs-only", "labels-only", "independent", "gaussian")
COUNT, WIDTH = 5, 2
ROWS = torch.tensor(
    [[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0], [3.0, -1.0], [0.5, 0.5]], dtype=torch.float64
)
LABELS = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1]]
STATS = TrainingStatistics.from_tensors(ROWS, LABELS)
every_kind = pytest.mark.parametrize("kind", KINDS)


def folded_beta(alpha, order=60):
    """Nodes θ and weights: t = 2θ − 1 has density ∝ (1 − t)^(α−1) (1 + t)^(α−1) on [0, 1]."""
    nodes, weights = roots_jacobi(order, alpha - 1, 0)
    t = (1 + nodes) / 2
    weights = weights * (1 + t) ** (alpha - 1)
    return (1 + t) / 2, weights / weights.sum()


def drawn(seed, law=SMALL):
    return draw_perturbation(X, Y, *MEANS, law, generator=torch.Generator().manual_seed(seed))


def test_modified_data_move_towards_their_mean():
    law = Beta(2.0)
    for values, mean, moved in zip((X, Y), MEANS, modified(X, Y, *MEANS, law), strict=True):
        torch.testing.assert_close(moved, mean + law.theta_mean * (values - mean))
    torch.testing.assert_close(modified(X, Y, *MEANS, law).targets.sum(1), torch.ones(7).double())


def test_modified_data_plus_perturbations_are_mixed_data():
    theta = torch.rand(7, generator=G).double() / 2 + 0.5
    partner = torch.tensor([6, 5, 4, 3, 2, 1, 1])
    mixed = mix(X, Y, theta, partner)
    moved = perturbation(X, Y, *MEANS, SMALL, theta=theta, partner=partner)
    for part, move, whole in zip(modified(X, Y, *MEANS, SMALL), moved[:2], mixed[:2], strict=True):
        torch.testing.assert_close(part + move, whole, rtol=1e-14, atol=1e-14)


def test_perturbations_have_mean_zero():
    means = np.zeros((7, 6)), np.zeros((7, 4))
    for theta, weight in zip(*folded_beta(SMALL.alpha), strict=True):
        thetas = torch.full((7,), theta, dtype=torch.float64)
        for j in range(7):
            partner = torch.full((7,), j)
            moved = perturbation(X, Y, *MEANS, SMALL, theta=thetas, partner=partner)
            for mean, part in zip(means, moved[:2], strict=True):
                mean += weight * part.flatten(1).numpy() / 7
    for mean in means:
        np.testing.assert_allclose(mean, 0, atol=1e-13)


def test_draws_follow_the_law_and_pair_uniformly():
    g, draws = torch.Generator().manual_seed(1), 400
    x, y = torch.arange(5.0)[:, None], torch.eye(5)
    rows = [draw_perturbation(x, y, x.mean(0), y.mean(0), SMALL, generator=g) for _ in range(draws)]
    delta, _, theta, partner = (torch.stack(part) for part in zip(*rows, strict=True))
    assert theta.min() >= 0.5
    error = (SMALL.theta_variance / theta.numel()) ** 0.5
    assert theta.mean().item() == pytest.approx(SMALL.theta_mean, abs=4 * error)
    assert (partner.flatten().bincount() - draws).abs().max() < 4 * (draws * 0.8) ** 0.5
    assert (delta.mean(0).abs() < 4 * delta.std(0) / draws**0.5).all()


def test_draws_are_those_of_the_generator():
    assert all(torch.equal(a, b) for a, b in zip(drawn(3), drawn(3), strict=True))


def test_small_departures_from_one_keep_their_digits():
    """At α → 0 both 1 − θ and θ̄ − θ are small, and neither is a difference of numbers near one."""
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    theta, partner = torch.ones(2, dtype=torch.float64), torch.tensor([0, 0])
    law, mean = Beta(1e-12), x.mean(0)
    delta = perturbation(x, x, mean, mean, law, theta=theta, partner=partner).inputs
    assert delta[1].item() == pytest.approx(law.shrinkage / 2, rel=1e-14, abs=0)


def blocks(i, kind):
    """Covariance (9) of (δ, ε) given i, with the blocks that the law drops set to zero."""
    z = torch.cat([ROWS - ROWS.mean(0), LABELS - LABELS.mean(0)], dim=1)
    joint = LAW.theta_variance * torch.outer(z[i], z[i]) + LAW.gamma_squared * z.T @ z / COUNT
    kept = moments_kept(kind)
    joint[:WIDTH, :WIDTH] *= kept.inputs
    joint[WIDTH:, WIDTH:] *= kept.labels
    joint[:WIDTH, WIDTH:] *= kept.cross
    joint[WIDTH:, :WIDTH] *= kept.cross
    return joint


def perturbations(kind, batch, draws, generator):
    """(δ, ε) by example: lists of COUNT tensors of shape (about draws·batch/COUNT, 5)."""
    unmoved = torch.cat(
        [v.mean(0) + LAW.theta_mean * (v - v.mean(0)) for v in (ROWS, LABELS)], dim=1
    )
    rows, values = [], []
    for _ in range(draws):
        i = torch.randperm(COUNT, generator=generator)[:batch]
        rows.append(i)
        moved = perturb(ROWS[i], LABELS[i], STATS, LAW, kind, generator=generator)
        values.append(torch.cat(moved, dim=1) - unmoved[i])
    rows, values = torch.cat(rows), torch.cat(values)
    return [values[rows == i] for i in range(COUNT)]


def assert_mean(samples, expected):
    error = samples.std(0) / len(samples) ** 0.5
    deviation = (samples.mean(0) - expected).abs()
    assert (deviation <= 5.5 * error + 1e-12).all(), (deviation / error).max()


@pytest.mark.parametrize("batch", [3, COUNT])
@every_kind
def test_moments_are_those_of_lemma_1(kind, batch, generator):
    for i, v in enumerate(perturbations(kind, batch, 2000, generator)):
        assert_mean(v, torch.zeros(v.shape[1], dtype=v.dtype))
        assert_mean(v.unsqueeze(2) * v.unsqueeze(1), blocks(i, kind))


def test_mixup_perturbations_are_convex_combinations(generator):
    out = perturb(ROWS, LABELS, STATS, LAW, "mixup", generator=generator)
    assert (out.targets.max(1).values >= 0.5).all()
    assert ROWS.min() <= out.inputs.min() <= out.inputs.max() <= ROWS.max()


@every_kind
def test_labels_keep_their_sum(kind, generator):
    out = perturb(ROWS, LABELS, STATS, LAW, kind, generator=generator)
    assert torch.allclose(out.targets.sum(1), torch.ones(COUNT).double())


def test_gaussian_noise_is_normal_in_a_full_batch(generator):
    """Fourth standardised moment 3, within 5 standard errors sqrt(24 / draws)."""
    draws = 2000
    v = perturbations("gaussian", COUNT, draws, generator)[3][:, 0]
    assert abs(float((v / v.std()).pow(4).mean()) - 3) < 5 * (24 / draws) ** 0.5


@every_kind
def test_without_mixing_nothing_is_perturbed(kind, generator):
    out = perturb(ROWS, LABELS, STATS, Constant(1.0), kind, generator=generator)
    torch.testing.assert_close(out.inputs, ROWS)
    torch.testing.assert_close(out.targets, LABELS)
    assert not drawn(0, Constant(1.0)).inputs.any()
    torch.testing.assert_close(modified(X, Y, *MEANS, Constant(1.0)).inputs, X)


@every_kind
def test_inputs_are_not_changed_and_keep_their_form(kind, generator):
    x = torch.randn(6, 3, 4, 4).to(memory_format=torch.channels_last)
    y = torch.arange(6) % 3
    copies = x.clone(), y.clone()
    stats = TrainingStatistics.from_tensors(x, y, num_classes=3)
    out = perturb(x, y, stats, LAW, kind, generator=generator)
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
    assert (out.inputs.shape, out.inputs.dtype) == (x.shape, x.dtype)
    assert out.inputs.is_contiguous(memory_format=torch.channels_last)
    assert out.targets.shape == (6, 3)


@every_kind
def test_regression_targets(kind, generator):
    y = torch.randn(COUNT, dtype=torch.float64)
    stats = TrainingStatistics.from_tensors(ROWS, y)
    assert perturb(ROWS, y, stats, LAW, kind, generator=generator).targets.shape == (COUNT,)
