"""First and second moments of every law of perturbation against Lemma 1's blocks.

Batches are drawn without replacement and the perturbations of every example are collected; their
moments, given the example, must be (9) with the blocks that the law drops set to zero. Tolerance:
5.5 standard errors of every entry, estimated from the draws.
"""

import pytest
import torch

from mixreg import Beta, Constant, TrainingStatistics
from mixreg.perturbation import moments_kept, perturb

COUNT, WIDTH = 5, 2
LAW = Beta(1.0)
KINDS = ("mixup", "inputs-only", "labels-only", "independent", "gaussian")
X = torch.tensor(
    [[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0], [3.0, -1.0], [0.5, 0.5]], dtype=torch.float64
)
Y = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1]]
STATS = TrainingStatistics.from_tensors(X, Y)


def blocks(i, kind):
    """Covariance (9) of (δ, ε) given i, with the blocks that the law drops set to zero."""
    z = torch.cat([X - X.mean(0), Y - Y.mean(0)], dim=1)
    joint = LAW.theta_variance * torch.outer(z[i], z[i]) + LAW.gamma_squared * z.T @ z / COUNT
    kept = moments_kept(kind)
    joint[:WIDTH, :WIDTH] *= kept.inputs
    joint[WIDTH:, WIDTH:] *= kept.labels
    joint[:WIDTH, WIDTH:] *= kept.cross
    joint[WIDTH:, :WIDTH] *= kept.cross
    return joint


def perturbations(kind, batch, draws, generator):
    """(δ, ε) by example: lists of COUNT tensors of shape (about draws·batch/COUNT, 5)."""
    x_modified = X.mean(0) + LAW.theta_mean * (X - X.mean(0))
    y_modified = Y.mean(0) + LAW.theta_mean * (Y - Y.mean(0))
    rows, values = [], []
    for _ in range(draws):
        i = torch.randperm(COUNT, generator=generator)[:batch]
        out = perturb(X[i], Y[i], STATS, LAW, kind, generator=generator)
        rows.append(i)
        values.append(torch.cat([out.inputs - x_modified[i], out.targets - y_modified[i]], dim=1))
    rows, values = torch.cat(rows), torch.cat(values)
    return [values[rows == i] for i in range(COUNT)]


def assert_mean(samples, expected):
    error = samples.std(0) / len(samples) ** 0.5
    deviation = (samples.mean(0) - expected).abs()
    assert (deviation <= 5.5 * error + 1e-12).all(), (deviation / error).max()


@pytest.mark.parametrize("batch", [3, COUNT])
@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_those_of_lemma_1(kind, batch, generator):
    for i, v in enumerate(perturbations(kind, batch, 2000, generator)):
        assert_mean(v, torch.zeros(v.shape[1], dtype=v.dtype))
        assert_mean(v.unsqueeze(2) * v.unsqueeze(1), blocks(i, kind))


def test_mixup_perturbations_are_convex_combinations(generator):
    out = perturb(X, Y, STATS, LAW, "mixup", generator=generator)
    theta = out.targets.max(1).values
    assert (theta >= 0.5).all()
    assert torch.allclose(out.targets.sum(1), torch.ones(COUNT).double())
    assert X.min() <= out.inputs.min() <= out.inputs.max() <= X.max()


@pytest.mark.parametrize("kind", KINDS)
def test_labels_keep_their_sum(kind, generator):
    out = perturb(X, Y, STATS, LAW, kind, generator=generator)
    assert torch.allclose(out.targets.sum(1), torch.ones(COUNT).double())


def test_gaussian_noise_is_normal_in_a_full_batch(generator):
    """Fourth standardised moment 3, within 5 standard errors sqrt(24 / draws)."""
    draws = 2000
    v = perturbations("gaussian", COUNT, draws, generator)[3][:, 0]
    assert abs(float((v / v.std()).pow(4).mean()) - 3) < 5 * (24 / draws) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_without_mixing_nothing_is_perturbed(kind, generator):
    out = perturb(X, Y, STATS, Constant(1.0), kind, generator=generator)
    torch.testing.assert_close(out.inputs, X)
    torch.testing.assert_close(out.targets, Y)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_not_changed_and_keep_their_form(kind, generator):
    x = torch.randn(6, 3, 4, 4).to(memory_format=torch.channels_last)
    y = torch.arange(6) % 3
    copies = x.clone(), y.clone()
    stats = TrainingStatistics.from_tensors(x, y, num_classes=3)
    out = perturb(x, y, stats, LAW, kind, generator=generator)
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
    assert out.inputs.shape == x.shape
    assert out.inputs.dtype == x.dtype
    assert out.inputs.is_contiguous(memory_format=torch.channels_last)
    assert out.targets.shape == (6, 3)


def test_regression_targets(generator):
    y = torch.randn(COUNT, dtype=torch.float64)
    stats = TrainingStatistics.from_tensors(X, y)
    for kind in KINDS:
        out = perturb(X, y, stats, LAW, kind, generator=generator)
        assert out.targets.shape == (COUNT,)
