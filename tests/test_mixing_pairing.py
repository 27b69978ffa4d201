"""The cyclic shift is statistically the pairing of equation 4, and estimates its double sum."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from mixreg import Beta, Constant, Mixup, Uniform, cross_entropy
from mixreg.laws import MixingLaw

N, CLASSES, DRAWS = 6, 3, 2500
NET = torch.nn.Sequential(
    torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, CLASSES)
).double()


@pytest.fixture(autouse=True)
def fixed_net(generator):
    for parameter in NET.parameters():
        torch.nn.init.normal_(parameter, generator=generator).requires_grad_(False)


@pytest.fixture
def data(generator):
    x = torch.randn(N, 2, generator=generator, dtype=torch.float64)
    return x, torch.tensor([0, 1, 2, 0, 0, 1])


def pair_risks(x, y, law: MixingLaw):
    """E ℓ over λ for every ordered pair (i, j), by 40-point quadrature."""
    nodes, weights = law.quadrature(40)
    one_hot = torch.eye(CLASSES, dtype=torch.float64)[y]
    table = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            w = nodes.unsqueeze(1)
            inputs = w * x[i] + (1 - w) * x[j]
            targets = w * one_hot[i] + (1 - w) * one_hot[j]
            table[i, j] = float(weights @ cross_entropy(targets, NET(inputs)))
    return table


def estimates(mixup, x, y):
    risks = []
    for _ in range(DRAWS):
        batch = mixup(x, y)
        risks.append(cross_entropy(batch.targets, NET(batch.inputs)).mean().item())
    return np.array(risks)


def assert_unbiased(samples, expected):
    error = samples.std(ddof=1) / math.sqrt(len(samples))
    assert abs(samples.mean() - expected) < 4 * error


@pytest.mark.parametrize("n", [2, 7])
def test_partners_are_uniform_and_may_be_the_example_itself(n, generator):
    mixup = Mixup(Constant(0.5), generator=generator)
    counts = np.zeros((n, n))
    for _ in range(DRAWS):
        partner = mixup(torch.zeros(n, 1), torch.zeros(n)).partner
        counts[np.arange(n), partner] += 1
    for row in counts:
        assert stats.chisquare(row).pvalue > 1e-4


def test_weights_of_one_batch_are_independent_of_each_other_and_of_the_shift(generator):
    mixup = Mixup(Uniform(), generator=generator)
    seen = np.empty((DRAWS, 4))
    for row in seen:
        batch = mixup(torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3))
        row[:3], row[3] = batch.weight.numpy(), int(batch.partner[0])
    correlation = np.corrcoef(seen.T) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("law", [Beta(1.0), Beta(0.3), Uniform(0.0, 0.4)], ids=str)
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_the_risk_of_mixed_batches_is_the_double_sum_of_equation_4(law, per, data, generator):
    x, y = data
    mixup = Mixup(law, CLASSES, per=per, generator=generator)
    assert_unbiased(estimates(mixup, x, y), pair_risks(x, y, law).mean())


def test_shuffled_batches_have_an_example_as_its_own_partner_once_in_their_size(data, generator):
    x, y = data
    size, law = 3, Beta(1.0)
    mixup = Mixup(law, CLASSES, generator=generator)
    samples = []
    for _ in range(DRAWS):
        chosen = torch.randperm(N, generator=generator)[:size]
        batch = mixup(x[chosen], y[chosen])
        samples.append(cross_entropy(batch.targets, NET(batch.inputs)).mean().item())
    table = pair_risks(x, y, law)
    itself = np.trace(table) / N
    others = (table.sum() - np.trace(table)) / (N * (N - 1))
    assert_unbiased(np.array(samples), itself / size + others * (1 - 1 / size))
