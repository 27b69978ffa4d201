"""Equation 22 against Algorithm 1 as printed, and the rescaled model as a module like any other."""

import copy
import dataclasses
import io
import warnings
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from scipy import special
from torch import nn

from mixreg import (
    ApproximateMixupLoss,
    Beta,
    CheckpointError,
    Constant,
    RescaledModel,
    TrainingStatistics,
    Uniform,
    perturb,
    shrink,
    unshrink,
)
from mixreg.evaluation import predict

C = 4


def conv_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(320, C)
    ).eval()


def images(generator, n=9):
    x = torch.randn(n, 3, 8, 8, generator=generator)
    return x, torch.randint(C, (n,), generator=generator)


@pytest.fixture
def batch(generator):
    return images(generator)


@pytest.fixture
def stats(generator):
    return TrainingStatistics.from_tensors(*images(generator, 50), C)


def algorithm_1(x_test, f, alpha, x_train, y_train):
    """The paper's listing, in NumPy."""
    x_bar, y_bar = x_train.mean(0, keepdims=True), y_train.mean(0, keepdims=True)
    theta_bar = 1.0 - special.betainc(alpha + 1.0, alpha, 0.5)
    f_x = f((1.0 - theta_bar) * x_bar + theta_bar * x_test)
    return y_bar * (1.0 - 1.0 / theta_bar) + f_x / theta_bar


@pytest.mark.parametrize("alpha", [1e-3, 0.2, 1.0, 7.0, 1e3])
def test_algorithm_1(alpha, generator):
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    x, x_test = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (30, 8))
    y = torch.randint(3, (30,), generator=generator)
    model = RescaledModel(net, TrainingStatistics.from_tensors(x, y, 3), Beta(alpha))

    def f(inputs):
        return net(torch.from_numpy(inputs)).detach().numpy()

    expected = algorithm_1(x_test.numpy(), f, alpha, x.numpy(), np.eye(3)[y.numpy()])
    np.testing.assert_allclose(model(x_test).detach(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(), (1,), (3,)], ids=str)
def test_regression_of_one_and_several_values(shape, generator):
    class Net(nn.Module):
        def forward(self, x):
            return (x.sum(1, keepdim=True) * torch.ones(3))[:, : shape[0] if shape else 1].reshape(
                len(x), *shape
            )

    x, y = torch.rand(6, 2, generator=generator), torch.rand(6, *shape, generator=generator)
    model = RescaledModel(Net(), TrainingStatistics.from_tensors(x, y), Beta(1.0), "identity")
    inner = x.mean(0) + 0.75 * (x - x.mean(0))
    expected = (Net()(inner) - 0.25 * y.mean(0)) / 0.75
    torch.testing.assert_close(model(x), expected)


def test_one_number_a_target_fits_a_column_of_outputs():
    x, y = torch.rand(6, 2), torch.rand(6)
    stats = TrainingStatistics.from_tensors(x, y)
    net = nn.Linear(2, 1)
    flat = nn.Sequential(net, nn.Flatten(0))
    column, row = (RescaledModel(f, stats, Beta(1.0), "identity")(x) for f in (net, flat))
    assert column.shape == (6, 1)
    torch.testing.assert_close(column.squeeze(1), row)


