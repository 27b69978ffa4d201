import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg._random import generator
from mixreg.data.splits import epoch_order, equal_share, flip_labels, stratified_holdout


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 9),
)
def test_holdout_is_a_partition_with_the_fraction_of_each_class(values, fraction, seed):
    labels = torch.tensor(values)
    kept, held = stratified_holdout(labels, fraction, generator=generator(seed))
    assert torch.cat([kept, held]).sort().values.tolist() == list(range(len(labels)))
    assert kept.equal(kept.sort().values)
    assert held.equal(held.sort().values)
    for value in set(values):
        size = values.count(value)
        expected = min(round(fraction * size), size - 1)
        assert int((labels[held] == value).sum()) == expected


def test_holdout_depends_on_the_generator():
    labels = torch.zeros(100, dtype=torch.int64)
    first, again, other = (
        stratified_holdout(labels, 0.5, generator=generator(seed))[1] for seed in (0, 0, 1)
    )
    assert first.equal(again)
    assert not first.equal(other)


def test_every_sample_is_held_out_as_often():
    labels = torch.tensor([0] * 10 + [1] * 30)
    counts = torch.zeros(40)
    for seed in range(400):
        counts[stratified_holdout(labels, 0.2, generator=generator(seed))[1]] += 1
    assert (counts - 80).abs().max() < 4 * (400 * 0.2 * 0.8) ** 0.5


@given(st.integers(2, 6), st.floats(0, 1), st.integers(0, 9))
def test_flips_are_of_the_given_number_and_to_another_class(num_classes, fraction, seed):
    labels = torch.arange(50) % num_classes
    before = labels.clone()
    noisy = flip_labels(labels, num_classes, fraction, generator=generator(seed))
    assert int((noisy != labels).sum()) == round(fraction * 50)
    assert noisy.min() >= 0
    assert noisy.max() < num_classes
    assert labels.equal(before)


def test_flips_are_uniform_over_the_other_classes():
    labels = torch.full((40_000,), 2)
    noisy = flip_labels(labels, 5, 1.0, generator=generator(0))
    counts = noisy.bincount(minlength=5).double()
    assert counts[2] == 0
    assert (counts[[0, 1, 3, 4]] - 10_000).abs().max() < 4 * (40_000 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_holdout_refuses_fractions(fraction):
    with pytest.raises(ValueError, match="0 <= validation_fraction < 1"):
        stratified_holdout(torch.tensor([0, 1]), fraction, generator=generator(0))


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_flips_refuse_fractions(fraction):
    with pytest.raises(ValueError, match="0 <= label_noise <= 1"):
        flip_labels(torch.tensor([0, 1]), 2, fraction, generator=generator(0))


def test_order_is_a_permutation_that_depends_on_seed_and_epoch_only():
    order = epoch_order(100, seed=3, epoch=5)
    assert order.sort().values.tolist() == list(range(100))
    assert torch.equal(order, epoch_order(100, seed=3, epoch=5))
    assert not torch.equal(order, epoch_order(100, seed=3, epoch=6))
    assert not torch.equal(order, epoch_order(100, seed=4, epoch=5))


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_shares_are_disjoint_and_equal_and_drop_the_rest(world_size):
    rows = torch.arange(23)
    shares = [equal_share(rows, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(share) for share in shares} == {23 // world_size}
    together = torch.stack(shares, 1).flatten()
    assert together.tolist() == list(range(23 // world_size * world_size))
