"""Perturbations by design: exact moments, their draws, and R1 to R4 against dense formulas."""

import math

import pytest
import torch
from torch import nn

import mixreg
from mixreg import Constant, approximate_perturbed_risk, design_perturbation, reference
from mixreg.perturbation import principal_directions

D, M = 6, 3


def custom_loss(y, u):
    return torch.cosh(u - y.sin()).sum(1) + (u * u.roll(1, 1) * y).sum(1) + u.pow(4).sum(1)


def covariance(size, rank, g, *, centred=False):
    rows = torch.randn(rank, size, generator=g, dtype=torch.float64)
    rows = rows - rows.mean(1, keepdim=True) * centred
    return rows.T @ rows / size


def joint(xx, xy, yy):
    return torch.cat([torch.cat([xx, xy], 1), torch.cat([xy.T, yy], 1)])


def wanted(case, *, centred=False):
    """Arguments of a design, and the dense joint covariance they ask for."""
    g = torch.Generator().manual_seed(len(case))
    rank = 0 if case == "diagonal" else 2
    a = torch.randn(rank, D, generator=g, dtype=torch.float64)
    v = torch.rand(rank, generator=g, dtype=torch.float64)
    s = torch.rand(D, generator=g, dtype=torch.float64) * (case != "low rank")
    if case == "part of the diagonal":
        s[:3] = 0
    xx, yy = a.T @ v.diag() @ a + s.diag(), covariance(M, M, g, centred=centred)
    b = torch.randn(M, D, generator=g, dtype=torch.float64)
    b = b - b.mean(0) * centred
    xy = xx @ b.T
    yy = yy + b @ xy if case != "labels explained" else b @ xy
    arguments = {"diagonal": s, "target_covariance": yy, "cross_covariance": xy}
    return (a, v), arguments, joint(xx, xy, yy)


CASES = ["low rank", "diagonal", "both", "part of the diagonal", "labels explained"]


def all_points(perturbation):
    """Points z with mean 0 and E zzᵀ = 1 exactly: ±√K along each of the K axes."""
    k = sum(perturbation.sizes)
    return math.sqrt(k) * torch.cat([torch.eye(k), -torch.eye(k)]).double()