@given(st.floats(-20, 20), st.floats(0, 1), st.floats(0.05, 50))
def test_one_sigmoid_logit_is_two_softmax_classes(u, y_mean, alpha):
    law = Beta(alpha)
    mean = torch.tensor([y_mean], dtype=torch.float64)
    logit = torch.tensor([[u]], dtype=torch.float64)
    pair = unshrink(torch.tensor([[0.0, u]], dtype=torch.float64), torch.cat([1 - mean, mean]), law)
    one = unshrink(logit, mean, law, link="sigmoid")
    torch.testing.assert_close(pair[:, 1] - pair[:, 0], one[:, 0])
    theta = law.theta_mean
    assert one.item() == pytest.approx(u / theta + (2 * y_mean - 1) * (1 - 1 / theta), abs=1e-9)
    literal = unshrink(logit, mean, law, link="identity")
    assert literal.item() == pytest.approx(u / theta + y_mean * (1 - 1 / theta), abs=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_balanced_classes_make_it_a_temperature(row):
    u = torch.tensor([row], dtype=torch.float64)
    balanced = torch.full((len(row),), 1 / len(row), dtype=torch.float64)
    law = Beta(1.0)
    rescaled = torch.softmax(unshrink(u, balanced, law, link="softmax"), 1)
    torch.testing.assert_close(rescaled, torch.softmax(u / law.theta_mean, 1))


@given(st.floats(0.5, 1))
def test_shrinking_and_unshrinking_undo_each_other(weight):
    y = torch.rand(5, 3, dtype=torch.float64)
    law = Constant(weight)
    again = unshrink(shrink(y, y.mean(0), law), y.mean(0), law)
    torch.testing.assert_close(again, y)


def test_without_mixing_the_model_is_itself(stats, batch):
    net = conv_net()
    torch.testing.assert_close(
        RescaledModel(net, stats, Constant(1.0))(batch[0]), net(batch[0]), rtol=0, atol=0
    )


def test_the_inner_model_and_its_mode_are_left_alone(stats, batch):
    net = conv_net()
    before = copy.deepcopy(net.state_dict())
    model = RescaledModel(net, stats, Beta(1.0))
    assert not net.training
    model(batch[0])
    assert model.net is net
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert {name for name, _ in model.named_parameters()} == {
        f"net.{name}" for name, _ in net.named_parameters()
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype, stats, batch):
    reference = RescaledModel(conv_net(), stats, Beta(1.0))(batch[0])
    for model in (
        RescaledModel(conv_net().to(dtype), stats, Beta(1.0)),
        RescaledModel(conv_net(), stats, Beta(1.0)).to(dtype),
    ):
        output = model(batch[0].to(dtype))
        assert output.dtype == dtype
        torch.testing.assert_close(output.float(), reference, rtol=0.05, atol=0.05)


def test_autocast(stats, batch):
    model = RescaledModel(conv_net(), stats, Beta(1.0))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch[0])
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), model(batch[0]), rtol=0.05, atol=0.05)


