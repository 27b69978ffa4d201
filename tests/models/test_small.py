import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mixreg.models import MLP, LeNet, RandomFourierFeatures, build


def test_default_is_two_hidden_layers_of_256():
    model = build("mlp", input_shape=(1, 8, 8), num_outputs=10)
    sizes = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(64, 256), (256, 256), (256, 10)]
    assert sum(isinstance(m, nn.ReLU) for m in model.modules()) == 2


def test_forward_is_the_formula():
    model = MLP((2, 3), 4, width=5, depth=2, activation=nn.Tanh).double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    w1, b1, w2, b2, w3, b3 = model.parameters()
    hidden = torch.tanh(torch.tanh(x.reshape(7, 6) @ w1.T + b1) @ w2.T + b2)
    torch.testing.assert_close(model(x), hidden @ w3.T + b3)


def test_without_hidden_layers_it_is_linear():
    model = MLP((6,), 4, depth=0)
    assert sum(p.numel() for p in model.parameters()) == 6 * 4 + 4


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": -1}])
def test_bad_sizes_are_refused(options):
    with pytest.raises(ValueError, match="width >= 1 and depth >= 0"):
        MLP((2,), 2, **options)


# 5·5·c·6 + 6, 5·5·6·16 + 16, 400·120 + 120, 120·84 + 84, 84·10 + 10
@pytest.mark.parametrize(
    ("shape", "parameters"), [((3, 32, 32), 62_006), ((1, 28, 28), 61_706), ((1, 32, 32), 61_706)]
)
def test_number_of_parameters(shape, parameters):
    assert sum(p.numel() for p in LeNet(shape, 10).parameters()) == parameters


@pytest.mark.parametrize(("shape", "padding"), [((3, 32, 32), 0), ((2, 28, 28), 2)])
def test_forward_is_conv_pool_conv_pool_and_three_layers(shape, padding):
    model = LeNet(shape, 5).double()
    x = torch.randn(3, *shape, dtype=torch.float64)
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = model.parameters()
    pooled = functional.max_pool2d(functional.conv2d(x, w1, b1, padding=padding).relu(), 2)
    assert pooled.shape == (3, 6, 14, 14)
    pooled = functional.max_pool2d(functional.conv2d(pooled, w2, b2).relu(), 2)
    assert pooled.shape == (3, 16, 5, 5)
    hidden = ((pooled.reshape(3, 400) @ w3.T + b3).relu() @ w4.T + b4).relu()
    torch.testing.assert_close(model(x), hidden @ w5.T + b5)


def test_dropout_is_before_each_fully_connected_layer():
    layers = [type(m).__name__ for m in LeNet((3, 32, 32), 10, dropout=0.3).classifier]
    places = [i for i, layer in enumerate(layers) if layer == "Linear"]
    assert [layers[i - 1] for i in places] == ["Dropout"] * 3


def test_the_papers_numbers():
    model = build("random-fourier-features", input_shape=(2,), num_outputs=1, seed=0)
    assert model.S.shape == (1000, 2)
    assert model.B.shape == (1000,)
    assert abs(model.S.mean()) < 4 * 10 / math.sqrt(2000)
    assert abs(model.S.std() - 10) < 4 * 10 / math.sqrt(4000)
    assert model.B.min() >= 0
    assert model.B.max() <= 2 * math.pi
    assert abs(model.B.mean() - math.pi) < 4 * 2 * math.pi / math.sqrt(12_000)


def test_only_the_outputs_are_trained_and_start_at_zero():
    model = RandomFourierFeatures((2,), 3, num_features=20)
    assert [p.shape for p in model.parameters()] == [(3, 20)]
    assert not model.output.weight.any()
    assert set(model.state_dict()) == {"S", "B", "output.weight"}


def test_random_features_are_the_formula():
    model = RandomFourierFeatures((2, 2), 3, num_features=50, scale=0.7).double()
    torch.nn.init.normal_(model.output.weight)
    x = torch.randn(6, 2, 2, dtype=torch.float64)
    phi = torch.cos(x.reshape(6, 4) @ model.S.T + model.B) / math.sqrt(50)
    torch.testing.assert_close(model.features(x), phi)
    torch.testing.assert_close(model(x), phi @ model.output.weight.T)


def test_features_approximate_the_gaussian_kernel():
    # E cos(Sx + B) cos(Sx' + B) = exp(-σ²‖x − x'‖²/2) / 2
    torch.manual_seed(0)
    model = RandomFourierFeatures((2,), 1, num_features=100_000, scale=1.5).double()
    x = torch.randn(5, 2, dtype=torch.float64)
    kernel = torch.exp(-(1.5**2) * torch.cdist(x, x).square() / 2) / 2
    phi = model.features(x)
    assert (phi @ phi.T - kernel).abs().max() < 4 / math.sqrt(100_000)


@pytest.mark.parametrize("options", [{"num_features": 0}, {"scale": 0.0}, {"scale": math.inf}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match="num_features >= 1 and a positive scale"):
        RandomFourierFeatures((2,), 2, **options)
