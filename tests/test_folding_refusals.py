"""Networks into whose weights equation 22 cannot be merged, with what stands in the way."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from mixreg import Beta, RescaledModel, TrainingStatistics
from mixreg.models.random_features import RandomFourierFeatures

D, C = 4, 3


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


def hooked():
    net = Written(lambda net, x: net.head(torch.relu(net.hidden(x))))
    net.head.register_forward_hook(lambda _module, _args, output: output + 1)
    return net


def tied():
    net = Written(lambda net, x: net.head(net.middle(torch.relu(net.hidden(x)))))
    net.middle = nn.Linear(D, D)
    net.middle.weight = net.hidden.weight
    return net


REFUSED = {
    "random features": (
        lambda: RandomFourierFeatures((D,), C),
        "its first operation is (linear|addmm|matmul), not Linear or Conv",
    ),
    "normalised input": (
        lambda: nn.Sequential(nn.BatchNorm1d(D), nn.Linear(D, C)),
        "its first operation is BatchNorm1d '0', not Linear or Conv",
    ),
    "dropout on the input": (
        lambda: nn.Sequential(nn.Dropout(), nn.Linear(D, C)),
        "its first operation is Dropout '0'",
    ),
    "transposed convolution": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (D, 1)), nn.ConvTranspose1d(D, 2, 1), nn.Flatten(), nn.Linear(2, C)
        ),
        "its first operation is ConvTranspose1d '1'",
    ),
    "softmax at the end": (
        lambda: nn.Sequential(nn.Linear(D, C), nn.LogSoftmax(1)),
        "its last operation is LogSoftmax '1', not Linear",
    ),
    "functional softmax": (
        lambda: Written(lambda net, x: torch.softmax(net.head(net.hidden(x)), 1)),
        "its last operation is softmax, not Linear",
    ),
    "convolution at the end": (
        lambda: nn.Sequential(nn.Unflatten(1, (D, 1)), nn.Conv1d(D, C, 1), nn.Flatten()),
        "its last operation is Conv1d '1', not Linear",
    ),
    "skip from the input": (
        lambda: Written(lambda net, x: net.head(x + net.hidden(x))),
        "its input goes to (Linear 'hidden', add|add, Linear 'hidden'), not to one layer",
    ),
    "input returned": (lambda: nn.Flatten(), "its input goes to the output|its first operation is"),
    "layer called twice": (
        lambda: Written(lambda net, x: net.head(net.hidden(torch.relu(net.hidden(x))))),
        "Linear 'hidden' is used more than once",
    ),
    "tied weights": (tied, "Linear 'hidden' is used more than once"),
    "weight read elsewhere": (
        lambda: Written(lambda net, x: net.head(net.hidden(x) @ net.hidden.weight)),
        "Linear 'hidden' is used more than once",
    ),
    "computed weights": (
        lambda: Written(
            lambda net, x: net.head(net.hidden(x)), parametrizations.weight_norm(nn.Linear(D, D))
        ),
        "the weight of ParametrizedLinear 'hidden' is computed from other parameters",
    ),
    "layer with its own forward": (
        lambda: Written(lambda net, x: net.head(net.hidden(x)), Doubling(D, D)),
        "Doubling 'hidden' has a forward method of its own",
    ),
    "hooks": (hooked, "Linear 'head' has forward hooks"),
    "branching on values": (
        lambda: Written(lambda net, x: net.head(net.hidden(x)) if x.sum() > 0 else net.head(x)),
        r"cannot be traced symbolically \(symbolically traced variables cannot be used as inputs",
    ),
    "batch merged with an axis": (
        lambda: Written(
            lambda net, x: net.head(net.hidden(x.view(-1, 2)).view(len(x), D)), nn.Linear(2, 2)
        ),
        "it merges the batch with another axis|cannot be traced",
    ),
    "batch merged by its size": (
        lambda: Written(
            lambda net, x: net.head(net.hidden(x.view(-1, 2)).view(x.size(0), D)), nn.Linear(2, 2)
        ),
        "it merges the batch with another axis before its first layer",
    ),
}


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
    assert model(torch.zeros(2, D)).shape == (2, len(y_mean))


def test_outputs_of_another_number():
    mean, y_mean = torch.zeros(D).double(), torch.full((C + 1,), 1 / (C + 1)).double()
    model = RescaledModel(nn.Linear(D, C), TrainingStatistics(mean, y_mean, 5), Beta(1.0))
    with pytest.raises(ValueError, match="its last layer has 3 outputs, the statistics 4"):
        model.fold()