def test_channels_last(stats, batch):
    seen = []
    net = conv_net().to(memory_format=torch.channels_last)
    net[0].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    model = RescaledModel(net, stats, Beta(1.0))
    output = model(batch[0].to(memory_format=torch.channels_last))
    assert seen == [True]
    torch.testing.assert_close(output, RescaledModel(conv_net(), stats, Beta(1.0))(batch[0]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compile_in_one_graph(stats, batch):
    model = RescaledModel(conv_net(), stats, Beta(1.0))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch[0]), model(batch[0]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_export_with_a_free_batch_size(stats, batch):
    model = RescaledModel(conv_net(), stats, Beta(1.0))
    sizes = ({0: torch.export.Dim("n", min=2)},)
    exported = torch.export.export(model, (batch[0],), dynamic_shapes=sizes).module()
    torch.testing.assert_close(exported(batch[0][:4]), model(batch[0][:4]))


def test_meta_empty_and_vmapped_batches(stats, batch):
    model = RescaledModel(conv_net(), stats, Beta(1.0))
    on_meta = copy.deepcopy(model).to("meta")
    assert on_meta(batch[0].to("meta")).shape == (9, C)
    assert model(batch[0][:0]).shape == (0, C)
    rows = torch.vmap(lambda row: model(row.unsqueeze(0)).squeeze(0))(batch[0])
    torch.testing.assert_close(rows, model(batch[0]))


@pytest.mark.parametrize("law", [Beta(0.3), Uniform(0.2, 0.9), Beta(2.0).with_probability(0.5)])
def test_state_dict_round_trips(law, stats, batch):
    model = RescaledModel(conv_net(), stats, law, "sigmoid")
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    zeros = torch.zeros(3, 8, 8, dtype=torch.float64)
    blank = TrainingStatistics(zeros, torch.full((C,), 0.25, dtype=torch.float64), 1)
    for state in (torch.load(file, weights_only=True), load(save(model.state_dict()))):
        net = conv_net()
        for parameter in net.parameters():
            nn.init.zeros_(parameter)
        other = RescaledModel(net, blank, Constant(1.0))
        other.load_state_dict(state)
        assert (other.law, other.link, other.input_range) == (law, "sigmoid", model.input_range)
        assert torch.equal(other(batch[0]), model(batch[0]))


def test_copies_and_pickles(stats, batch):
    model = RescaledModel(conv_net(), stats, Beta(1.0))
    for other in (copy.deepcopy(model), ForkingPickler.loads(ForkingPickler.dumps(model))):
        assert torch.equal(other(batch[0]), model(batch[0]))


def test_gradients_reach_inputs_and_parameters(stats, batch):
    x = batch[0].requires_grad_()
    model = RescaledModel(conv_net(), stats, Beta(1.0))
    model(x).sum().backward()
    assert all(p.grad is not None for p in [x, *model.parameters()])


def test_representation_names_law_and_link(stats):
    text = repr(RescaledModel(conv_net(), stats, Beta(0.4)))
    assert "law=Beta(alpha=0.4), link='softmax'" in text


def test_raw_pixels_give_one_warning(stats, batch):
    model = RescaledModel(conv_net(), stats, Beta(1.0))
    model(batch[0])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model(batch[0])
        model(255 * batch[0])
        model(255 * batch[0])
    assert len(seen) == 1
    assert "far outside the [" in str(seen[0].message)
    assert seen[0].filename == __file__


def test_unmeasured_ranges_give_no_warning(stats, batch):
    unmeasured = TrainingStatistics(stats.x_mean, stats.y_mean, stats.count)
    model = RescaledModel(conv_net(), unmeasured, Beta(1.0))
    assert model(255 * batch[0]).shape == (9, C)


def test_from_a_state_dict_without_statistics(stats, batch):
    state = RescaledModel(conv_net(), stats, Beta(0.3), "sigmoid", inputs="keep").state_dict()
    net = conv_net()
    nn.init.zeros_(net[4].weight)
    model = RescaledModel.from_state_dict(net, state)
    assert (model.law, model.link, model.inputs) == (Beta(0.3), "sigmoid", "keep")
    assert all(value.equal(state[key]) for key, value in model.state_dict().items())
    with pytest.raises(CheckpointError, match="it has no x_mean, y_mean, _extra_state"):
        RescaledModel.from_state_dict(net, net.state_dict())
    nan = torch.full((C,), torch.nan)
    for name, value, found in (
        ("x_mean", [0.0], "x_mean must be a torch.Tensor, got list"),
        ("y_mean", None, "y_mean must be a torch.Tensor, got NoneType"),
        ("y_mean", nan, "y_mean must be finite"),
    ):
        with pytest.raises(CheckpointError, match=f"no means of a RescaledModel: {found}"):
            RescaledModel.from_state_dict(net, state | {name: value})


@pytest.mark.parametrize("size", [8, 11])
def test_channel_means_at_any_image_size(size, stats, generator):
    """Against x̄ written out at that size, in prediction, in perturbations and in the loss (12)."""
    channels, net = stats.per_channel(), nn.Sequential(*conv_net()[:3], nn.AdaptiveAvgPool2d(1))
    net = nn.Sequential(net, nn.Flatten(), nn.Linear(5, C))
    whole = dataclasses.replace(stats, x_mean=channels.x_mean.expand(3, size, size))
    x, y = torch.randn(6, 3, size, size, generator=generator), torch.arange(6) % C
    small, large = ([f(s) for f in (
        lambda s: RescaledModel(net, s, Beta(1.0))(x),
        lambda s: perturb(x, y, s, Beta(1.0), "gaussian", generator=seeded()).inputs,
        lambda s: ApproximateMixupLoss(s, Beta(1.0), generator=seeded())(net.eval(), x, y),
        lambda s: predict(net, [(x, y)], s.x_mean, Beta(1.0)).shrunk,
    )] for s in (channels, whole))  # fmt: skip
    for a, b in zip(small, large, strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match=r"of shape \(n, 3, 1, 1\), got \(6, 3, 8\)"):
        shrink(torch.zeros(6, 3, 8), channels.x_mean, Beta(1.0))


def seeded():
    return torch.Generator().manual_seed(0)
