"""Mixed batches are the stated combinations, estimate equation 4, and leave what is given alone."""

import collections
import copy
import math
from multiprocessing.reduction import ForkingPickler
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from mixreg import Beta, Constant, Mixup, TrainingStatistics, Uniform, cross_entropy, mix
from mixreg import mixed_accuracy as accuracy
from mixreg.pairing import draw_independent_partners, draw_partner, paired_targets

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32]
SHAPES = [(1,), (2, 3), (5,), (7, 4), (6, 3, 5), (9, 3, 8, 8), (33, 3, 16, 16), (3, 2, 4, 4, 4)]
N, CLASSES, DRAWS = 6, 3, 2500
NET = torch.nn.Sequential(
    torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, CLASSES)
).double()


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
    close = 4 * torch.finfo(mixed.dtype).eps
    scale = max(1.0, float(values.abs().max()))
    torch.testing.assert_close(
        mixed.double(), combined(values, batch), rtol=close, atol=close * scale
    )


def assert_same(first, second):
    for part, other in zip(first, second, strict=True):
        assert torch.equal(part, other)


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
    assert_same(mixup(num_classes=num_classes).transform(x, y), batch[:2])
    assert batch.labels is y


@given(st.integers(1, 40), st.integers(0, 2**32), st.sampled_from(["sample", "batch"]))
def test_agrees_with_mix(n, seed, per):
    x, y = torch.arange(n * 2.0).reshape(n, 2), torch.arange(float(n))
    batch = mixup(Beta(0.5), seed=seed, per=per)(x, y)
    for part, other in zip(batch, mix(x, y, batch.weight, batch.partner), strict=True):
        torch.testing.assert_close(part, other)
    assert ((batch.partner - torch.arange(n)) % n).unique().numel() == 1
    assert per == "sample" or batch.weight.unique().numel() == 1


def test_weights_one_and_zero_give_the_examples_themselves():
    x, y = torch.randn(5, 3), torch.arange(5)
    kept, swapped = (mixup(Constant(weight), 5)(x, y) for weight in (1.0, 0.0))
    assert_same(kept[:2], (x, torch.eye(5)))
    assert_same(swapped[:2], (x[swapped.partner], torch.eye(5)[swapped.partner]))


def test_mixing_is_symmetric_in_the_pair(generator):
    x, y = torch.randn(6, 2, generator=generator), torch.rand(6, generator=generator)
    weight = torch.rand(6, generator=generator)
    partner = torch.tensor([1, 0, 3, 2, 5, 4])
    first, second = mix(x, y, weight, partner), mix(x, y, 1 - weight[partner], partner)
    torch.testing.assert_close(first.inputs, second.inputs[partner])
    torch.testing.assert_close(first.targets, second.targets[partner])


