import pytest
import torch
from torch import nn

from mixreg import MixregError
from mixreg.covariance import Whitening
from mixreg.diagnostics import jacobian_norms

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