@pytest.mark.parametrize("case", CASES)
def test_moments_are_exact(case):
    directions, arguments, expected = wanted(case)
    perturbation = design_perturbation(*directions, **arguments)
    placed = torch.cat(perturbation.place(all_points(perturbation)), 1)
    assert placed.mean(0).abs().max() < 1e-14
    moments = placed.T @ placed / len(placed)
    torch.testing.assert_close(moments, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(joint(*perturbation.dense()), moments, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("noise", ["signs", "gaussian"])
def test_draws_have_these_moments(noise):
    directions, arguments, expected = wanted("both")
    perturbation = design_perturbation(*directions, **arguments)
    n, g = 40_000, torch.Generator().manual_seed(0)
    zeros = torch.zeros(n, D, dtype=torch.float64), torch.zeros(n, M, dtype=torch.float64)
    drawn = torch.cat(perturbation.perturb(*zeros, generator=g, noise=noise), 1)
    assert bool((drawn.mean(0).abs() < 4 * drawn.std(0) / n**0.5).all())
    products = drawn.unsqueeze(2) * drawn.unsqueeze(1)
    errors = (products.mean(0) - expected).abs() / products.std(0)
    assert errors.max() < 4 / n**0.5


def test_principal_directions_carry_their_variances():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 1, 2, 3, generator=g, dtype=torch.float64)
    axes = principal_directions(x)
    assert axes.shape == (6, 1, 2, 3)
    variances = torch.tensor([0.0, 0.0, 0.0, 0.3, 0.2, 0.1], dtype=torch.float64)
    xx = design_perturbation(axes, variances).dense().xx
    flat = axes.flatten(1)
    torch.testing.assert_close(flat @ xx @ flat.T, variances.diag(), rtol=1e-12, atol=1e-14)
    spread = ((x - x.mean(0)).flatten(1) @ flat.T).var(0)
    assert bool((spread.diff() < 0).all())


LOSSES = {
    "cross-entropy": "cross_entropy",
    "logistic": "logistic",
    "squared error": "squared_error",
    "custom": custom_loss,
}


def setting(name, case):
    g = torch.Generator().manual_seed(1)
    x, y = (torch.randn(4, k, generator=g, dtype=torch.float64) for k in (D, M))
    y = y.softmax(1) if name in ("cross-entropy", "logistic") else y
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, M)).double()
    directions, arguments, sigma = wanted(case, centred=name == "cross-entropy")
    perturbation = design_perturbation(*directions, **arguments)
    return net, x, y, LOSSES[name], perturbation, sigma


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_the_terms_are_those_of_dense_matrices(name, case):
    net, x, y, loss, perturbation, sigma = setting(name, case)
    terms = approximate_perturbed_risk(net, x, y, loss, perturbation).per_sample
    xx, xy, yy = sigma[:D, :D], sigma[:D, D:], sigma[D:, D:]
    pinv_xx = torch.linalg.pinv(xx, rtol=1e-10, hermitian=True)
    for i in range(len(x)):
        at = reference.derivatives(net, x, y, loss, Constant(1.0), i)
        pinv_uu = torch.linalg.pinv(at.loss_uu, rtol=1e-10, hermitian=True)
        pulled = -pinv_uu @ at.loss_uy @ xy.T @ pinv_xx
        gap = at.jacobian - pulled
        explained = xy.T @ pinv_xx @ xy
        expected = {
            "modified": at.value,
            "r1": (xx * (gap.T @ at.loss_uu @ gap)).sum() / 2,
            "r2": (xx * torch.einsum("c,cij->ij", at.loss_u, at.second)).sum() / 2,
            "r3": -(explained * (at.loss_uy.T @ pinv_uu @ at.loss_uy)).sum() / 2,
            "r4": (yy * at.loss_yy).sum() / 2,
        }
        for term, value in expected.items():
            torch.testing.assert_close(
                getattr(terms, term)[i], value.detach(), rtol=1e-7, atol=1e-9, msg=f"{term}, {i}"
            )


@pytest.mark.parametrize("name", LOSSES)
def test_the_total_is_the_joint_hessian_in_the_moments(name):
    net, x, y, loss, perturbation, sigma = setting(name, "both")
    total = approximate_perturbed_risk(net, x, y, loss, perturbation).per_sample.total
    function = mixreg.losses.resolve_loss(loss)

    def value(v):
        return function(v[None, D:], net(v[None, :D]))[0]

    for i in range(len(x)):
        at = torch.cat([x[i], y[i]])
        second = torch.autograd.functional.hessian(value, at)
        torch.testing.assert_close(total[i], value(at).detach() + (sigma * second).sum() / 2)


def test_where_the_loss_is_quadratic_it_is_the_expected_loss():
    _, x, y, loss, perturbation, _ = setting("squared error", "both")
    net = nn.Linear(D, M).double()
    delta, epsilon = perturbation.place(all_points(perturbation))
    expected = torch.stack(
        [
            mixreg.squared_error(y + e, net(x + d)).mean()
            for d, e in zip(delta, epsilon, strict=True)
        ]
    ).mean()
    terms = approximate_perturbed_risk(net, x, y, loss, perturbation)
    assert terms.total == pytest.approx(expected.item(), rel=1e-10)


