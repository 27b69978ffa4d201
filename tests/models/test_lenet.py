import pytest
import torch
from torch.nn import functional

from mixreg.models import LeNet


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
