"""Bad input to the approximate loss: what was expected, what came, and how to mend it."""

import pytest
import torch
from torch import nn

from mixreg import Beta, TrainingStatistics
from mixreg._errors import MixregError
from mixreg.risk.approximate_loss import ApproximateMixupLoss

LAW = Beta(1.0)
X, Y = torch.linspace(-1, 1, 18).reshape(6, 3), torch.arange(6) % 2
STATS = TrainingStatistics.from_tensors(X, Y, num_classes=2)


def net():
    return nn.Linear(3, 2)


def soft(rows):
    return torch.tensor(rows).repeat(6 // len(rows), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"directions": 3}, "directions must be 1 or 2, got 3"),
        ({"loss": "crossentropy"}, "cross_entropy"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        ApproximateMixupLoss(STATS, LAW, **options)


def test_statistics_of_one_example():
    stats = TrainingStatistics.from_tensors(X[:1], Y[:1], num_classes=2)
    with pytest.raises(ValueError, match="describe one example"):
        ApproximateMixupLoss(stats, LAW)


def test_statistics_of_numbers_for_cross_entropy():
    stats = TrainingStatistics.from_tensors(X, torch.rand(6))
    with pytest.raises(ValueError, match=r"y_mean of shape \(c,\), got \(\)"):
        ApproximateMixupLoss(stats, LAW)


def test_statistics_whose_mean_label_does_not_sum_to_one():
    stats = TrainingStatistics.from_tensors(X, torch.full((6, 2), 0.7))
    with pytest.raises(ValueError, match=r"mean label of the statistics must sum to one, got 1\.4"):
        ApproximateMixupLoss(stats, LAW)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X[:1], Y[:1], ValueError, "at least 2 examples, got 1; use drop_last=True"),
        (X.int(), Y, TypeError, "inputs must be floating point, got torch.int32"),
        (X[:, :2], Y, ValueError, r"inputs of shape \(n, 3\), got \(6, 2\)"),
        (X, soft([[0.5, 0.5], [0.9, 0.2]]), ValueError, "labels must sum to one, got 1.1 in row 1"),
        (X, Y.float(), ValueError, r"targets of shape \(n, 2\), got \(6,\)"),
        (X, Y + 1, ValueError, "lie in 0..1"),
    ],
)
def test_bad_batches(x, y, error, message):
    with pytest.raises(error, match=message):
        ApproximateMixupLoss(STATS, LAW)(net(), x, y)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Linear(3, 3), ValueError, r"same shape, got \(6, 3\) and \(6, 2\)"),
        (nn.Sequential(net(), nn.Unflatten(1, (2, 1))), ValueError, "flatten or pool its outputs"),
        (lambda x: x[:2, :2] * 1, ValueError, "for 6 samples"),
        (lambda x: (x, x), TypeError, "one tensor of outputs, got tuple"),
        (lambda x: torch.cdist(x, x), MixregError, "_cdist_forward has no usable forward-mode"),
    ],
)
def test_bad_networks(model, error, message, second_order):
    with pytest.raises(error, match=message):
        ApproximateMixupLoss(STATS, LAW, second_order=second_order)(model, X, Y)


def test_second_derivatives_without_a_gradient_are_refused_once():
    class Renormed(nn.Linear):
        def forward(self, x):
            return torch.renorm(super().forward(x), 2, 0, 0.5)

    with pytest.raises(MixregError, match=r"cannot differentiate .* of net \(.*second_order=False"):
        ApproximateMixupLoss(STATS, LAW, second_order=True)(Renormed(3, 2), X, Y)
    ApproximateMixupLoss(STATS, LAW)(Renormed(3, 2), X, Y).backward()


@pytest.mark.parametrize("loss", ["cross_entropy", lambda y, u: (y - u).square().sum(1)])
def test_outputs_that_are_not_finite_name_the_sample(loss):
    def broken(x):
        scale = torch.ones(6, 1)
        scale[3] = float("nan")
        return net()(x) * scale

    with pytest.raises(MixregError, match="returned NaN or infinity for sample 3 of the batch"):
        ApproximateMixupLoss(STATS, LAW, loss)(broken, X, Y)


def test_derivatives_that_are_not_finite_name_the_sample():
    def kinked(x):
        """√‖x − x̃‖² with a kink at the one sample to which nothing is added under the root."""
        distance = (x - x.detach()).square().sum(1, keepdim=True)
        return net()(x) + (distance + (torch.arange(6) != 4).unsqueeze(1)).sqrt()

    with pytest.raises(MixregError, match="derivative of net is NaN or infinity for sample 4"):
        ApproximateMixupLoss(STATS, LAW)(kinked, X, Y)


def test_finiteness_and_label_sums_are_not_looked_at_when_told_so():
    loss = ApproximateMixupLoss(STATS, LAW, check=False)
    assert loss(lambda x: net()(x) * float("nan"), X, Y).isnan()
    assert loss(net(), X, soft([[0.9, 0.9]])).isfinite()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda y, u: (y - u).abs().sum(1), "piecewise linear"),
        (lambda y, u: torch.relu(1 - y * u).sum(1), "piecewise linear"),
        (lambda y, u: (u.argmax(1) != y.argmax(1)).float(), "no derivative in the outputs"),
        (lambda y, u: (y - u).square().mean(), "one value for each sample"),
    ],
)
def test_losses_that_are_not_twice_differentiable(loss, message):
    with pytest.raises(ValueError, match=message):
        ApproximateMixupLoss(STATS, LAW, loss)(net(), X, Y)


def test_no_terms_before_the_first_call():
    with pytest.raises(MixregError, match="before its first call"):
        _ = ApproximateMixupLoss(STATS, LAW).terms
