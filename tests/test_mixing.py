"""Mixed batches are the stated combinations, for every kind of batch, which stays as it is."""

import copy
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from mixreg import Beta, Constant, Mixup, Uniform, mix, mixed_accuracy

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SHAPES = [(1,), (2, 3), (5,), (7, 4), (6, 3, 5), (9, 3, 8, 8), (33, 3, 16, 16), (3, 2, 4, 4, 4)]


def mixup(law=None, num_classes=None, *, seed=0, per="sample"):
    generator = torch.Generator().manual_seed(seed)
    return Mixup(law or Beta(1.0), num_classes, per=per, generator=generator)


def combined(values, batch):
    """The definition, in float64, one row at a time."""
    rows = [
        float(w) * values[i].double() + (1 - float(w)) * values[j].double()
        for i, (w, j) in enumerate(zip(batch.weight, batch.partner.tolist(), strict=True))
    ]
    return torch.stack(rows)


def assert_combined(mixed, values, batch):
    assert mixed.shape == values.shape
    tolerance = 4 * torch.finfo(mixed.dtype).eps
    scale = max(1.0, float(values.abs().max()))
    torch.testing.assert_close(
        mixed.double(), combined(values, batch), rtol=tolerance, atol=tolerance * scale
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_the_definition_for_every_rank_and_dtype(dtype, shape, per, generator):
    x = torch.randn(shape, generator=generator).to(dtype)
    y = torch.randint(3, shape[:1], generator=generator)
    for seed in range(3):
        batch = mixup(num_classes=3, seed=seed, per=per)(x, y)
        assert batch.inputs.dtype == batch.weight.dtype == dtype
        assert batch.targets.dtype == torch.promote_types(dtype, torch.float32)
        assert batch.weight.shape == batch.partner.shape == shape[:1]
        assert batch.partner.dtype == torch.int64
        assert_combined(batch.inputs, x, batch)
        assert_combined(batch.targets, torch.eye(3)[y].to(batch.targets.dtype), batch)


@pytest.mark.parametrize(
    ("targets", "num_classes"),
    [((7,), None), ((7, 1), None), ((7, 4), None), ((7, 4), 4), ((7, 3, 20, 300), None)],
    ids=str,
)
def test_soft_labels_and_regression_targets(targets, num_classes, generator):
    x, y = torch.randn(7, 2), torch.rand(targets, generator=generator)
    batch = mixup(num_classes=num_classes)(x, y)
    assert_combined(batch.targets, y, batch)
    pair = mixup(num_classes=num_classes).transform(x, y)
    assert torch.equal(pair[0], batch.inputs)
    assert torch.equal(pair[1], batch.targets)


@given(st.integers(1, 40), st.integers(0, 2**32), st.sampled_from(["sample", "batch"]))
def test_agrees_with_mix(n, seed, per):
    x, y = torch.arange(n * 2.0).reshape(n, 2), torch.arange(float(n))
    batch = mixup(Beta(0.5), seed=seed, per=per)(x, y)
    same = mix(x, y, batch.weight, batch.partner)
    for name in batch._fields:
        torch.testing.assert_close(getattr(batch, name), getattr(same, name))
    shift = (batch.partner - torch.arange(n)) % n
    assert shift.unique().numel() == 1
    if per == "batch":
        assert batch.weight.unique().numel() == 1


def test_weights_one_and_zero_give_the_examples_themselves():
    x, y = torch.randn(5, 3), torch.arange(5)
    kept = mixup(Constant(1.0), 5)(x, y)
    assert torch.equal(kept.inputs, x)
    assert torch.equal(kept.targets, torch.eye(5))
    swapped = mixup(Constant(0.0), 5)(x, y)
    assert torch.equal(swapped.inputs, x[swapped.partner])
    assert torch.equal(swapped.targets, torch.eye(5)[swapped.partner])


def test_mixing_is_symmetric_in_the_pair(generator):
    x, y = torch.randn(6, 2, generator=generator), torch.rand(6, generator=generator)
    weight = torch.rand(6, generator=generator)
    partner = torch.tensor([1, 0, 3, 2, 5, 4])
    first, second = mix(x, y, weight, partner), mix(x, y, 1 - weight[partner], partner)
    torch.testing.assert_close(first.inputs, second.inputs[partner])
    torch.testing.assert_close(first.targets, second.targets[partner])


@pytest.mark.parametrize("shape", [(9, 3), (9, 3, 40, 40)], ids=str)
def test_nothing_given_is_changed(shape):
    x, y = torch.randn(shape), torch.rand(9, 2)
    out = torch.full(shape, torch.nan)
    kept = x.clone(), y.clone()
    batch = mixup()(x, y, out=out)
    assert batch.inputs is out
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
    assert torch.equal(mixup()(x, y).inputs, out)
    indices = torch.arange(9)
    mixup(num_classes=9)(x, indices)
    assert torch.equal(indices, torch.arange(9))


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 40, 40)], ids=str)
def test_gradients_flow_to_inputs_and_targets(shape, generator):
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.rand(6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    batch = mixup()(x, y)
    received = torch.zeros(6, dtype=torch.float64)
    received += batch.weight
    received.index_add_(0, batch.partner, 1 - batch.weight)
    for values, mixed in ((x, batch.inputs), (y, batch.targets)):
        (gradient,) = torch.autograd.grad(mixed.sum(), values)
        rows = received.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)
        torch.testing.assert_close(gradient, rows)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")
