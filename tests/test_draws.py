"""Draws made for many batches at once are the same law for every batch, and can be continued."""

import dataclasses
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import stats

from mixreg import Beta, CheckpointError, Constant, Mixup, Uniform, pairing
from mixreg.pairing import BatchDraws, _ready

BLOCK = 256


def batch_draws(law=None, per="sample", seed=0):
    return BatchDraws(law or Beta(0.7), per, torch.Generator().manual_seed(seed))


def empty(n, dtype=torch.float64):
    return torch.empty(n, 1, dtype=dtype)


def seeded(law=None, num_classes=2):
    return Mixup(law or Beta(0.7), num_classes, generator=torch.Generator().manual_seed(0))


def take(draws, x):
    draw = draws.current(x)
    draws.advance()
    return draw


def taken(draws, sizes):
    return [take(draws, empty(n)) for n in sizes]


def same(first, second):
    assert first.shift == second.shift
    assert torch.equal(first.partner, second.partner)
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("per", ["sample", "batch"])
@pytest.mark.parametrize("n", [1, 5, 6])
def test_partner_and_weight_of_whole_and_shorter_batches(n, per):
    draws = batch_draws(per=per)
    take(draws, empty(6))
    for _ in range(BLOCK + 3):
        draw = take(draws, empty(n))
        assert 0 <= draw.shift < n
        assert torch.equal(draw.partner, (torch.arange(n) + draw.shift) % n)
        assert draw.weight.shape == (n,)
        assert torch.equal(draw.rows, draw.weight.unsqueeze(1))
        assert torch.equal(draw.shares, torch.stack([draw.weight, 1 - draw.weight], 1))
        assert per == "sample" or len(draw.weight.unique()) == 1


def test_no_draw_is_given_twice():
    weights = torch.cat([draw.weight for draw in taken(batch_draws(), [5, 3, 5, 9, 9, 2] * 40)])
    assert len(weights.unique()) == len(weights)


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_weights_of_a_long_run_have_the_law(per):
    drawn = taken(batch_draws(Uniform(0.2, 0.9), per), [16, 7] * 5 * BLOCK)
    weights = torch.cat([draw.weight[: 1 if per == "batch" else None] for draw in drawn])
    assert stats.kstest(weights.numpy(), stats.uniform(0.2, 0.7).cdf).pvalue > 1e-4


@pytest.mark.parametrize("n", [5, 9])
def test_shifts_of_whole_and_shorter_batches_are_uniform(n):
    drawn = taken(batch_draws(), [9] + [n] * 3000)[1:]
    counts = np.bincount([draw.shift for draw in drawn], minlength=n)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_rows_follow_one_another_without_correlation():
    first = torch.stack([draw.weight for draw in taken(batch_draws(Uniform()), [2] * 4000)])
    columns = torch.cat([first[1:], first[:-1]], 1)
    correlation = np.corrcoef(columns.numpy().T) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(columns))


@pytest.mark.parametrize(("n", "batches"), [(3, BLOCK), (2**10, 32), (2**15 + 1, 1)])
def test_large_batches_are_not_drawn_far_ahead(n, batches):
    asked = []

    @dataclasses.dataclass(frozen=True)
    class Counted(Uniform):
        def sample(self, n, *, generator=None):
            asked.append(n)
            return super().sample(n, generator=generator)

    taken(batch_draws(Counted()), [n] * batches)
    assert asked == [batches * n]


def test_one_large_batch_does_not_make_later_ones_large():
    draws = batch_draws()
    *_, draw = taken(draws, [2**15] + [5] * 2 * BLOCK)
    assert draw.weight.untyped_storage().nbytes() == 5 * 8
    assert draws.state_dict()["position"].tolist()[0] == 5


