"""Random streams are reproducible, distinct, and leave the global seed alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg._random import derive_seed, generator

ENTRY = st.one_of(st.integers(0, 2**80), st.text(max_size=8))
ENTROPY = st.lists(ENTRY, max_size=5).map(tuple)


@given(ENTROPY, ENTROPY)
def test_equal_seeds_mean_equal_entropy(first, second):
    assert (derive_seed(*first) == derive_seed(*second)) == (first == second)


@pytest.mark.parametrize(
    ("first", "second"),
    [((0,), (0, 0)), ((5,), (5, 0)), ((2**32,), (0, 1)), ((1,), ("1",)), (("a", "b"), ("ab",))],
)
def test_padding_and_concatenation_do_not_collide(first, second):
    assert derive_seed(*first) != derive_seed(*second)


@given(ENTROPY)
def test_seeds_are_accepted_by_torch(entropy):
    assert 0 <= derive_seed(*entropy) < 2**63
    torch.Generator().manual_seed(derive_seed(*entropy))


def test_seeds_do_not_change_between_releases():
    assert derive_seed(0, "mixing", 3) == 7947523748954873895


def test_numpy_integers_count_as_integers():
    assert derive_seed(np.int64(3), "a") == derive_seed(3, "a")


def test_streams_are_independent_of_each_other():
    draws = torch.stack([torch.randn(2000, generator=generator(0, k)) for k in range(40)])
    correlation = torch.corrcoef(draws) - torch.eye(40)
    assert correlation.abs().max() < 5 / 2000**0.5


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = torch.rand(3, generator=generator(7))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(3, generator=generator(7)), first)


def test_negative_entries_are_refused():
    with pytest.raises(ValueError, match="at least 0, got -1"):
        derive_seed(3, -1)


@pytest.mark.parametrize("entry", [0.5, None, True, b"a"])
def test_other_types_are_refused(entry):
    with pytest.raises(TypeError, match="integers or strings"):
        derive_seed(entry)
