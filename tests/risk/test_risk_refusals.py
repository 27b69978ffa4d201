"""What the risks refuse, and what they say."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mixreg._errors import MixregError
from mixreg.laws import Beta
from mixreg.risk import (
    approximate_mixup_risk,
    empirical_risk,
    mixup_risk,
    mixup_risk_estimate,
    modified_risk,
    perturbed_risk,
    regression_jacobian,
)

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 1, 0, 1, 0])
SOFT = torch.eye(2, dtype=torch.float64)[Y]
LAW = Beta(1.0)
SHRUNK = X.mean(0) + LAW.theta_mean * (X - X.mean(0))


def net(x):
    return torch.stack([x.sum(1), x.prod(1)], 1)


RISKS = {
    "empirical": empirical_risk,
    "modified": lambda *a: modified_risk(*a, LAW),
    "mixup": lambda *a: mixup_risk(*a, LAW, order=2),
    "perturbed": lambda *a: perturbed_risk(*a, LAW, order=2),
    "estimate": lambda *a: mixup_risk_estimate(
        *a, LAW, samples=50, generator=torch.Generator().manual_seed(0)
    ),
    "approximate": lambda *a: approximate_mixup_risk(*a, LAW),
    "jacobian": lambda *a: regression_jacobian(*a, LAW, torch.arange(len(a[1]))),
}
PAIRED = [name for name in RISKS if name not in ("empirical", "modified")]


@pytest.fixture(params=RISKS)
def risk(request):
    return RISKS[request.param]


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X.long(), Y, TypeError, "inputs must be floating point, got torch.int64.*x.float"),
        (X[:4], Y, ValueError, r"one row an example, got shapes \(4, 3\) and \(6,\)"),
        (X, Y + 1, ValueError, "class indices must lie in 0..1"),
        (X, Y.double(), TypeError, "integer class indices"),
        (X, torch.ones(6, 3).double() / 3, ValueError, r"must have shape \(n, 2\)"),
        (X, 2 * SOFT, ValueError, "labels must sum to one, got 2 in row 0; normalise"),
        (X, SOFT / SOFT.sum(1, keepdim=True).where(Y[:, None] > 0, 0), ValueError, "sample 0"),
        (
            X.index_fill(0, torch.tensor([4]), torch.nan),
            Y,
            ValueError,
            "inputs must be finite.*sample 4",
        ),
        (X, SOFT.where(SOFT < 1, torch.inf), ValueError, "labels must be finite.*sample 0"),
    ],
)
def test_data_that_do_not_fit(risk, x, y, error, message):
    with pytest.raises(error, match=message):
        risk(net, x, y, "cross_entropy")


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (lambda x: x.reshape(len(x), 3, 1), ValueError, r"\(n, c\) or \(n,\), got \(2, 3, 1\)"),
        (lambda x: x.sum(), ValueError, r"got \(\) for 2 samples"),
        (lambda x: x[:1], ValueError, r"got \(1, 3\) for 2 samples; flatten or pool"),
        (lambda x: x.sum(1), ValueError, "outputs of shape.*use the logistic loss"),
        (lambda x: x[:, :1], ValueError, r"c at least 2, got \(n, 1\)"),
        (lambda x: (x, x), TypeError, "floating-point tensor, got tuple"),
        (lambda x: x.long(), TypeError, "floating-point tensor, got torch.int64"),
    ],
)
def test_outputs_of_another_shape(risk, outputs, error, message):
    with pytest.raises(error, match=message):
        risk(outputs, X, Y, "cross_entropy")


@pytest.mark.parametrize("name", PAIRED)
def test_one_sample_cannot_be_mixed(name):
    with pytest.raises(ValueError, match="at least 2 samples to mix, got 1"):
        RISKS[name](net, X[:1], Y[:1], "cross_entropy")


def test_no_sample_at_all():
    with pytest.raises(ValueError, match="at least 1 samples, got 0"):
        empirical_risk(net, X[:0], Y[:0], "cross_entropy")


@pytest.mark.parametrize("name", ["empirical", "modified", "approximate", "jacobian"])
def test_nan_is_named_with_its_sample(name):
    seen = X if name == "empirical" else SHRUNK

    def broken(x):
        here = (x - seen[3]).abs().amax(1, keepdim=True) < 1e-12
        return torch.where(here, torch.nan, net(x))

    with pytest.raises(MixregError, match="net returned NaN or infinity for sample 3"):
        RISKS[name](broken, X, Y, "cross_entropy")


@pytest.mark.parametrize("name", ["mixup", "estimate"])
def test_nan_is_named_with_its_mixture(name):
    def broken(x):
        known = (x[:, None] - X).abs().amax(2).amin(1) < 1e-12
        return torch.where(known[:, None], net(x), torch.nan)

    with pytest.raises(
        MixregError, match=r"NaN or infinity for 0\.\d+ × sample \d \+ 0\.\d+ × sam"
    ):
        RISKS[name](broken, X, Y, "cross_entropy")


def test_derivatives_that_are_not_finite_are_named():
    def root(x):
        above = x[:, 0] > lowest + 1e-6
        return torch.stack([((x[:, 0] - lowest) * above).sqrt(), x.sum(1)], 1)

    lowest, row = SHRUNK[:, 0].min(0)
    with pytest.raises(MixregError, match=f"derivative of net is NaN or infinite at sample {row}"):
        approximate_mixup_risk(root, X, Y, "cross_entropy", LAW)


def test_networks_that_are_not_functions_of_one_sample(risk):
    layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    with pytest.raises(ValueError, match=r"layer '1' \(BatchNorm1d\) is in training mode.*eval"):
        risk(layers, X, Y, "cross_entropy")
    assert layers[1].num_batches_tracked == 0
    with pytest.raises(ValueError, match="outputs of net change from call to call"):
        risk(lambda x: net(x) + torch.rand(len(x), 1), X, Y, "cross_entropy")
    with pytest.raises(ValueError, match="outputs of net depend on the batch"):
        risk(lambda x: net(x) - net(x).mean(0), X, Y, "cross_entropy")


def test_networks_without_derivatives():
    with pytest.raises(MixregError, match="carry no derivative in its inputs"):
        approximate_mixup_risk(lambda x: net(x).detach(), X, Y, "cross_entropy", LAW)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return u**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


ROUGH = {
    "L1": (lambda y, u: (y - u).abs().sum(1), "piecewise linear"),
    "hinge": (lambda y, u: torch.relu(1 - (2 * y - 1) * u).sum(1), "piecewise linear"),
    "pinball": (
        lambda y, u: torch.maximum(0.3 * (y - u), -0.7 * (y - u)).sum(1),
        "piecewise linear",
    ),
    "multiclass hinge": (lambda _, u: torch.relu(1 + u[:, 0] - u[:, 1]), "piecewise linear"),
    "steps": (lambda y, u: (y - u).round().sum(1), "piecewise linear|no derivative"),
    "detached": (lambda y, u: (y - u.detach()).square().sum(1), "no derivative in the outputs"),
    "constant": (lambda _, u: torch.zeros(len(u)), "no derivative in the outputs"),
    "once": (lambda y, u: Once.apply(u - y).sum(1), "cannot be differentiated twice"),
    "partly once": (
        lambda y, u: (Once.apply(u - y) + u**4).sum(1),
        "cannot be differentiated twice",
    ),
    "root": (lambda _, u: (u - u.detach()).abs().sqrt().sum(1), "first derivative.*at sample 0"),
    "mean": (lambda y, u: (y - u).square().mean(), r"shape \(6,\), got \(\); sum over outputs"),
    "unreduced": (lambda y, u: (y - u).square(), r"shape \(6,\), got \(6, 2\)"),
}


@pytest.mark.parametrize("name", ROUGH)
def test_losses_that_are_not_twice_differentiable(name):
    loss, message = ROUGH[name]
    with pytest.raises(ValueError, match=message):
        approximate_mixup_risk(net, X, SOFT, loss, LAW)


SMOOTH = {
    "linear": lambda y, u: -(y * u).sum(1),
    "saturated": lambda y, u: functional.softplus(1e4 * (u - y + 30)).sum(1),
    "flat": lambda y, u: functional.softplus(1e4 * (u - y - 30)).sum(1),
    "Huber": lambda y, u: functional.huber_loss(u, y, reduction="none").sum(1),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_flat_losses_are_not_taken_for_piecewise_linear_ones(name):
    terms = approximate_mixup_risk(net, X, SOFT, SMOOTH[name], LAW)
    parts = terms.modified + terms.r1_plus_r3 + terms.r2 + terms.r4
    assert terms.total == pytest.approx(parts, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("logistic", SOFT[:, :1], "labels like the outputs, of shape"),
        ("squared_error", X, r"of shape \(n, 2\), got \(6, 3\)"),
        ("squared_error", SOFT[:, None], r"of shape \(n, 2\), got \(6, 1, 2\)"),
        ("cross-entropy", Y, "did you mean 'cross_entropy'"),
    ],
)
def test_labels_of_another_shape_than_the_outputs(loss, y, message):
    with pytest.raises(ValueError, match=message):
        empirical_risk(net, X, y, loss)


def test_class_indices_for_regression():
    with pytest.raises(TypeError, match=r"y.float\(\)"):
        empirical_risk(net, X, Y, "squared_error")
    with pytest.raises(TypeError, match=r"y.float\(\)"):
        empirical_risk(lambda x: x.sum(1), X, Y, lambda y, u: (y - u) ** 2)


@pytest.mark.parametrize("value", [-1e-3, 1.0, float("nan")])
def test_cutoffs_out_of_range(value):
    with pytest.raises(ValueError, match=r"curvature_cutoff must lie in \[0, 1\)"):
        approximate_mixup_risk(net, X, Y, "cross_entropy", LAW, curvature_cutoff=value)
    with pytest.raises(ValueError, match=r"curvature_cutoff must lie in \[0, 1\)"):
        regression_jacobian(net, X, Y, "cross_entropy", LAW, Y, curvature_cutoff=value)


def test_sizes_out_of_range():
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        mixup_risk(net, X, Y, "cross_entropy", LAW, chunk_size=0)
    with pytest.raises(ValueError, match="at least 2 draws, got samples=1"):
        mixup_risk_estimate(net, X, Y, "cross_entropy", LAW, samples=1, generator=torch.Generator())
