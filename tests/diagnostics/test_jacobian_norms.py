import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mixreg import MixregError
from mixreg.diagnostics import jacobian_norms
from mixreg.whitening import Whitening

PREDICTIONS = {"softmax": lambda u: u.softmax(-1), "sigmoid": torch.sigmoid, "identity": None}


def smooth_network(seed=0, inputs=5, outputs=3):
    source = torch.Generator().manual_seed(seed)
    first, second = (
        torch.randn(*shape, generator=source, dtype=torch.float64)
        for shape in ((7, inputs), (outputs, 7))
    )
    return lambda x: torch.tanh(x.flatten(1) @ first.T) @ second.T


def samples(n=9, d=5, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_jacobians(net, x):
    return torch.stack([torch.func.jacrev(lambda v: net(v[None])[0])(row) for row in x])


@pytest.mark.parametrize("link", PREDICTIONS)
def test_norms_are_those_of_dense_jacobians(link):
    net, x = smooth_network(), samples()
    norms = jacobian_norms(net, x, link=link, chunk_size=4)
    jacobians = dense_jacobians(net, x)
    covariance = torch.cov(x.T, correction=0)
    in_metric = torch.einsum("kci,ij,kcj->k", jacobians, covariance, jacobians).sqrt()
    torch.testing.assert_close(norms.outputs, jacobians.flatten(1).norm(dim=1), rtol=1e-12, atol=0)
    torch.testing.assert_close(norms.data_metric, in_metric, rtol=1e-12, atol=0)
    predict = PREDICTIONS[link]
    if predict is None:
        assert norms.probabilities is None
    else:
        expected = dense_jacobians(lambda v: predict(net(v)), x).flatten(1).norm(dim=1)
        torch.testing.assert_close(norms.probabilities, expected, rtol=1e-11, atol=1e-14)


def test_the_relative_size_from_its_definition():
    net, x = smooth_network(), samples()
    jacobians, outputs = dense_jacobians(net, x), net(x)
    centred = torch.eye(3, dtype=torch.float64) - 1 / 3
    covariance = torch.cov(x.T, correction=0)
    g = centred @ jacobians
    change = torch.einsum("kci,ij,kcj->", g, covariance, g) / len(x)
    spread = (outputs @ centred).var(0, correction=0).sum()
    assert jacobian_norms(net, x).relative == pytest.approx(float((change / spread).sqrt()), 1e-12)


@given(st.floats(1e-3, 1e3), st.floats(-10, 10), st.integers(0, 50))
def test_an_affine_network_has_relative_size_one(scale, shift, seed):
    x = samples(seed=seed)
    weight = samples(3, 5, seed=seed + 100)
    for link in ("softmax", "identity"):
        norms = jacobian_norms(lambda x: scale * (x @ weight.T) + shift, x, link=link)
        assert norms.relative == pytest.approx(1, rel=1e-9)


def test_the_relative_size_knows_no_scale_and_no_common_logit():
    net, x = smooth_network(), samples()
    expected = jacobian_norms(net, x).relative
    hotter = jacobian_norms(lambda x: net(x) / 7, x)
    shifted = jacobian_norms(lambda x: net(x) + x.square().sum(1, keepdim=True), x)
    smaller = jacobian_norms(lambda x: net(10 * x), x / 10)
    for other in (hotter, shifted, smaller):
        assert other.relative == pytest.approx(expected, rel=1e-10)
    assert hotter.outputs.mean() < jacobian_norms(net, x).outputs.mean() / 6
    plain = jacobian_norms(lambda x: net(x) + x.square().sum(1, keepdim=True), x, link="identity")
    assert plain.relative != pytest.approx(expected, rel=1e-2)


def test_steps_between_clusters_are_flat_and_waves_are_steep():
    x = torch.cat([samples(20, 1) / 20 - 1, samples(20, 1, seed=2) / 20 + 1])
    step, wave = (lambda x: torch.tanh(20 * x)), (lambda x: torch.sin(100 * x))
    assert jacobian_norms(step, x, link="identity").relative < 0.1
    assert jacobian_norms(wave, x, link="identity").relative > 10


def test_a_network_that_does_not_vary():
    norms = jacobian_norms(lambda x: 0 * x, samples())
    assert norms.relative is None
    assert not norms.outputs.any()
    assert not norms.probabilities.any()


def test_sure_predictions_have_no_slope_however_steep_the_logits():
    norms = jacobian_norms(lambda x: 1e3 * x, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert norms.probabilities.max() < 1e-100
    assert norms.outputs.min() > 1e3


def test_images_and_another_metric():
    images = samples(6, 12).reshape(6, 3, 2, 2)
    net = smooth_network(inputs=12)
    other = Whitening.from_data(2 * images)
    own, doubled = jacobian_norms(net, images), jacobian_norms(net, images, whitening=other)
    torch.testing.assert_close(doubled.data_metric, 2 * own.data_metric)
    torch.testing.assert_close(doubled.outputs, own.outputs)


def test_float32_networks_are_measured_in_float32():
    norms = jacobian_norms(nn.Linear(5, 3), samples().float())
    assert norms.outputs.dtype == torch.float64


@pytest.mark.parametrize(
    ("net", "x", "error", "message"),
    [
        (lambda x: x, torch.zeros(3, 2, dtype=torch.int64), TypeError, "floating point"),
        (lambda x: x, torch.zeros(1, 2), ValueError, "at least 2 samples, got 1"),
        (lambda x: x, torch.tensor([[1.0, 2.0], [torch.nan, 0]]), ValueError, "in sample 1"),
        (lambda x: x, torch.tensor([[1.0], [2.0]]), ValueError, "got one logit; use link='sigm"),
        (nn.Dropout(), torch.rand(3, 9), ValueError, r"net\.eval\(\)"),
        (lambda x: x.sqrt(), torch.tensor([[1.0, 0], [2, 1]]), MixregError, "derivative .* sample"),
        (lambda x: x.log(), torch.tensor([[1.0, 1], [2, 0]]), MixregError, "NaN or infinity"),
    ],
)
def test_refuses(net, x, error, message):
    with pytest.raises(error, match=message):
        jacobian_norms(net, x)
