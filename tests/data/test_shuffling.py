import pytest
import torch

from mixreg.data.shuffling import epoch_order, equal_share


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
