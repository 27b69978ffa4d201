"""The approximate Mixup risk against the slow reference, its definition and its limits."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mixreg import reference
from mixreg._errors import MixregError
from mixreg.covariance import Whitening
from mixreg.laws import Beta, Constant
from mixreg.risk import approximate_mixup_risk, empirical_risk, modified_risk

X = (7 * torch.linspace(-1, 1, 24, dtype=torch.float64) ** 2).sin().reshape(8, 3)
Y = torch.eye(2, dtype=torch.float64)[[0, 1, 1, 0, 1, 0, 0, 1]]


def network(*layers: nn.Module) -> nn.Module:
    net = nn.Sequential(*layers).double().eval()
    g = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        parameter.data.normal_(generator=g)
    return net


SMOOTH = network(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))


def test_terms_equal_the_reference(problem, law):
    fast = approximate_mixup_risk(*problem, law)
    slow = reference.approximate_mixup_risk(*problem, law)
    for name, expected in slow._asdict().items():
        assert getattr(fast, name) == pytest.approx(expected, rel=1e-9, abs=1e-13), name


def test_total_is_the_mean_taylor_polynomial(problem, law):
    fast = approximate_mixup_risk(*problem, law)
    assert fast.total == pytest.approx(reference.quadratic_risk(*problem, law), rel=1e-12)


def test_each_sample_adds_the_hessian_of_the_joint_loss_in_its_moments(problem, law):
    net, x, y, loss = problem
    fast = approximate_mixup_risk(*problem, law).per_sample
    x_tilde, y_tilde = reference.modified(x, y, law)
    function = reference.resolve_loss(loss)
    d = x.shape[1]
    for i in range(len(x)):
        moments = reference.enumerated_moments(x, y, law, i)
        joint = torch.cat(
            [
                torch.cat([moments.xx, moments.xy], 1),
                torch.cat([moments.xy.T, moments.yy], 1),
            ]
        )
        hessian = torch.autograd.functional.hessian(
            lambda v: function(v[None, d:], net(v[None, :d]))[0],
            torch.cat([x_tilde[i], y_tilde[i]]),
        )
        second_order = fast.r1_plus_r3[i] + fast.r2[i] + fast.r4[i]
        torch.testing.assert_close(second_order, (joint * hessian).sum() / 2, rtol=1e-9, atol=1e-13)


def test_parts_add_up(problem, law):
    terms = approximate_mixup_risk(*problem, law)
    assert terms.r1 + terms.r3 == pytest.approx(terms.r1_plus_r3, rel=1e-9, abs=1e-13)
    parts = terms.modified + terms.r1 + terms.r2 + terms.r3 + terms.r4
    assert terms.total == pytest.approx(parts, rel=1e-12)
    assert terms.modified == pytest.approx(modified_risk(*problem, law), rel=1e-13)
    assert terms.cut_off == 0


def test_without_mixing_it_is_the_empirical_risk(problem):
    terms = approximate_mixup_risk(*problem, Constant(1.0))
    assert (terms.r1, terms.r2, terms.r3, terms.r4) == (0, 0, 0, 0)
    assert terms.total == pytest.approx(empirical_risk(*problem), rel=1e-13)


def test_small_alpha_tends_to_the_empirical_risk(problem):
    gaps = [
        abs(approximate_mixup_risk(*problem, Beta(alpha)).total - empirical_risk(*problem))
        for alpha in (1e-4, 1e-6)
    ]
    assert gaps[1] == pytest.approx(gaps[0] / 100, rel=1e-2)


def test_huge_alpha_tends_to_equal_halves(problem):
    terms = approximate_mixup_risk(*problem, Beta(1e8))
    halves = approximate_mixup_risk(*problem, Constant(0.5))
    for name in ("modified", "r1_plus_r3", "r2", "r4", "total"):
        assert getattr(terms, name) == pytest.approx(getattr(halves, name), rel=1e-3)
    assert math.isfinite(terms.r1)


def test_chunks_and_a_given_factorisation_change_nothing():
    whole = approximate_mixup_risk(SMOOTH, X, Y, "cross_entropy", Beta(1.0))
    parts = approximate_mixup_risk(
        SMOOTH, X, Y, "cross_entropy", Beta(1.0), chunk_size=3, whitening=Whitening.from_data(X)
    )
    for one, other in zip(whole.per_sample, parts.per_sample, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("output", [(), (1,)])
@pytest.mark.parametrize("label", [(), (1,)])
def test_one_logit_in_any_shape(output, label):
    def net(x):
        return x.pow(3).sum(1).reshape(-1, *output)

    terms = approximate_mixup_risk(net, X, Y[:, 0].reshape(-1, *label), "logistic", Beta(1.0))
    indices = approximate_mixup_risk(net, X, Y[:, 0].long(), "logistic", Beta(1.0))
    slow = reference.approximate_mixup_risk(
        lambda x: net(x).reshape(-1, 1), X, Y[:, :1], "logistic", Beta(1.0)
    )
    assert terms.total == indices.total
    assert terms.r1 == pytest.approx(slow.r1, rel=1e-9)


def test_images_and_class_indices():
    net = nn.Sequential(nn.Flatten(), SMOOTH)
    images = approximate_mixup_risk(
        net, X.reshape(8, 1, 3, 1), Y.argmax(1), "cross_entropy", Beta(1.0)
    )
    assert images.total == approximate_mixup_risk(SMOOTH, X, Y, "cross_entropy", Beta(1.0)).total


def test_float32_follows_float64():
    exact = approximate_mixup_risk(SMOOTH, X, Y, "cross_entropy", Beta(1.0))
    single = copy.deepcopy(SMOOTH).float()
    rounded = approximate_mixup_risk(single, X.float(), Y, "cross_entropy", Beta(1.0))
    for name in ("modified", "r1", "r2", "r3", "total"):
        assert getattr(rounded, name) == pytest.approx(getattr(exact, name), rel=1e-4)


def test_piecewise_linear_networks_have_no_r2():
    net = network(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    assert approximate_mixup_risk(net, X, Y, "cross_entropy", Beta(1.0)).r2 == 0


def test_r2_can_be_left_out():
    terms = approximate_mixup_risk(SMOOTH, X, Y, "cross_entropy", Beta(1.0))
    without = approximate_mixup_risk(SMOOTH, X, Y, "cross_entropy", Beta(1.0), second_order=False)
    assert terms.second_order
    assert not without.second_order
    assert without.r2 == 0
    assert without.total == pytest.approx(terms.total - terms.r2, rel=1e-13)


def test_fused_attention_has_second_derivatives():
    def net(x):
        tokens = x.reshape(len(x), 1, 3, 1) * torch.ones(2).to(x)
        return functional.scaled_dot_product_attention(tokens, tokens, tokens**2).sum(1)[:, :2, 0]

    fast = approximate_mixup_risk(net, X, Y, "cross_entropy", Beta(1.0))
    assert fast.r2 != 0
    assert fast.total == pytest.approx(
        approximate_mixup_risk(net, X, Y, "cross_entropy", Beta(1.0), chunk_size=1).total
    )


def test_an_operation_without_second_derivative_is_named():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[0] ** 2 * g

    with pytest.raises(MixregError, match=r"cannot be differentiated twice.*second_order=False"):
        approximate_mixup_risk(lambda x: Cube.apply(x)[:, :2], X, Y, "cross_entropy", Beta(1.0))


@pytest.mark.parametrize("size", [50.0, 500.0, 1e4])
def test_confident_predictions_keep_the_sum_exact(size):
    net = nn.Linear(3, 2, bias=False).double()
    net.weight.data = torch.tensor([[1.0, -1.0, 0.5], [-1.0, 1.0, 2.0]]).double() * size
    terms = approximate_mixup_risk(net, X, Y, "cross_entropy", Beta(1.0))
    slow = reference.approximate_mixup_risk(net, X, Y, "cross_entropy", Beta(1.0))
    assert terms.cut_off > 0
    assert terms.r1_plus_r3 == pytest.approx(slow.r1_plus_r3, rel=1e-9)
    assert terms.total == pytest.approx(
        reference.quadratic_risk(net, X, Y, "cross_entropy", Beta(1.0)), rel=1e-9
    )
    variance = float(((Y - Y.mean(0)) ** 2).sum(1).mean())
    assert -variance * 1e8 <= terms.r3 <= 0
    assert terms.r1 + terms.r3 == pytest.approx(terms.r1_plus_r3, rel=1e-7, abs=1e-7)


def test_constant_inputs_have_no_direction():
    x = torch.ones(8, 3, dtype=torch.float64)
    terms = approximate_mixup_risk(SMOOTH, x, Y, "squared_error", Beta(1.0))
    assert terms.rank == 0
    assert (terms.r1, terms.r2, terms.r3) == (0, 0, 0)
    assert terms.r4 > 0


def test_the_network_is_left_as_it_was():
    net = network(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
    net[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    with torch.no_grad():
        approximate_mixup_risk(net, X, Y, "cross_entropy", Beta(1.0))
    assert torch.equal(torch.get_rng_state(), random)
    assert not net[0].weight.requires_grad
    assert all(p.grad is None for p in net.parameters())
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
