"""Draws continue from a checkpoint, and differ between workers, epochs and ranks."""

import copy
import io

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mixreg import ApproximateMixupLoss, Beta, CheckpointError, Mixup, TrainingStatistics
from mixreg._random import Stream

X, Y = torch.arange(12.0).reshape(12, 1), torch.arange(12) % 3
# From Python 3.12 on, forking workers beside pytest-xdist's own thread draws a warning.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def mixup(seed=0):
    return Mixup(Beta(0.7), 3, generator=torch.Generator().manual_seed(seed))


def draws(mixer, batches=3):
    return torch.stack([mixer(X, Y).weight for _ in range(batches)])


def as_rank(monkeypatch, rank):
    monkeypatch.setattr("mixreg._random.dist.is_initialized", lambda: True)
    monkeypatch.setattr("mixreg._random.dist.get_rank", lambda: rank)


def test_a_saved_state_continues_bit_for_bit():
    mixer = mixup()
    draws(mixer)
    file = io.BytesIO()
    torch.save(mixer.state_dict(), file)
    expected = draws(mixer)
    file.seek(0)
    resumed = mixup(seed=9)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(draws(resumed), expected)


@pytest.mark.parametrize("drawn_before", [0, 2])
def test_a_state_of_another_rank_continues_bit_for_bit(drawn_before, monkeypatch):
    as_rank(monkeypatch, 3)
    mixer = mixup()
    draws(mixer, 1)
    state = mixer.state_dict()
    expected = draws(mixer)
    resumed = mixup(seed=9)
    if drawn_before:
        draws(resumed, drawn_before)
    resumed.load_state_dict(state)
    assert torch.equal(draws(resumed), expected)


def test_reading_the_state_does_not_change_the_draws():
    first, second = mixup(), mixup()
    second.state_dict()
    assert torch.equal(draws(first), draws(second))


def test_a_saved_state_does_not_follow_later_draws():
    mixer = mixup()
    state = mixer.state_dict()
    kept = {name: value.clone() for name, value in state.items()}
    draws(mixer)
    for name, value in kept.items():
        assert torch.equal(state[name], value)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"generator": torch.zeros(3, dtype=torch.uint8), "process": torch.tensor([0, 0])},
        {"generator": torch.Generator().get_state(), "process": torch.tensor([0])},
        {"generator": torch.Generator().get_state()},
        {"generator": 3, "process": torch.tensor([0, 0])},
    ],
    ids=str,
)
def test_other_values_are_no_state(state):
    mixer = mixup()
    with pytest.raises(CheckpointError, match="not the state of a mixing stream"):
        mixer.load_state_dict({"position": torch.tensor([0, 0])} | state)
    assert torch.equal(draws(mixer), draws(mixup()))


def test_the_first_process_draws_from_the_given_generator():
    given = torch.Generator().manual_seed(4)
    assert Stream(given).generator() is given


def test_without_a_generator_every_object_draws_anew_and_a_seeded_program_the_same():
    def program(seed):
        torch.manual_seed(seed)
        return [draws(Mixup(Beta(0.7), 3), 1) for _ in range(8)] + [torch.rand(3)]

    first, again, other = program(11), program(11), program(12)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({tuple(row.flatten().tolist()) for row in first + other}) == 18


def test_losses_made_in_the_step_draw_anew():
    stats = TrainingStatistics.from_tensors(X, Y, 3)
    net = torch.nn.Linear(X[0].numel(), 3)

    def program():
        torch.manual_seed(3)
        return [ApproximateMixupLoss(stats, Beta(0.7))(net, X.flatten(1), Y).item() for _ in "1234"]

    values = program()
    assert values == program()
    assert len(set(values)) == 4


def mix_anew(samples):
    return Mixup(Beta(0.7), 3).collate(samples)