def test_of_inputs_alone_r1_is_the_jacobian_penalty():
    g = torch.Generator().manual_seed(0)
    x, labels = torch.randn(5, 1, 2, 3, generator=g), torch.tensor([0, 1, 2, 1, 0])
    directions = torch.randn(2, 1, 2, 3, generator=g)
    variances = torch.tensor([0.5, 0.2])
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    y = torch.nn.functional.one_hot(labels, 3).float()
    perturbation = design_perturbation(directions, variances)
    terms = approximate_perturbed_risk(net, x, y, "squared_error", perturbation)
    slopes = torch.autograd.functional.jacobian(net, x)[range(5), :, range(5)].flatten(2)
    penalty = variances * (slopes @ directions.flatten(1).T).square().sum(1) / 2
    assert terms.r1 == pytest.approx(penalty.sum(1).mean().item(), rel=1e-5)
    assert (terms.r2, terms.r3, terms.r4) == (0, 0, 0)
    batch = perturbation.perturb(x, labels, generator=g)
    assert batch.targets is labels
    assert batch.inputs.dtype == x.dtype
    assert not batch.inputs.equal(x)


def test_without_perturbation_it_is_the_empirical_risk():
    net, x, y, loss, _, _ = setting("custom", "both")
    terms = approximate_perturbed_risk(net, x, y, loss, design_perturbation(torch.zeros(0, D)))
    assert terms.total == pytest.approx(mixreg.empirical_risk(net, x, y, loss), rel=1e-12)


EYE, HALF = torch.eye(2), torch.tensor([[0.5, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directions": torch.ones(2)}, r"\(r, ...\), got \(2,\); one is directions\[None\]"),
        ({"directions": EYE * math.nan}, "directions must be finite"),
        ({"variances": torch.ones(3)}, r"variances must have the shape \(2,\), got \(3,\)"),
        ({"variances": torch.tensor([1.0, -1.0])}, "variances must be at least 0, got -1"),
        ({"diagonal": torch.tensor([1.0, -2.0])}, "diagonal must be at least 0, got -2"),
        ({"diagonal": math.inf}, "diagonal must be finite"),
        ({"target_covariance": EYE - 2 * HALF}, None),
        ({"target_covariance": -EYE}, "semidefinite; got eigenvalue -1 and asymmetry 0"),
        (
            {"target_covariance": torch.tensor([[1.0, 0.5], [0.0, 1.0]])},
            "symmetric and positive semidefinite; got .* asymmetry 0.5",
        ),
        ({"cross_covariance": EYE}, r"cross_covariance must have the shape \(2, 0\), got \(2, 2\)"),
        (
            {"cross_covariance": 1.1 * EYE, "target_covariance": EYE},
            "more than the others allow; scale it down; got eigenvalue -0.21",
        ),
        (
            {
                "cross_covariance": EYE,
                "target_covariance": EYE,
                "variances": torch.tensor([1.0, 0]),
            },
            "outside the span of the input covariance",
        ),
    ],
)
def test_refuses_what_is_no_covariance(arguments, message):
    if message is None:  # a border of the feasible set
        design_perturbation(**({"directions": EYE} | arguments))
        return
    with pytest.raises(ValueError, match=message):
        design_perturbation(**({"directions": EYE} | arguments))


def test_refuses_directions_that_are_no_numbers():
    with pytest.raises(TypeError, match="floating point"):
        design_perturbation(torch.eye(2, dtype=torch.long))


def test_refuses_data_of_other_shapes():
    g, both = torch.Generator().manual_seed(0), design_perturbation(EYE, target_covariance=EYE)
    for x, y, message in (
        (torch.ones(3, 4), torch.ones(3, 2), r"of inputs \(2,\), got \(4,\)"),
        (torch.ones(3, 2), torch.ones(3, 3), r"of 2 floating-point values .* \(3, 3\)"),
        (torch.ones(3, 2), torch.ones(3, dtype=torch.long), "int64 of shape .*dense_targets"),
    ):
        with pytest.raises(ValueError, match=message):
            both.perturb(x, y, generator=g)
    with pytest.raises(ValueError, match="noise"):
        both.perturb(torch.ones(3, 2), torch.ones(3, 2), generator=g, noise="uniform")
    x, y = torch.ones(3, 2), torch.tensor([0, 1, 0])
    with pytest.raises(
        ValueError, match="sum to one, so the rows of target_covariance must sum to 0"
    ):
        approximate_perturbed_risk(nn.Linear(2, 2), x, y, "cross_entropy", both)
