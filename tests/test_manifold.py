"""Mixup behind a layer is mixup of the rest of the network, in training and in prediction."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mixreg
from mixreg import Beta, LayerStatistics, ManifoldMixup, Mixup, RescaledLayers, RescaledModel

LAW, NEXT = Beta(0.8), "1.0"
X, Y = torch.linspace(-2, 2, 60).reshape(20, 3).sin(), torch.arange(20) % 4


class Twice(nn.Module):
    """A network that runs one of its layers twice, another never, and one that gives a pair."""

    def __init__(self):
        super().__init__()
        self.twice, self.never = nn.Linear(3, 3), nn.Linear(3, 3)
        self.memory = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x):
        return self.memory(self.twice(self.twice(x)).unsqueeze(1))[0][:, 0]


@pytest.fixture
def net(generator):
    parts = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh())
    net = nn.Sequential(parts, nn.ModuleDict({"0": nn.Identity()}), nn.Linear(6, 4)).double()
    net[1] = nn.Sequential(nn.Linear(6, 6, dtype=torch.float64), nn.Tanh())
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=generator)
    return net


def mixup(seed=0):
    return Mixup(LAW, 4, generator=torch.Generator().manual_seed(seed))


def manifold(net, layers):
    return ManifoldMixup(net, layers, mixup(), generator=torch.Generator().manual_seed(0))


def loader():
    return DataLoader(TensorDataset(X.double(), Y), 7)


@pytest.mark.parametrize("layer", ["", "0", NEXT, "2"])
def test_a_fixed_layer_is_mixup_of_what_it_gives_out(net, layer):
    net.eval()
    x = X.double()
    ends = {"": 0, "0": 1, NEXT: 1.5, "2": 3}
    front, back = parts(net, ends[layer])
    outputs, batch, chosen = manifold(net, layer)(x, Y)
    expected = mixup()(front(x), Y)
    assert chosen == layer
    for part, other in zip(batch, expected, strict=True):
        assert torch.equal(part, other)
    torch.testing.assert_close(outputs, back(expected.inputs))
    assert not any(module._forward_hooks for module in net.modules())


def parts(net, end):
    if end == 1.5:
        return nn.Sequential(net[0], net[1][0]), nn.Sequential(net[1][1], net[2])
    return net[:end], net[end:]


def test_gradients_reach_the_weights_before_the_layer(net):
    outputs, batch, _ = manifold(net, NEXT)(X.double(), Y)
    mixreg.cross_entropy(batch.targets, outputs).mean().backward()
    assert net[0][0].weight.grad.abs().min() > 0


def test_a_layer_is_drawn_for_each_batch_with_equal_chances(net):
    mixed, names = manifold(net, ["", "0", NEXT]), ("", "0", NEXT)
    drawn = [mixed(X.double(), Y).layer for _ in range(600)]
    again = manifold(net, ["", "0", NEXT])
    assert drawn[:20] == [again(X.double(), Y).layer for _ in range(20)]
    assert all(abs(drawn.count(name) - 200) < 5 * (600 * 2 / 9) ** 0.5 for name in names)


def test_statistics_are_those_of_the_layer_in_evaluation_mode(net):
    net(X.double())
    net[2].eval()
    of_layer = LayerStatistics.from_loader(net, NEXT, loader(), 4)
    assert net[0][1].training
    assert not net[2].training
    hidden = net.eval()[1][0](net[0](X.double()))
    torch.testing.assert_close(of_layer.stats.x_mean, hidden.mean(0))
    assert of_layer.stats.y_mean.tolist() == [0.25] * 4


@pytest.mark.parametrize("layers", [[""], [NEXT], ["", "0", NEXT]], ids=str)
def test_the_prediction_is_equation_22_behind_each_layer_on_average(net, layers):
    net.eval()
    x, every = X.double(), []
    stats = [LayerStatistics.from_loader(net, name, loader(), 4) for name in layers]
    model = RescaledLayers(net, stats[::-1], manifold(net, layers))
    for name in layers:
        front, back = parts(net, {"": 0, "0": 1, NEXT: 1.5}[name])
        h = front(x)
        shrunk = h.mean(0) + LAW.theta_mean * (h - h.mean(0))
        every.append((back(shrunk) - (1 - LAW.theta_mean) * 0.25) / LAW.theta_mean)
    torch.testing.assert_close(model(x), torch.stack(every).mean(0))
    if layers == [""]:
        torch.testing.assert_close(model(x), RescaledModel(net, stats[0].stats, LAW)(x))


def refused(net, layers=NEXT, of=NEXT):
    stats = [LayerStatistics.from_loader(net, of, loader(), 4)]
    return RescaledLayers(net, stats, manifold(net, layers))


CASES = [
    (lambda net: refused(net, of="0"), ValueError, f"at the layers '{NEXT}', the .* are of '0'"),
    (lambda net: refused(net, ["0", NEXT]), ValueError, f"layers '0', '{NEXT}', .* of '{NEXT}'"),
    (
        lambda net: RescaledLayers(
            net, [mixreg.TrainingStatistics.from_tensors(X, Y, 4)], manifold(net, "0")
        ),
        TypeError,
        "LayerStatistics.from_loader, got TrainingStatistics",
    ),
    (lambda net: manifold(net, "3"), ValueError, "no layer '3'; it has"),
    (lambda net: manifold(net, []), ValueError, "at least one layer"),
    (lambda net: manifold(net, ["0", "0"]), ValueError, "each once"),
    (lambda _: manifold(Twice(), "twice")(X, Y), ValueError, "runs more than once"),
    (lambda _: manifold(Twice(), "never")(X, Y), ValueError, "not run in a pass"),
    (lambda _: manifold(Twice(), "memory")(X, Y), TypeError, "gives out tuple, not one tensor"),
]


@pytest.mark.parametrize(("act", "error", "message"), CASES, ids=[case[2] for case in CASES])
def test_refused(net, act, error, message):
    with pytest.raises(error, match=message):
        act(net)
