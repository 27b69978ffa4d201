import pytest
import torch
from torch import nn

from mixreg.models import MLP, build


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
