"""Data and values that training statistics refuse, each with what came and what to do."""

import pytest
import torch

from mixreg import TrainingStatistics

X, Y = torch.linspace(0, 1, 12).reshape(4, 3), torch.tensor([0, 1, 2, 1])
MEAN = torch.zeros(3, dtype=torch.float64)


def with_entry(x, value):
    x = x.clone()
    x.view(-1)[5] = value
    return x


def message_alone(value):
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (with_entry(X, torch.nan), Y, ValueError, "inputs must be finite.*examples 4 to 7"),
        (with_entry(X, torch.inf), Y, ValueError, "inputs must be finite"),
        (with_entry(X, -torch.inf), Y, ValueError, "inputs must be finite"),
        (X, with_entry(X, torch.nan), ValueError, "labels must be finite"),
        (X, torch.tensor([0, 1, 2, 3]), ValueError, r"0\.\.2 for num_classes=3"),
        (X, torch.tensor([0, -1, 2, 1]), ValueError, "from -1 to 2"),
        (X, torch.rand(4, 2), ValueError, r"shape \(n, 3\)"),
        (X, torch.rand(4), TypeError, r"use y\.long\(\)"),
        (torch.rand(4, 2), Y, ValueError, r"inputs changed their shape from \(3,\) to \(2,\)"),
        (torch.rand(4, 3, 1), Y, ValueError, "inputs changed their shape"),
        (X.mul(255).byte(), Y, TypeError, r"got torch.uint8.*x\.float\(\) / 255"),
        (X, Y[:3], ValueError, r"one row an example, got shapes \(4, 3\) and \(3,\)"),
        (torch.tensor(1.0), Y, ValueError, "one row an example"),
        (X[:, :0], Y, ValueError, r"no entries, got shape \(4, 0\)"),
    ],
    ids=message_alone,
)
def test_refused_batches(x, y, error, message):
    with pytest.raises(error, match=message):
        TrainingStatistics.from_loader([(X, Y), (x, y)], num_classes=3)


def test_labels_that_change_their_shape():
    with pytest.raises(ValueError, match=r"labels changed their shape from \(2,\) to \(1,\)"):
        TrainingStatistics.from_loader([(X, torch.rand(4, 2)), (X, torch.rand(4, 1))])


def test_class_indices_without_their_number():
    with pytest.raises(TypeError, match="need num_classes"):
        TrainingStatistics.from_tensors(X, Y)


@pytest.mark.parametrize("loader", [[], [(X[:0], Y[:0])]])
def test_empty_loaders(loader):
    with pytest.raises(ValueError, match="cannot average an empty loader"):
        TrainingStatistics.from_loader(loader, num_classes=3)
    with pytest.raises(ValueError, match="cannot average an empty loader"):
        TrainingStatistics.from_tensors(X[:0], Y[:0], num_classes=3)


@pytest.mark.parametrize("batch", [X, {"x": X, "y": Y}, (X,), (X, [0, 1, 2, 1]), (X.numpy(), Y)])
def test_batches_that_are_not_pairs_of_tensors(batch):
    with pytest.raises(TypeError, match="batches must"):
        TrainingStatistics.from_loader([batch], num_classes=3)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x_mean": MEAN.float()}, ValueError, "x_mean must be float64, got torch.float32"),
        ({"x_mean": MEAN / 0}, ValueError, "x_mean must be finite"),
        ({"y_mean": MEAN + torch.inf}, ValueError, "y_mean must be finite"),
        ({"y_mean": 0.5}, TypeError, "y_mean must be a float64 tensor, got float"),
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 2.5}, TypeError, "count must be an integer, got 2.5"),
    ],
    ids=message_alone,
)
def test_refused_values(changed, error, message):
    with pytest.raises(error, match=message):
        TrainingStatistics(**{"x_mean": MEAN, "y_mean": MEAN, "count": 3, **changed})
