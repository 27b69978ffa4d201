import math

import pytest
import torch

from mixreg.models import RandomFourierFeatures, build


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


def test_forward_is_the_formula():
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
