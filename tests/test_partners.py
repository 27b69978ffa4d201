"""Partners from batches are uniform on the data set, counted over many draws."""

import pytest
import torch

from mixreg import TrainingStatistics
from mixreg.pairing import draw_independent_partners, draw_partner, paired_targets


def batch_of(n, count, generator):
    return torch.randperm(count, generator=generator)[:n]


def five_errors(probability, draws):
    return 5 * (probability * (1 - probability) / draws) ** 0.5


@pytest.mark.parametrize(("n", "count"), [(2, 2), (2, 5), (4, 4), (4, 6)])
def test_each_partner_has_the_same_chance(n, count, generator):
    draws, seen = 3000, torch.zeros(count, count, dtype=torch.float64)
    for _ in range(draws):
        rows = batch_of(n, count, generator)
        partner = draw_partner(n, count, generator=generator)
        seen.index_put_((rows, rows[partner]), torch.tensor(1.0).double(), accumulate=True)
    frequencies = seen / seen.sum(1, keepdim=True)
    assert (frequencies - 1 / count).abs().max() < five_errors(1 / count, draws * n / count)


@pytest.mark.parametrize(("n", "count"), [(2, 2), (3, 3), (3, 5), (5, 5)])
def test_each_pair_of_independent_partners_has_the_same_chance(n, count, generator):
    draws, seen = 5000, torch.zeros(count, count, count, dtype=torch.float64)
    for _ in range(draws):
        rows = batch_of(n, count, generator)
        first, second = draw_independent_partners(n, count, generator=generator)
        seen.index_put_((rows, rows[first], rows[second]), torch.tensor(1.0).double(), True)
    frequencies = seen / seen.sum((1, 2), keepdim=True)
    chance = 1 / count**2
    assert (frequencies - chance).abs().max() < five_errors(chance, draws * n / count)


def test_in_a_small_part_of_a_large_data_set_no_partner_is_the_example_itself(generator):
    index = torch.arange(8)
    assert not (draw_partner(8, 10**12, generator=generator) == index).any()
    first, second = draw_independent_partners(8, 10**12, generator=generator)
    assert not ((first == index) | (second == index) | (first == second)).any()


def test_a_generator_decides_all(generator):
    state = generator.get_state()
    first = draw_partner(9, 20, generator=generator)
    generator.set_state(state)
    assert torch.equal(first, draw_partner(9, 20, generator=generator))


def statistics(count=8):
    x, y = torch.randn(count, 3), torch.arange(count) % 2
    return TrainingStatistics.from_tensors(x, y, num_classes=2)


def test_targets_are_dense_and_floating():
    y = paired_targets(torch.zeros(2, 3).bfloat16(), torch.tensor([1, 0]), statistics())
    assert torch.equal(y, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