@forks
def test_objects_made_in_workers_draw_anew():
    def two_epochs():
        torch.manual_seed(5)
        loader = DataLoader(TensorDataset(X, Y), 3, collate_fn=mix_anew, num_workers=2)
        return [row for _ in range(2) for row in rows_of_an_epoch(loader)]

    rows = two_epochs()
    assert len(set(rows)) == len(rows) == 8
    assert rows == two_epochs()


def test_ranks_draw_differently_and_reproducibly(monkeypatch):
    seen = []
    for rank in (0, 1, 2):
        as_rank(monkeypatch, rank)
        seen.append(draws(mixup()))
        assert torch.equal(seen[-1], draws(mixup()))
        assert not any(torch.equal(seen[-1], other) for other in seen[:-1])


def rows_of_an_epoch(loader):
    return [tuple(batch.weight.tolist()) for batch in loader]


@forks
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_differently_and_reproducibly(persistent):
    def three_epochs():
        loader = DataLoader(
            TensorDataset(X, Y),
            batch_size=3,
            collate_fn=mixup().collate,
            num_workers=2,
            persistent_workers=persistent,
            generator=torch.Generator().manual_seed(1),
        )
        return [row for _ in range(3) for row in rows_of_an_epoch(loader)]

    rows = three_epochs()
    assert len(rows) == 12
    assert len(set(rows)) == 12
    assert rows == three_epochs()


def mixup_used_before():
    mixer = mixup()
    mixer(X, Y)
    return mixer.collate


@forks
@pytest.mark.parametrize("make", [lambda: mixup().collate, mixup_used_before, lambda: mix_anew])
def test_workers_with_a_pickled_copy_draw_as_forked_ones(make):
    def rows(context):
        torch.manual_seed(5)
        loader = DataLoader(
            TensorDataset(X, Y),
            batch_size=3,
            collate_fn=make(),
            num_workers=1,
            multiprocessing_context=context,
            generator=torch.Generator().manual_seed(1),
        )
        return rows_of_an_epoch(loader)

    assert rows("forkserver") == rows("fork")


@forks
def test_workers_draw_anew_where_the_parent_has_drawn():
    mixer = mixup()
    before = tuple(mixer(X[:3], Y[:3]).weight.tolist())
    ahead = {tuple(row.tolist()) for row in copy.deepcopy(mixer)._draws._block.weights.float()}
    assert before in ahead
    loader = DataLoader(TensorDataset(X, Y), 3, collate_fn=mixer.collate, num_workers=2)
    assert not ahead & set(rows_of_an_epoch(loader))


def test_ranks_draw_anew_where_the_only_process_has_drawn(monkeypatch):
    mixer = mixup()
    draws(mixer, 1)
    alone = draws(copy.deepcopy(mixer))
    seen = []
    for rank in (1, 2):
        as_rank(monkeypatch, rank)
        seen.append(draws(copy.deepcopy(mixer)))
    assert not any(torch.equal(alone, other) for other in seen)
    assert not torch.equal(*seen)


def test_the_state_of_a_rank_may_be_loaded_before_the_group_is_made(monkeypatch):
    resumed = mixup(seed=9)
    as_rank(monkeypatch, 3)
    mixer = mixup()
    draws(mixer, 1)
    state = mixer.state_dict()
    monkeypatch.setattr("mixreg._random.dist.is_initialized", lambda: False)
    resumed.load_state_dict(state)
    as_rank(monkeypatch, 3)
    assert torch.equal(draws(resumed), draws(mixer))


@forks
def test_loading_in_workers_leaves_the_parents_state_alone():
    mixer = mixup()
    rows_of_an_epoch(DataLoader(TensorDataset(X, Y), 3, collate_fn=mixer.collate, num_workers=1))
    assert torch.equal(draws(mixer), draws(mixup()))


def test_generators_elsewhere_are_refused():
    class OnDevice(torch.Generator):
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="draws are made on the CPU, got a generator on cuda"):
        Stream(OnDevice())
