"""Spectral regularization: the norms it holds, what they bound, and how it is undone."""

import math

import pytest
import torch
from torch import nn

from mixreg.models import build
from mixreg.training.spectral import apply_spectral_norm


def layers(net):
    return [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]


def kernel_norm(layer):
    return torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()


def test_every_layer_reaches_norm_one():
    net = apply_spectral_norm(build("lenet", input_shape=(3, 32, 32), num_outputs=10))
    x = torch.randn(2, 3, 32, 32)
    for _ in range(100):
        net(x)
    assert len(layers(net)) == 5
    for layer in layers(net.eval()):
        assert kernel_norm(layer) == pytest.approx(1, abs=1e-3)


def test_the_norm_is_kept_through_training():
    net = apply_spectral_norm(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        (net(torch.randn(16, 4)) - 10).square().mean().backward()
        optimizer.step()
    for layer in layers(net.eval()):
        assert kernel_norm(layer) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_what_the_kernel_norm_bounds(size, stride):
    """The dense matrix of the convolution against the bound of the documentation."""
    layer = nn.Conv2d(2, 3, size, stride=stride, padding=size // 2, bias=False)
    pixels = torch.eye(2 * 9 * 9).reshape(-1, 2, 9, 9)
    norm = torch.linalg.matrix_norm(layer(pixels).flatten(1), 2).item()
    bound = kernel_norm(layer) * math.ceil(size / stride)
    assert kernel_norm(layer) < norm < bound


def test_refusals():
    with pytest.raises(ValueError, match="no linear or convolutional layer"):
        apply_spectral_norm(nn.ReLU())
    with pytest.raises(ValueError, match="layer '0' has a parametrization already"):
        apply_spectral_norm(apply_spectral_norm(nn.Sequential(nn.Linear(2, 2))))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        apply_spectral_norm(nn.Linear(2, 2), power_iterations=0)
