"""What the risks refuse, and what they say."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mixreg import risk
from mixreg._errors import MixregError
from mixreg.laws import Beta

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 1, 0, 1, 0])
SOFT = torch.eye(2, dtype=torch.float64)[Y]
LAW, NAN = Beta(1.0), float("nan")
SHRUNK = X.mean(0) + LAW.theta_mean * (X - X.mean(0))


def net(x):
    return torch.stack([x.sum(1), x.prod(1)], 1)


def estimate(*problem, samples=50):
    generator = torch.Generator().manual_seed(0)
    return risk.mixup_risk_estimate(*problem, LAW, samples=samples, generator=generator)


def terms(net, y, loss="cross_entropy", **options):
    return risk.approximate_mixup_risk(net, X, y, loss, LAW, **options)


RISKS = {
    "empirical": risk.empirical_risk,
    "modified": lambda *a: risk.modified_risk(*a, LAW),
    "mixup": lambda *a: risk.mixup_risk(*a, LAW, order=2),
    "perturbed": lambda *a: risk.perturbed_risk(*a, LAW, order=2),
    "estimate": estimate,
    "approximate": lambda *a: risk.approximate_mixup_risk(*a, LAW),
    "jacobian": lambda *a: risk.regression_jacobian(*a, LAW, torch.arange(len(a[1]))),
}
LAYERS = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
PROBLEMS = [
    (net, X.long(), Y, TypeError, "inputs must be floating point, got torch.int64.*x.float"),
    (net, X[:4], Y, ValueError, r"one row an example, got shapes \(4, 3\) and \(6,\)"),
    (net, X, Y + 1, ValueError, "class indices must lie in 0..1"),
    (net, X, Y.double(), TypeError, "integer class indices"),
    (net, X, torch.ones(6, 3).double() / 3, ValueError, r"must have shape \(n, 2\)"),
    (net, X, 2 * SOFT, ValueError, "labels must sum to one, got 2 in row 0; normalise"),
    (net, X, SOFT.where(Y[:, None] > 0, NAN), ValueError, "labels must be finite.*sample 0"),
    (net, X.index_fill(0, Y[:1] + 4, NAN), Y, ValueError, "inputs must be finite.*sample 4"),
    (net, X, SOFT.where(SOFT < 1, torch.inf), ValueError, "labels must be finite.*sample 0"),
    (lambda x: x[..., None], X, Y, ValueError, r"\(n, c\) or \(n,\), got \(2, 3, 1\)"),
    (lambda x: x.sum(), X, Y, ValueError, r"got \(\) for 2 samples"),
    (lambda x: x[:1], X, Y, ValueError, r"got \(1, 3\) for 2 samples; flatten or pool"),
    (lambda x: x.sum(1), X, Y, ValueError, "outputs of shape.*use the logistic loss"),
    (lambda x: x[:, :1], X, Y, ValueError, r"c at least 2, got \(n, 1\)"),
    (lambda x: (x, x), X, Y, TypeError, "floating-point tensor, got tuple"),
    (lambda x: x.long(), X, Y, TypeError, "floating-point tensor, got torch.int64"),
    (LAYERS, X, Y, ValueError, r"layer '1' \(BatchNorm1d\) is in training mode.*eval"),
    (lambda x: net(x) + torch.rand(len(x), 1), X, Y, ValueError, "change from call to call"),
    (lambda x: net(x) - net(x).mean(0), X, Y, ValueError, "outputs of net depend on the batch"),
]


@pytest.mark.parametrize(("net", "x", "y", "error", "message"), PROBLEMS)
@pytest.mark.parametrize("name", RISKS)
def test_problems_that_do_not_fit(name, net, x, y, error, message):
    with pytest.raises(error, match=message):
        RISKS[name](net, x, y, "cross_entropy")
    assert LAYERS[1].num_batches_tracked == 0


@pytest.mark.parametrize("name", [name for name in RISKS if name not in ("empirical", "modified")])
def test_one_sample_cannot_be_mixed(name):
    with pytest.raises(ValueError, match="at least 2 samples to mix, got 1"):
        RISKS[name](net, X[:1], Y[:1], "cross_entropy")


@pytest.mark.parametrize("name", ["empirical", "modified", "approximate", "jacobian"])
def test_nan_is_named_with_its_sample(name):
    seen = X if name == "empirical" else SHRUNK

    def broken(x):
        return torch.where((x - seen[3]).abs().amax(1, keepdim=True) < 1e-12, NAN, net(x))

    with pytest.raises(MixregError, match="net returned NaN or infinity for sample 3"):
        RISKS[name](broken, X, Y, "cross_entropy")


@pytest.mark.parametrize("name", ["mixup", "estimate"])
def test_nan_is_named_with_its_mixture(name):
    def broken(x):
        known = (x[:, None] - X).abs().amax(2).amin(1) < 1e-12
        return torch.where(known[:, None], net(x), NAN)

    message = r"NaN or infinity for 0\.\d+ × sample \d \+ 0\.\d+ × sample"
    with pytest.raises(MixregError, match=message):
        RISKS[name](broken, X, Y, "cross_entropy")


def test_derivatives_that_are_not_finite_are_named():
    def root(x):
        above = x[:, 0] > lowest + 1e-6
        return torch.stack([((x[:, 0] - lowest) * above).sqrt(), x.sum(1)], 1)

    lowest, row = SHRUNK[:, 0].min(0)
    with pytest.raises(MixregError, match=f"derivative of net is NaN or infinite at sample {row}"):
        terms(root, Y)


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
        lambda y, u: torch.maximum(0.3 * (y - u), 0.7 * (u - y)).sum(1),
        "piecewise linear",
    ),
    "multiclass hinge": (lambda _, u: torch.relu(1 + u[:, 0] - u[:, 1]), "piecewise linear"),
    "steps": (lambda y, u: (y - u).round().sum(1), "piecewise linear|no derivative"),
    "detached": (lambda y, u: (y - u.detach()).square().sum(1), "no derivative in the outputs"),
    "constant": (lambda _, u: torch.zeros(len(u)), "no derivative in the outputs"),
    "once": (lambda y, u: Once.apply(u - y).sum(1), "cannot be differentiated twice"),
    "partly once": (lambda y, u: (Once.apply(u - y) + u**4).sum(1), "be differentiated twice"),
    "root": (lambda _, u: (u - u.detach()).abs().sqrt().sum(1), "first derivative.*at sample 0"),
    "mean": (lambda y, u: (y - u).square().mean(), r"shape \(6,\), got \(\); sum over outputs"),
    "unreduced": (lambda y, u: (y - u).square(), r"shape \(6,\), got \(6, 2\)"),
}
SMOOTH = {
    "linear": lambda y, u: -(y * u).sum(1),
    "saturated": lambda y, u: functional.softplus(1e4 * (u - y + 30)).sum(1),
    "flat": lambda y, u: functional.softplus(1e4 * (u - y - 30)).sum(1),
    "Huber": lambda y, u: functional.huber_loss(u, y, reduction="none").sum(1),
}


@pytest.mark.parametrize(("loss", "message"), ROUGH.values(), ids=ROUGH)
def test_losses_that_are_not_twice_differentiable(loss, message):
    with pytest.raises(ValueError, match=message):
        terms(net, SOFT, loss)


@pytest.mark.parametrize("loss", SMOOTH.values(), ids=SMOOTH)
def test_flat_losses_are_not_taken_for_piecewise_linear_ones(loss):
    at = terms(net, SOFT, loss)
    assert at.total == pytest.approx(at.modified + at.r1_plus_r3 + at.r2 + at.r4, rel=1e-12)


CUTOFF = r"curvature_cutoff must lie in \[0, 1\)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: risk.empirical_risk(net, X[:0], Y[:0], "cross_entropy"), ValueError, "1 samples"),
        (lambda: terms(lambda x: net(x).detach(), Y), MixregError, "carry no derivative in its in"),
        (lambda: terms(net, SOFT[:, :1], "logistic"), ValueError, "labels like the outputs, of sh"),
        (lambda: terms(net, X, "squared_error"), ValueError, r"of shape \(n, 2\), got \(6, 3\)"),
        (lambda: terms(net, SOFT[:, None], "squared_error"), ValueError, r"got \(6, 1, 2\)"),
        (lambda: terms(net, Y, "cross-entropy"), ValueError, "did you mean 'cross_entropy'"),
        (lambda: terms(net, Y, "squared_error"), TypeError, r"y.float\(\)"),
        (lambda: terms(lambda x: x.sum(1), Y, lambda y, u: (y - u) ** 2), TypeError, r"y.float\("),
        *(
            (lambda cut=cut: terms(net, Y, curvature_cutoff=cut), ValueError, CUTOFF)
            for cut in (-1e-3, 1.0, NAN)
        ),
        (
            lambda: risk.regression_jacobian(net, X, Y, "logistic", LAW, Y, curvature_cutoff=1.0),
            ValueError,
            CUTOFF,
        ),
        (lambda: terms(net, Y, chunk_size=0), ValueError, "chunk_size must be at least 1, got 0"),
        (lambda: estimate(net, X, Y, "cross_entropy", samples=1), ValueError, "2 draws, got sampl"),
    ],
)
def test_refused_alone(call, error, message):
    with pytest.raises(error, match=message):
        call()