@pytest.mark.parametrize("used", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("per", ["sample", "batch"])
@pytest.mark.parametrize("sizes", [[7, 4, 11, 2], [11, 7], [2, 7]], ids=str)
def test_a_state_anywhere_in_the_draws_continues_alike(used, per, sizes):
    draws = batch_draws(per=per)
    taken(draws, [7, 4] * (used // 2) + [7] * (used % 2))
    resumed = batch_draws(per=per, seed=5)
    take(resumed, empty(9))
    resumed.load_state_dict(draws.state_dict())
    resumed.load_state_dict(resumed.state_dict())
    for ours, theirs in zip(*(taken(d, sizes * BLOCK) for d in (resumed, draws)), strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_of_a_batch_rounds_the_same_weights(dtype):
    exact, mixed = batch_draws(), batch_draws()
    for kind in [dtype, torch.float64, dtype]:
        expected, draw = take(exact, empty(5)), take(mixed, empty(5, kind))
        assert draw.shift == expected.shift
        assert torch.equal(draw.weight, expected.weight.to(kind))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_first_made_in_inference_mode_serve_training(dtype):
    mixup = seeded(Constant(0.25))
    x, y = torch.randn(3, 2, dtype=dtype), torch.tensor([0, 1, 0])
    with torch.inference_mode():
        mixup(x, y)
    inputs = x.clone().requires_grad_()
    mixup(inputs, y).inputs.sum().backward()
    torch.testing.assert_close(inputs.grad, torch.ones_like(x))


def test_draws_go_where_the_inputs_are():
    here, everywhere = seeded(), seeded()
    x, y = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    for device in ["cpu", "meta", "cpu", "meta"]:
        batch, expected = everywhere(x.to(device), y.to(device)), here(x, y)
        assert {part.device.type for part in batch} == {device}
        assert device == "meta" or torch.equal(batch.inputs, expected.inputs)


def test_the_given_generator_is_left_to_others():
    given = torch.Generator().manual_seed(3)
    mixups = [Mixup(Beta(0.7), generator=given) for _ in range(2)]
    state = given.get_state()
    x, y = torch.randn(4, 2), torch.rand(4)
    first, second = (mixup(x, y) for mixup in mixups)
    mixups[0].load_state_dict(mixups[0].state_dict())
    assert torch.equal(given.get_state(), state)
    assert not torch.equal(first.weight, second.weight)


def test_threads_share_an_object_without_sharing_draws():
    mixup, x, y = seeded(Uniform()), torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            weights = list(threads.map(lambda _: mixup(x, y).weight, range(4 * BLOCK)))
    finally:
        sys.setswitchinterval(interval)
    assert len(torch.stack(weights).unique(dim=0)) == 4 * BLOCK


def test_other_inputs_in_between_take_one_row_alone(monkeypatch):
    made = []

    def counted(shifts, weights, x):
        made.append(len(shifts))
        return _ready(shifts, weights, x)

    monkeypatch.setattr(pairing, "_ready", counted)
    mixed = batch_draws()
    for _ in range(3):
        for dtype in (torch.float32, torch.float64):
            take(mixed, empty(4, dtype))
    assert made == [BLOCK, 1, 1, 1]


def test_draws_stay_until_they_are_used():
    draws = batch_draws()
    for n in [5, 3, 5]:
        first, second = draws.current(empty(n)), draws.current(empty(n))
        same(first, second)
        draws.advance()
        assert not torch.equal(draws.current(empty(n)).weight, first.weight)


def test_changing_a_drawn_weight_changes_no_other():
    changed, kept = batch_draws(), batch_draws()
    for _ in range(3):
        draw, expected = take(changed, empty(4)), take(kept, empty(4))
        same(draw, expected)
        draw.weight.zero_()
        draw.partner.zero_()
    state = changed.state_dict()
    state["generator"].zero_()
    resumed = batch_draws()
    resumed.load_state_dict(changed.state_dict())
    same(take(resumed, empty(4)), take(kept, empty(4)))


def test_batches_share_no_memory_and_no_graph():
    mixup, x, y = seeded(), torch.randn(300, 2), torch.zeros(300, dtype=torch.long)
    first, second = mixup(x.requires_grad_(), y), mixup(x.detach(), y)
    second.weight.clamp_(max=0.1)
    first.inputs.sum().backward()
    for part in (second.weight, second.partner):
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


def test_pickles_hold_one_copy_of_the_draws():
    draws = batch_draws()
    take(draws, empty(100))
    assert len(pickle.dumps(draws)) < 3 * BLOCK * 100 * 8


POSITIONS = [4, BLOCK + 1], [-1, 0], [4, -1], [0, 1], [4], [[1, 2], [3, 4]], [4.0, 1.0], [np.nan, 0]


@pytest.mark.parametrize("position", [*map(torch.tensor, POSITIONS), [4, 1]], ids=str)
def test_impossible_positions_are_refused(position):
    draws, kept = batch_draws(), batch_draws()
    take(draws, empty(3))
    take(kept, empty(3))
    for changed in ({"position": position}, {"generator": torch.zeros(3)}):
        with pytest.raises(CheckpointError, match="not the state of a mixing stream"):
            draws.load_state_dict(draws.state_dict() | changed)
    same(take(draws, empty(3)), take(kept, empty(3)))