@pytest.mark.parametrize("size", [4, 48])
def test_forward_mode_and_vmap(size, generator):
    x, y = torch.randn(2, 6, 3, size, size, generator=generator), torch.rand(6, 2)
    own, tangent = torch.func.jvp(lambda x: mixup()(x, y).inputs, (x[0],), (x[1],))
    mixer = mixup()
    alike = torch.vmap(lambda x: mixer(x, y).inputs, randomness="same")(x)
    assert torch.isfinite(mixer(x[0], y).inputs).all()
    assert torch.equal(own, mixup()(x[0], y).inputs)
    assert torch.equal(tangent, mixup()(x[1], y).inputs)
    assert torch.equal(alike, torch.stack([own, tangent]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_partners_of_any_integer_type(dtype):
    x, y, partner = torch.randn(3, 2), torch.eye(3), torch.tensor([1, 1, 0])
    weight = torch.tensor([0.75, 0.5, 0.25])
    batch, expected = mix(x, y, weight, partner.to(dtype)), mix(x, y, weight, partner)
    for part, other in zip(batch, expected, strict=True):
        assert torch.equal(part, other)


def test_a_buffer_without_memory():
    for x in (torch.zeros(3, 0), torch.zeros(3, 2, device="meta")):
        out = torch.empty_like(x)
        assert mixup()(x, x, out=out).inputs is out


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("size", [4, 48])
def test_channels_last_is_kept(grad, size):
    x = torch.randn(5, 3, size, size).to(memory_format=torch.channels_last).requires_grad_(grad)
    batch = mixup(num_classes=5)(x, torch.arange(5))
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    assert_combined(batch.inputs.detach(), x.detach(), batch)


def test_strided_and_expanded_inputs():
    whole = torch.randn(6, 4, 50, 50)
    for x in (whole[:, ::2], whole.transpose(1, 3), whole[::2], whole[:1].expand(6, 4, 50, 50)):
        batch = mixup()(x, torch.rand(len(x)))
        assert_combined(batch.inputs, x, batch)


def test_the_device_is_never_waited_for(no_synchronisation):
    x = torch.empty(6, 3, 40, 40, device="meta")
    y = torch.empty(6, dtype=torch.long, device="meta")

    class OnlyOnTheHost(no_synchronisation):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if args and getattr(args[0], "device", None) == torch.device("cpu"):
                return func(*args, **(kwargs or {}))
            return super().__torch_dispatch__(func, types, args, kwargs)

    with OnlyOnTheHost():
        batch = mixup(num_classes=10)(x, y)
    assert {part.device.type for part in batch} == {"meta"}
    assert batch.targets.shape == (6, 10)


def test_as_a_torchvision_transform():
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6)
    first, second = mixup(Constant(0.25), 6), mixup(Constant(0.75), 6)
    pipeline = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.0),
            v2.RandomChoice([first.transform, second.transform]),
            v2.Identity(),
        ]
    )
    seen = set()
    for _ in range(20):
        inputs, targets = pipeline(x, y)
        assert inputs.shape == x.shape
        seen |= set(targets.unique().tolist()) - {0.0, 1.0}
    assert seen == {0.25, 0.75}


def test_torchvision_tensors():
    x = tv_tensors.Image(torch.rand(4, 3, 80, 80))
    batch = mixup(num_classes=4)(x, torch.arange(4))
    assert_combined(torch.as_tensor(batch.inputs), torch.as_tensor(x), batch)


def test_as_a_collate_function():
    data = TensorDataset(torch.randn(10, 3, 4), torch.arange(10) % 3)
    for batch in DataLoader(data, 4, collate_fn=mixup(num_classes=3).collate):
        assert batch.targets.shape == (len(batch.inputs), 3)
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(len(batch.inputs)))


def test_copies_and_pickles_continue_alike():
    x, y = torch.randn(5, 2), torch.rand(5)
    original = mixup(Uniform())
    original(x, y)
    copies = [copy.deepcopy(original), ForkingPickler.loads(ForkingPickler.dumps(original))]
    expected = original(x, y)
    for other in copies:
        assert torch.equal(other(x, y).inputs, expected.inputs)


def test_mixed_accuracy_counts_both_labels(generator):
    x, y = torch.randn(40, 2), torch.randint(3, (40,), generator=generator)
    logits = torch.randn(40, 3, generator=generator)
    batch = mixup(num_classes=3)(x, y)
    predicted = logits.argmax(1)
    expected = 0.0
    for i, weight in enumerate(batch.weight.tolist()):
        own, other = predicted[i] == y[i], predicted[i] == y[batch.partner[i]]
        expected += weight * own.item() + (1 - weight) * other.item()
    assert mixed_accuracy(logits, y, batch).item() == pytest.approx(expected / 40, abs=1e-6)


def test_mixed_accuracy_of_half_precision_is_not_rounded():
    x, y = torch.zeros(1001, 1, dtype=torch.bfloat16), torch.zeros(1001, dtype=torch.long)
    logits = torch.zeros(1001, 2)
    logits[0, 1] = 1
    accuracy = mixed_accuracy(logits, y, mixup(num_classes=2)(x, y))
    assert accuracy.item() == pytest.approx(1000 / 1001, abs=1e-6)