@pytest.mark.parametrize("shape", [(9, 3), (9, 3, 40, 40)], ids=str)
def test_nothing_given_is_changed(shape):
    x, y, indices = torch.randn(shape), torch.rand(9, 2), torch.arange(9)
    out = torch.full(shape, torch.nan)
    kept = x.clone(), y.clone()
    batch = mixup()(x, y, out=out)
    mixup(num_classes=9)(x, indices)
    assert batch.inputs is out
    assert torch.equal(mixup()(x, y).inputs, out)
    assert_same((x, y, indices), (*kept, torch.arange(9)))


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 40, 40)], ids=str)
def test_gradients_flow_to_inputs_and_targets(shape, generator):
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.rand(6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    batch = mixup()(x, y)
    received = batch.weight.clone().index_add_(0, batch.partner, 1 - batch.weight)
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
    assert_same((own, tangent), (mixup()(row, y).inputs for row in x))
    assert torch.equal(alike, torch.stack([own, tangent]))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_partners_and_class_indices_of_any_integer_type(dtype):
    x, y, partner = torch.randn(3, 2), torch.eye(3), torch.tensor([1, 1, 0])
    weight = torch.tensor([0.75, 0.5, 0.25])
    assert_same(mix(x, y, weight, partner.to(dtype)), mix(x, y, weight, partner))
    assert_same(mixup(num_classes=2)(x, partner.to(dtype)), mixup(num_classes=2)(x, partner))


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


def test_strided_expanded_and_torchvision_inputs():
    whole = torch.randn(6, 4, 50, 50)
    strided = whole[:, ::2], whole.transpose(1, 3), whole[::2], whole[:1].expand(6, 4, 50, 50)
    for x in (*strided, tv_tensors.Image(torch.rand(4, 3, 80, 80))):
        batch = mixup()(x, torch.rand(len(x)))
        assert_combined(torch.as_tensor(batch.inputs), torch.as_tensor(x), batch)


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
    either = [mixup(Constant(weight), 6).transform for weight in (0.25, 0.75)]
    pipeline = v2.Compose([v2.RandomHorizontalFlip(0.0), v2.RandomChoice(either), v2.Identity()])
    seen = set()
    for _ in range(20):
        inputs, targets = pipeline(x, y)
        assert inputs.shape == x.shape
        seen |= set(targets.unique().tolist()) - {0.0, 1.0}
    assert seen == {0.25, 0.75}


class Pair(NamedTuple):
    """Two inputs of one network."""

    image: torch.Tensor
    table: torch.Tensor


def test_nests_are_mixed_by_the_same_draws():
    image, table = torch.randn(5, 3, 4, 4), torch.rand(5, 2).double()
    batch = mixup(num_classes=5)(
        x := {"both": Pair(image, table), "more": [image]}, torch.arange(5)
    )
    assert (type(batch.inputs), type(batch.inputs["both"])) == (dict, Pair)
    for mixed, plain in zip(batch.inputs["both"], (image, table), strict=True):
        torch.testing.assert_close(mixed.double(), combined(plain, batch))
    assert x["both"].image is x["more"][0] is image
    assert torch.equal(batch.inputs["more"][0], batch.inputs["both"].image)


BATCHES = {
    "keys": ({"labels": "y", "inputs": "x"}, lambda x, y, ids: {"x": x, "y": y, "ids": ids}),
    "all others": ({"labels": "y"}, lambda x, y, _: collections.OrderedDict(x=x, y=y)),
    "positions": ({"labels": 2, "inputs": [1]}, lambda x, y, ids: (ids, x, y)),
    "functions": (
        {"labels": lambda b: b["deep"][1], "inputs": lambda b: b["deep"][0]},
        lambda x, y, ids: collections.UserDict(deep=[x, y], name="a batch", ids=ids),
    ),
    "a pair": ({}, lambda x, y, _: [x, y]),
}


@pytest.mark.parametrize(("places", "made"), BATCHES.values(), ids=BATCHES)
def test_whole_batches_keep_their_types_and_what_is_not_mixed(places, made):
    x, y, ids = torch.randn(4, 3), torch.arange(4), torch.arange(4)
    mixer = Mixup(Beta(1.0), 4, **places, generator=torch.Generator().manual_seed(0))
    given, (inputs, targets) = made(x, y, ids), mixup(num_classes=4).transform(x, y)
    batch, expected = mixer.transform(given), made(inputs, targets, ids)
    assert type(batch) is type(given)
    assert repr(batch) == repr(expected)
    assert repr(given) == repr(made(x, y, ids))
    if "inputs" in places or places == {}:
        means = TrainingStatistics.from_loader([given], 4, **places_of_one(places))
        torch.testing.assert_close(means.x_mean, x.double().mean(0))


def places_of_one(places):
    return places | ({"inputs": 1} if places.get("inputs") == [1] else {})


def test_transformers_batches():
    transformers = pytest.importorskip("transformers")
    outputs = pytest.importorskip("transformers.modeling_outputs")
    places = {"labels": "labels", "inputs": "pixel_values"}
    x, y = torch.randn(4, 3), torch.arange(4)
    mixer = Mixup(Beta(1.0), 4, **places).transform
    batch = mixer(transformers.BatchFeature({"pixel_values": x, "labels": y, "bool_mask": y > 1}))
    assert type(batch) is transformers.BatchFeature
    assert batch["labels"].shape == (4, 4)
    output = outputs.ImageClassifierOutput(loss=y, logits=x)
    mixed = Mixup(Beta(1.0), 4, labels="loss").transform(output)
    assert type(mixed) is type(output)
    assert mixed.loss is mixed["loss"] is not y


def test_pixels_are_mixed_before_their_normalisation():
    pixels, y = torch.randint(256, (9, 3, 8, 8), dtype=torch.uint8), torch.arange(9)
    batch, exact = mixup(num_classes=9)(pixels, y), mixup(num_classes=9)(pixels.float(), y)
    assert batch.inputs.dtype == torch.uint8
    assert torch.equal(batch.inputs.float(), exact.inputs.round())
    assert_same(batch[1:], exact[1:])


def test_the_loaders_of_timm_mix_uint8_in_their_collate_function():
    loader = pytest.importorskip("timm.data.loader")
    images = [(np.full((3, 4, 4), 40 * k, np.uint8), k) for k in range(6)]
    data = DataLoader(images, 3, collate_fn=mixup(Constant(0.75), 6).transform.collate)
    mean, std = (0.5, 0.25, 0.75), (0.5, 0.5, 0.25)
    for x, y in loader.PrefetchLoader(data, mean, std, device=torch.device("cpu")):
        assert y.shape == (3, 6)
        pixels = (x * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)) * 255
        torch.testing.assert_close(pixels.mean((1, 2, 3)), y @ (40.0 * torch.arange(6)))


