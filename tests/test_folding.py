"""Folded networks predict what the rescaled model predicts, or folding is refused with a reason."""

import copy
import io
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torchvision.models import resnet18
from torchvision.transforms import v2

from mixreg import Beta, RescaledModel, TrainingStatistics
from mixreg._checks import logits_of
from mixreg.folding import FoldedLayer
from mixreg.models import LeNet, RandomFourierFeatures

C, D, LAW = 3, 4, Beta(0.7)


class Residual(nn.Module):
    """A stem, a skip connection, and functional reshaping."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding="same")
        self.head = nn.Linear(4 * 16, C)

    def forward(self, x):
        h = torch.relu(self.norm(self.stem(x)))
        h = h + self.inner(h)
        return self.head(h.view(h.shape[0], -1))


class FlatOutput(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.hidden, self.output = nn.Linear(inputs, 6), nn.Linear(6, 1, bias=False)

    def forward(self, x):
        return self.output(torch.tanh(self.hidden(x.flatten(1)))).squeeze(1)


def sequential(*layers):
    return lambda: nn.Sequential(*layers)


def tail(features):
    return nn.ReLU(), nn.Flatten(), nn.Linear(features, C)


IMAGE, VECTOR = (2, 8, 8), (5,)
# Shape of one input, link, network, and whether no bias can hold the response to x̄.
FOLDABLE = {
    "linear": (VECTOR, "softmax", lambda: nn.Linear(5, C), False),
    "linear without bias": (VECTOR, "identity", lambda: nn.Linear(5, C, bias=False), False),
    "mlp": (VECTOR, "softmax", sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, C)), False),
    "mlp on images": (
        IMAGE,
        "sigmoid",
        sequential(nn.Identity(), nn.Flatten(), nn.Linear(128, 9), nn.GELU(), nn.Linear(9, C)),
        False,
    ),
    "one logit": (VECTOR, "sigmoid", lambda: FlatOutput(5), False),
    "one value": (IMAGE, "identity", lambda: FlatOutput(128), False),
    "several values": (
        VECTOR,
        "identity",
        sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 6), nn.Unflatten(1, (2, 3))),
        False,
    ),
    "vector seen as a sequence": (
        VECTOR,
        "softmax",
        sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 3), *tail(12)),
        True,
    ),
    "tokens": ((4, 5), "softmax", sequential(nn.Linear(5, 6), *tail(24)), True),
    "convolution": (IMAGE, "softmax", sequential(nn.Conv2d(2, 4, 3), *tail(144)), True),
    "padding": (IMAGE, "softmax", sequential(nn.Conv2d(2, 4, 3, padding=1), *tail(256)), True),
    "same": (IMAGE, "softmax", sequential(nn.Conv2d(2, 4, 5, padding="same"), *tail(256)), True),
    "reflect": (
        IMAGE,
        "softmax",
        sequential(nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), *tail(256)),
        True,
    ),
    "groups and dilation": (
        IMAGE,
        "softmax",
        sequential(nn.Conv2d(2, 4, 2, stride=2, dilation=2, groups=2, bias=False), *tail(36)),
        True,
    ),
    "volume": ((2, 4, 4, 4), "softmax", sequential(nn.Conv3d(2, 3, 3, 1, 1), *tail(192)), True),
    "batch norm": (
        IMAGE,
        "softmax",
        sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), *tail(144)),
        True,
    ),
    "residual": (IMAGE, "softmax", Residual, True),
    "lenet": ((1, 28, 28), "softmax", lambda: LeNet((1, 28, 28), C), True),
}


def statistics(shape, link, outputs, *, constant=False):
    x_mean = torch.randn(shape[0] if constant else shape, dtype=torch.float64)
    if constant:
        x_mean = x_mean.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    y_mean = torch.rand(outputs, dtype=torch.float64)
    return TrainingStatistics(x_mean, y_mean / y_mean.sum() if link == "softmax" else y_mean, 10)


def rescaled(shape, link, make, *, constant=False):
    torch.manual_seed(0)
    net = copy.deepcopy(make()).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.running_mean)
    outputs = net(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:]
    return RescaledModel(net, statistics(shape, link, outputs, constant=constant), LAW, link)


def maps(net):
    return sum(isinstance(module, FoldedLayer) for module in net.modules())


@pytest.mark.parametrize("name", FOLDABLE)
@pytest.mark.parametrize("training", [False, True])
def test_the_folded_network_predicts_the_same(name, training):
    shape, link, make, needs_map = FOLDABLE[name]
    model = rescaled(shape, link, make).train(training)
    before = copy.deepcopy(model.state_dict())
    folded = model.fold()
    x = torch.randn(6, *shape, dtype=torch.float64)
    torch.manual_seed(1)
    expected = model(x)
    torch.manual_seed(1)
    torch.testing.assert_close(folded(x), expected, rtol=1e-12, atol=1e-12)
    assert maps(folded) == needs_map
    assert type(folded) is type(model.net)
    assert [m.training for m in model.modules()] == [training] * len(list(model.modules()))
    if not training:
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", ["convolution", "reflect", "groups and dilation"])
def test_a_constant_mean_image_without_zero_padding_goes_into_the_bias(name):
    shape, link, make, _ = FOLDABLE[name]
    model = rescaled(shape, link, make, constant=True)
    folded = model.fold()
    assert maps(folded) == 0
    assert [type(m) for m in folded.modules()] == [type(m) for m in model.net.modules()]
    x = torch.randn(6, *shape, dtype=torch.float64)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["padding", "same"])
def test_a_constant_mean_image_with_zero_padding_needs_a_map(name):
    shape, link, make, _ = FOLDABLE[name]
    model = rescaled(shape, link, make, constant=True)
    x = torch.randn(6, *shape, dtype=torch.float64)
    torch.testing.assert_close(model.fold()(x), model(x), rtol=1e-12, atol=1e-12)
    assert maps(model.fold()) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_dtypes_and_frozen_weights(dtype):
    model = rescaled(*FOLDABLE["residual"][:3]).to(dtype)
    model.net.stem.weight.requires_grad_(False)
    folded = model.fold()
    assert {p.dtype for p in folded.parameters()} == {dtype}
    assert not folded.stem.layer.weight.requires_grad
    assert folded.head.weight.requires_grad
    x = torch.randn(6, *IMAGE).to(dtype)
    close = {torch.float32: 1e-4, torch.bfloat16: 0.2}[dtype]
    torch.testing.assert_close(folded(x), model(x), rtol=close, atol=close)


def test_a_torchvision_resnet():
    model = rescaled((3, 32, 32), "softmax", lambda: resnet18(num_classes=C))
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(model.fold()(x), model(x), rtol=1e-11, atol=1e-11)


def test_a_plain_result_loads_without_this_library(tmp_path):
    model = rescaled(*FOLDABLE["mlp"][:3])
    x = torch.randn(4, 5, dtype=torch.float64)
    torch.save((model.fold(), x, model(x).detach()), tmp_path / "folded.pt")
    script = (
        "import sys, torch\n"
        f"net, x, y = torch.load({str(tmp_path / 'folded.pt')!r}, weights_only=False)\n"
        "assert 'mixreg' not in sys.modules\n"
        "torch.testing.assert_close(net(x), y)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_state_dict_and_export_of_a_map():
    model = rescaled(*FOLDABLE["padding"][:3])
    folded, x = model.fold(), torch.randn(4, *IMAGE, dtype=torch.float64)
    file = io.BytesIO()
    torch.save(folded.state_dict(), file)
    file.seek(0)
    other = rescaled(*FOLDABLE["padding"][:3]).fold()
    other.load_state_dict(torch.load(file, weights_only=True))
    exported = torch.export.export(folded, (x,)).module()
    for same in (other, exported):
        torch.testing.assert_close(same(x), model(x), rtol=1e-12, atol=1e-12)


def test_a_map_refuses_inputs_of_another_size():
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), *tail(4))
    folded = rescaled(IMAGE, "softmax", lambda: net).fold()
    with pytest.raises(
        ValueError, match=r"takes inputs of shape \(n, 2, 8, 8\), got \(1, 2, 9, 9\)"
    ):
        folded(torch.randn(1, 2, 9, 9, dtype=torch.float64))


class Written(nn.Module):
    """A network from two layers and a forward function."""

    def __init__(self, forward, hidden=None):
        super().__init__()
        self.hidden, self.head = hidden or nn.Linear(D, D), nn.Linear(D, C)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Standardised(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight / self.weight.std(), self.bias)


class TwoHeads(nn.Module):
    """The mean of two heads, as of DeiT with distillation."""

    def __init__(self):
        super().__init__()
        self.hidden, self.a, self.b = nn.Linear(D, D), nn.Linear(D, C), nn.Linear(D, C)

    def forward(self, x):
        h = torch.relu(self.hidden(x))
        return (self.a(h) + self.b(h)) / 2


def hooked():
    net = Written(lambda net, x: net.head(torch.relu(net.hidden(x))))
    net.head.register_forward_hook(lambda _module, _args, output: output + 1)
    return net


def tied():
    net = Written(lambda net, x: net.head(net.middle(torch.relu(net.hidden(x)))))
    net.middle = nn.Linear(D, D)
    net.middle.weight = net.hidden.weight
    return net


# They fold in evaluation mode: what stands before the first layer or after the last is affine.
IN_EVALUATION = {
    "normalised input": (lambda: nn.Sequential(nn.BatchNorm1d(D), nn.Linear(D, C)), ()),
    "dropout on the input": (lambda: nn.Sequential(nn.Dropout(), nn.Linear(D, C)), ()),
    "transposed convolution": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (D, 1)), nn.ConvTranspose1d(D, 2, 1), nn.Flatten(), nn.Linear(2, C)
        ),
        (),
    ),
    "convolution at the end": (
        lambda: nn.Sequential(nn.Unflatten(1, (D, 1)), nn.Conv1d(D, C, 1), nn.Flatten()),
        (),
    ),
    "convolution and mean at the end": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, D)), nn.Conv1d(1, C, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten()
        ),
        ("1.layer.weight", "1.layer.bias", "1.offset"),
    ),
    "layer with its own forward": (
        lambda: Written(lambda net, x: net.head(net.hidden(x)), Doubling(D, D)),
        ("hidden.layer.weight", "hidden.layer.bias", "hidden.offset"),
    ),
    "two heads": (TwoHeads, ()),
    "batch norm without a bias before it": (
        lambda: Written(
            lambda net, x: net.head(torch.relu(net.hidden(x))),
            nn.Sequential(nn.Linear(D, D, bias=False), nn.BatchNorm1d(D)),
        ),
        (),
    ),
    "logits of Hugging Face's kind": (
        lambda: Written(lambda net, x: SimpleNamespace(logits=net.head(net.hidden(x)))),
        (),
    ),
}


@pytest.mark.parametrize("name", IN_EVALUATION)
def test_folding_in_evaluation_mode_and_the_keys_of_its_state(name):
    torch.manual_seed(0)
    make, added = IN_EVALUATION[name]
    net = make().double().eval()
    model = RescaledModel(net, statistics((D,), "softmax", (C,)), LAW)
    folded, x = model.fold(), torch.randn(5, D, dtype=torch.float64)
    torch.testing.assert_close(logits_of(folded(x)), model(x), rtol=1e-12, atol=1e-12)
    assert set(folded.state_dict()) - set(net.state_dict()) == set(added)
    if not added:
        net.load_state_dict(folded.state_dict())
        torch.testing.assert_close(logits_of(net(x)), logits_of(folded(x)), rtol=0, atol=0)


def random_features():
    net = RandomFourierFeatures((D,), C)
    nn.init.normal_(net.output.weight)
    return net


OUTPUT, INPUT = "its output is not that of {} alone", "its input does not go to {} alone"
REFUSED = {
    "random features": (random_features, INPUT.format("Linear 'output'")),
    "softmax at the end": (
        lambda: nn.Sequential(nn.Linear(D, C), nn.LogSoftmax(1)),
        OUTPUT.format("Linear '0'"),
    ),
    "functional softmax": (
        lambda: Written(lambda net, x: torch.softmax(net.head(net.hidden(x)), 1)),
        OUTPUT.format("Linear 'head'"),
    ),
    "activation and mean at the end": (  # SqueezeNet's head
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, D)),
            nn.Conv1d(1, C, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
        ),
        OUTPUT.format("Conv1d '1'"),
    ),
    "skip from the input": (
        lambda: Written(lambda net, x: net.head(x + net.hidden(x))),
        INPUT.format("Linear 'hidden'"),
    ),
    "input returned": (lambda: nn.Flatten(), "it calls no Linear or Conv layer"),
    "layer called twice": (
        lambda: Written(lambda net, x: net.head(net.hidden(torch.relu(net.hidden(x))))),
        INPUT.format("Linear 'hidden'"),
    ),
    "tied weights": (tied, "the weight of Linear 'hidden' is used by another layer too"),
    "weight read elsewhere": (
        lambda: Written(lambda net, x: net.head(net.hidden(x) @ net.hidden.weight)),
        INPUT.format("Linear 'hidden'"),
    ),
    "computed weights": (
        lambda: Written(
            lambda net, x: net.head(net.hidden(x)), parametrizations.weight_norm(nn.Linear(D, D))
        ),
        "the weight of ParametrizedLinear 'hidden' is computed from other parameters",
    ),
    "standardised weights": (  # of NFNet: what they are multiplied by is lost
        lambda: Written(lambda net, x: net.head(net.hidden(x)), Standardised(D, D)),
        INPUT.format("Standardised 'hidden'"),
    ),
    "hooks": (hooked, OUTPUT.format("Linear 'head'")),
    "branching on values": (
        lambda: Written(lambda net, x: net.head(net.hidden(x)) if x.sum() > 0 else net.head(x)),
        INPUT.format("Linear 'head'"),
    ),
    "batch merged by its size": (
        lambda: Written(
            lambda net, x: net.head(net.hidden(x.view(-1, 2)).view(x.size(0), D)), nn.Linear(2, 2)
        ),
        "it merges the batch with another axis before its first layer",
    ),
    "inputs it does not take": (
        lambda: nn.Linear(D + 1, C),
        r"it does not run on inputs of shape \(n, 4\) \(mat1.*give inputs .* by example=",
    ),
}


@pytest.mark.filterwarnings("ignore:the outputs of the network lie")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_networks(name):
    make, message = REFUSED[name]
    mean = torch.zeros(D, dtype=torch.float64)
    link = "identity" if name == "input returned" else "softmax"
    y_mean = mean if link == "identity" else torch.full((C,), 1 / C, dtype=torch.float64)
    model = RescaledModel(make(), TrainingStatistics(mean, y_mean, 5), Beta(1.0), link)
    with pytest.raises(ValueError, match=message) as caught:
        model.fold()
    assert str(caught.value).startswith("cannot fold equation 22 into the weights")
    assert str(caught.value).endswith("keep the RescaledModel, which is exact for every network")


def test_outputs_of_another_number():
    mean, y_mean = torch.zeros(D).double(), torch.full((C + 1,), 1 / (C + 1)).double()
    model = RescaledModel(nn.Linear(D, C), TrainingStatistics(mean, y_mean, 5), Beta(1.0))
    with pytest.raises(ValueError, match="its last layer has 3 outputs, the statistics 4"):
        model.fold()


# -- by name, by channel, into the normalisation, compiled -----------------------------------------


def convolutional():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, C),
    )  # fmt: skip


def channel_model(make=convolutional, **options):
    torch.manual_seed(0)
    stats = statistics((3, 16, 16), "softmax", (C,)).per_channel()
    return RescaledModel(make().double().eval(), stats, LAW, **options)


@pytest.mark.parametrize("size", [16, 23])
def test_channel_means_fold_for_images_of_any_size(size):
    model, x = channel_model(), torch.randn(4, 3, size, size, dtype=torch.float64)
    for folded in (model.fold(example=x), channel_model().fold(example=x[:, :, :16, :16])):
        assert folded[0].offset.shape == (3, 1, 1)
        torch.testing.assert_close(folded(x), model(x), rtol=1e-11, atol=1e-12)


def test_channel_means_of_a_network_for_larger_images_need_an_example():
    with pytest.raises(ValueError, match=r"on inputs of shape \(n, 3, 1, 1\).*example="):
        channel_model().fold()


@pytest.mark.parametrize("names", [("0", "6"), ("0", ("6",)), (None, "6"), ("0", None)], ids=str)
def test_layers_by_name(names):
    model, x = channel_model(), torch.randn(4, 3, 16, 16, dtype=torch.float64)
    folded = model.fold(first=names[0], last=names[1], example=x)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": "3"}, "its input does not go to Conv2d '3' alone.*off by .* of "),
        ({"first": "2"}, "it calls no Linear or Conv layer '2'"),
        ({"last": "2"}, "ReLU '2' is no Linear or Conv layer"),
        ({"last": "7.a"}, "it has no layer '7.a'"),
        ({"last": "3"}, "its last layer has 5 outputs, the statistics 3"),
        ({"into": "norm"}, "into must be 'weights' or 'normalisation', got 'norm'"),
        ({"example": torch.randn(4, 16)}, r"of shape \(n, 3, 1, 1\), got \(4, 16\)"),
    ],
)
def test_names_of_other_layers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        channel_model().fold(**{"example": torch.randn(4, 3, 16, 16)} | options)


def test_features_have_a_normalisation_each():
    x = torch.randn(9, 3, dtype=torch.float64)
    model = RescaledModel(nn.Linear(3, C).double(), statistics((3,), "softmax", (C,)), LAW).eval()
    folded = model.fold("normalisation", mean=(1.0, 2.0, 3.0), std=(0.5, 0.2, 2.0))
    raw = x * torch.tensor([0.5, 0.2, 2.0]).double() + torch.tensor([1.0, 2.0, 3.0]).double()
    inputs = (raw - torch.tensor(folded.mean).double()) / torch.tensor(folded.std).double()
    torch.testing.assert_close(folded.net(inputs), model(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"inputs": "keep"}, {"outputs": "keep"}], ids=str)
def test_into_the_normalisation(options):
    """Against the definition: pixels, normalised as for training, asked of the RescaledModel."""
    model, mean, std = channel_model(**options), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    pixels = torch.rand(4, 3, 19, 16, dtype=torch.float64)
    x = v2.functional.normalize(pixels, mean, std)
    folded = model.fold("normalisation", mean=mean, std=std, example=x)
    inputs = v2.functional.normalize(pixels, folded.mean, folded.std)
    torch.testing.assert_close(folded.net(inputs), model(x), rtol=1e-11, atol=1e-12)
    changed = {
        k for k, v in folded.net.state_dict().items() if not v.equal(model.net.state_dict()[k])
    }
    assert changed == (set() if "outputs" in options else {"6.weight", "6.bias"})


@pytest.mark.parametrize(
    ("stats", "given", "message"),
    [
        ((3, 16, 16), {"mean": [0.5] * 3, "std": [0.5] * 3}, r"stats\.per_channel\(\)"),
        ((3, 1, 1), {"mean": [0.5] * 3}, r"needs mean=\.\.\. and std=\.\.\. of the 3 channels"),
        ((3, 1, 1), {"mean": [0.5], "std": [0.5]}, r"got \[0\.5\] and \[0\.5\]"),
    ],
)
def test_normalisations_that_do_not_fit(stats, given, message):
    model = RescaledModel(convolutional().eval(), statistics(stats, "softmax", (C,)), LAW)
    with pytest.raises(ValueError, match=message):
        model.fold("normalisation", **given, example=torch.randn(2, 3, 16, 16))


def test_a_compiled_network_folds_as_what_it_was_compiled_from():
    net = nn.Sequential(nn.Linear(D, C))
    stats = statistics((D,), "softmax", (C,))
    folded = RescaledModel(torch.compile(net), stats, LAW).fold()
    assert type(folded) is nn.Sequential
    x = torch.randn(3, D)
    torch.testing.assert_close(folded(x), RescaledModel(net, stats, LAW)(x))
