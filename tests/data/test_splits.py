import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg._random import generator
from mixreg.data.published import flip_labels, stratified_holdout


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