@pytest.mark.parametrize(("shape", "ignored"), [((7,), -1), ((7, 9), -100), ((7, 4, 5), 255)])
def test_maps_of_classes_and_ignored_labels(shape, ignored, generator):
    x, y = torch.randn(7, 2), torch.randint(3, shape, generator=generator)
    y[torch.rand(shape, generator=generator) < 0.3] = ignored
    batch = Mixup(Beta(1.0), 3, ignore_index=ignored, generator=generator)(x, y)
    dense = torch.stack([(y == k).float() for k in range(3)], 1)
    assert_combined(batch.targets, dense, batch)


def test_the_switch_of_timm_is_obeyed():
    mixer = mixup(num_classes=5).transform
    x, y = torch.randn(5, 2), torch.arange(5)
    for _ in range(2):
        mixer.mixup_enabled = False
        mixer.mixup_enabled = False
        assert not mixer.mixup_enabled
        assert_same(mixer(x, y), (x, torch.eye(5)))
        mixer.mixup_enabled = True
        assert mixer.mixup_enabled
        assert mixer.mixup(x, y).weight.max() < 1


def test_another_law_holds_from_the_next_batch_on():
    mixer, x, y = mixup(Constant(0.75), 4), torch.randn(4, 2), torch.arange(4)
    mixer(x, y)
    start = mixer.state_dict()
    mixer.law = mixer.law
    assert torch.equal(mixer.state_dict()["position"], start["position"])
    mixer.law = Beta(0.4)
    again = mixup(Beta(0.4), 4, seed=5)
    again.load_state_dict(mixer.state_dict())
    expected = mixer(x, y)
    assert_same(again(x, y), expected)
    assert mixer.law == Beta(0.4)
    assert len(expected.weight.unique()) == 4


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
    assert all(torch.equal(other(x, y).inputs, expected.inputs) for other in copies)


def test_mixed_accuracy_counts_both_labels(generator):
    x, y = torch.randn(40, 2), torch.randint(3, (40,), generator=generator)
    logits = torch.randn(40, 3, generator=generator)
    batch = mixup(num_classes=3)(x, y)
    right = (logits.argmax(1) == y).tolist(), (logits.argmax(1) == y[batch.partner]).tolist()
    counted = sum(
        w * a + (1 - w) * b for w, a, b in zip(batch.weight.tolist(), *right, strict=True)
    )
    assert accuracy(logits, y, batch).item() == pytest.approx(counted / 40, abs=1e-6)


def test_mixed_accuracy_of_half_precision_is_not_rounded():
    x, y = torch.zeros(1001, 1, dtype=torch.bfloat16), torch.zeros(1001, dtype=torch.long)
    logits = torch.zeros(1001, 2)
    logits[0, 1] = 1
    counted = accuracy(logits, y, mixup(num_classes=2)(x, y))
    assert counted.item() == pytest.approx(1000 / 1001, abs=1e-6)


# The pairs of equation 4


@pytest.fixture
def data(generator):
    for parameter in NET.parameters():
        torch.nn.init.normal_(parameter, generator=generator).requires_grad_(False)
    x = torch.randn(N, 2, generator=generator, dtype=torch.float64)
    return x, torch.tensor([0, 1, 2, 0, 0, 1])


def pair_risks(x, y, law):
    """E ℓ over λ for every ordered pair (i, j), by 40-point quadrature."""
    nodes, weights = law.quadrature(40)
    one_hot, w, table = torch.eye(CLASSES).double()[y], nodes.unsqueeze(1), np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            inputs, targets = (w * v[i] + (1 - w) * v[j] for v in (x, one_hot))
            table[i, j] = float(weights @ cross_entropy(targets, NET(inputs)))
    return table


