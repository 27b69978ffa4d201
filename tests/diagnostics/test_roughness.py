import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mixreg import MixregError
from mixreg._random import generator
from mixreg.diagnostics import roughness
from mixreg.models import build


def samples(n=9, d=5, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rough(net, x, link="identity", pairs=200, seed=0):
    return roughness(net, x, generator=generator(seed), link=link, pairs=pairs)


def test_one_coordinate_against_the_integral():
    """For f = sin(k x) between −1 and 1: ρ² = ∫ (2k cos k(2λ−1))² dλ / (2 sin k)²."""
    x, k = torch.tensor([[-1.0], [1.0]], dtype=torch.float64), 2.0
    found = rough(lambda x: torch.sin(k * x), x, pairs=40_000)
    k = torch.tensor(k, dtype=torch.float64)
    square = 2 * k**2 * (1 + torch.sin(2 * k) / (2 * k)) / (4 * torch.sin(k) ** 2)
    assert abs(found.value - float(square.sqrt())) < 4 * found.standard_error
    assert found.standard_error < 0.01


def test_the_definition_over_all_pairs():
    x = samples(4, 3)
    weight = samples(2, 3, seed=2)

    def net(x):
        return torch.tanh(x @ weight.T)

    slopes, straight = [], []
    grid = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    for i in range(4):
        for j in range(4):
            at = x[i] + grid[:, None] * (x[j] - x[i])
            u = net(at)
            change = (1 - u**2) * ((x[j] - x[i]) @ weight.T)
            slopes.append(change.square().sum(1).mean())
            straight.append((net(x[j]) - net(x[i])).square().sum())
    expected = float((sum(slopes) / sum(straight)).sqrt())
    found = rough(net, x, pairs=40_000)
    assert abs(found.value - expected) < 4 * found.standard_error
    assert found.value > 1


@given(st.floats(1e-3, 1e3), st.floats(-10, 10), st.integers(0, 50))
def test_an_affine_network_has_one(scale, shift, seed):
    x, weight = samples(seed=seed), samples(3, 5, seed=seed + 100)
    for link in ("softmax", "identity"):
        found = rough(lambda x: scale * (x @ weight.T) + shift, x, link, pairs=20)
        assert found.value == pytest.approx(1, rel=1e-9)
        assert found.standard_error == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 200), st.floats(0.1, 20))
def test_no_network_has_less_than_one_but_for_chance(seed, scale):
    x, weight = samples(seed=seed), samples(3, 5, seed=seed + 1)
    found = rough(lambda x: torch.tanh(scale * x @ weight.T), x, pairs=400, seed=seed)
    assert found.value > 1 - 5 * found.standard_error


def test_neither_the_scale_nor_a_common_logit_counts():
    x, weight = samples(), samples(3, 5, seed=2)

    def net(x):
        return torch.tanh(x @ weight.T)

    expected = rough(net, x, "softmax").value
    others = (
        rough(lambda x: net(x) / 7, x, "softmax"),
        rough(lambda x: net(x) + x.square().sum(1, keepdim=True), x, "softmax"),
        rough(lambda x: net(10 * x), x / 10, "softmax"),
    )
    for other in others:
        assert other.value == pytest.approx(expected, rel=1e-9)
    assert rough(net, x).value != pytest.approx(expected, rel=1e-3)


def test_wiggles_between_samples_count_though_the_samples_lie_flat():
    x = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    wiggle = rough(lambda x: x - torch.sin(2 * torch.pi * x), x, pairs=2000)
    assert wiggle.value > 3


def test_constant_outputs_have_no_roughness():
    assert rough(lambda x: 0 * x, samples()) == (None, None, 200)


def test_one_logit_images_and_chunks():
    images = torch.rand(5, 1, 8, 8, generator=generator(1))
    net = build("mlp", input_shape=(1, 8, 8), num_outputs=1, seed=0).eval()
    found = roughness(net, images, generator=generator(0), link="sigmoid", pairs=30)
    parts = roughness(net, images, generator=generator(0), link="sigmoid", pairs=30, chunk_size=4)
    assert found.value > 1 - 5 * found.standard_error
    assert parts.value == pytest.approx(found.value, rel=1e-5)


def test_buffers_and_mode_are_left_as_they_were():
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU()).double().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rough(net, samples())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training


@pytest.mark.parametrize(
    ("net", "x", "error", "message"),
    [
        (lambda x: x, torch.zeros(3, 2, dtype=torch.int64), TypeError, "floating point"),
        (lambda x: x, torch.zeros(1, 2), ValueError, "at least 2 samples and 2 pairs, got 1"),
        (nn.Dropout(), torch.rand(3, 9), ValueError, r"net\.eval\(\)"),
        (lambda x: x.log(), torch.tensor([[1.0, 1], [2, 0]]), MixregError, "NaN or infinity"),
        (lambda x: x.detach(), torch.rand(3, 2), MixregError, "no forward-mode derivative"),
    ],
)
def test_refuses(net, x, error, message):
    with pytest.raises(error, match=message):
        rough(net, x)


def test_refuses_one_pair():
    with pytest.raises(ValueError, match="2 pairs, got 9 and 1"):
        rough(lambda x: x, samples(), pairs=1)