def assert_unbiased(batches, expected):
    risks = [cross_entropy(b.targets, NET(b.inputs)).mean().item() for b in batches]
    assert abs(np.mean(risks) - expected) < 4 * np.std(risks, ddof=1) / math.sqrt(len(risks))


@pytest.mark.parametrize("n", [2, 7])
def test_partners_are_uniform_and_may_be_the_example_itself(n, generator):
    mixer, counts = Mixup(Constant(0.5), generator=generator), np.zeros((n, n))
    for _ in range(DRAWS):
        counts[np.arange(n), mixer(torch.zeros(n, 1), torch.zeros(n)).partner] += 1
    assert all(stats.chisquare(row).pvalue > 1e-4 for row in counts)


def test_weights_of_one_batch_are_independent_of_each_other_and_of_the_shift(generator):
    mixer, seen = Mixup(Uniform(), generator=generator), np.empty((DRAWS, 4))
    for row in seen:
        batch = mixer(torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3))
        row[:3], row[3] = batch.weight.numpy(), int(batch.partner[0])
    correlation = np.corrcoef(seen.T) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("law", [Beta(1.0), Beta(0.3), Uniform(0.0, 0.4)], ids=str)
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_the_risk_of_mixed_batches_is_the_double_sum_of_equation_4(law, per, data, generator):
    mixer = Mixup(law, CLASSES, per=per, generator=generator)
    assert_unbiased((mixer(*data) for _ in range(DRAWS)), pair_risks(*data, law).mean())


def test_shuffled_batches_have_an_example_as_its_own_partner_once_in_their_size(data, generator):
    x, y = data
    mixer = Mixup(Beta(1.0), CLASSES, generator=generator)
    chosen = (torch.randperm(N, generator=generator)[:3] for _ in range(DRAWS))
    table = pair_risks(x, y, Beta(1.0))
    itself = np.trace(table) / N
    others = (table.sum() - np.trace(table)) / (N * (N - 1))
    assert_unbiased((mixer(x[i], y[i]) for i in chosen), itself / 3 + others * (1 - 1 / 3))


# Partners that are uniform on the data set


def assert_frequencies(rows_of_draw, n, count, parts, draws, generator):
    """All of 1/count^parts, within five standard errors."""
    seen = torch.zeros((count,) * (parts + 1), dtype=torch.float64)
    for _ in range(draws):
        rows = torch.randperm(count, generator=generator)[:n]
        places = (rows, *(rows[partner] for partner in rows_of_draw()))
        seen.index_put_(places, torch.tensor(1.0).double(), accumulate=True)
    frequencies = seen.flatten(1) / seen.flatten(1).sum(1, keepdim=True)
    chance = 1 / count**parts
    error = (chance * (1 - chance) / (draws * n / count)) ** 0.5
    assert (frequencies - chance).abs().max() < 5 * error


@pytest.mark.parametrize(("n", "count"), [(2, 2), (2, 5), (4, 4), (4, 6)])
def test_each_partner_has_the_same_chance(n, count, generator):
    def drawn():
        return (draw_partner(n, count, generator=generator),)

    assert_frequencies(drawn, n, count, 1, 3000, generator)


@pytest.mark.parametrize(("n", "count"), [(2, 2), (3, 3), (3, 5), (5, 5)])
def test_each_pair_of_independent_partners_has_the_same_chance(n, count, generator):
    def drawn():
        return draw_independent_partners(n, count, generator=generator)

    assert_frequencies(drawn, n, count, 2, 5000, generator)


def test_in_a_small_part_of_a_large_data_set_no_partner_is_the_example_itself(generator):
    index = torch.arange(8)
    assert not (draw_partner(8, 10**12, generator=generator) == index).any()
    first, second = draw_independent_partners(8, 10**12, generator=generator)
    assert not ((first == index) | (second == index) | (first == second)).any()


def test_a_generator_decides_all_partners():
    first, again = (draw_partner(9, 20, generator=torch.Generator().manual_seed(3)) for _ in "12")
    assert torch.equal(first, again)


def test_targets_of_pairs_are_dense_and_floating():
    x, y = torch.zeros(2, 3).bfloat16(), torch.tensor([1, 0])
    described = TrainingStatistics.from_tensors(x, y, num_classes=2)
    assert torch.equal(paired_targets(x, y, described), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
