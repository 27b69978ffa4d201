"""Q(d, e) and its parts against the dense Hessian of G(x, y) = ℓ(y, f(x))."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian

from mixreg.curvature import directional_curvature, directional_derivatives, loss_curvature
from mixreg.losses import cross_entropy, logistic, squared_error

TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}


def tanh_net(outputs=3):
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()


def gelu_net(outputs=3):
    return nn.Sequential(
        nn.Linear(4, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, outputs)
    ).double()


def conv_net(outputs=3):
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.Softplus(), nn.Flatten(),
        nn.Linear(3, outputs),
    ).double()  # fmt: skip


def quartic(y, u):
    """A loss whose second derivatives depend on y and u."""
    return ((u - y).pow(4) + (y * u).sin()).sum(1)


LOSSES = {
    "cross_entropy": cross_entropy,
    "logistic": logistic,
    "squared_error": squared_error,
    "quartic": quartic,
}


def points(n=5, c=3):
    x, d = torch.randn(2, n, 4, dtype=torch.float64)
    y = torch.rand(n, c, dtype=torch.float64)
    e = torch.randn(n, c, dtype=torch.float64)
    return x, y / y.sum(1, keepdim=True), d, e - e.mean(1, keepdim=True)


def half_second_derivative(net, loss, x, y, d, e):
    """½ (d, e)ᵀ ∇²G (d, e) of one example, from the dense Hessian."""

    def joint(z):
        return loss(z[4:].unsqueeze(0), net(z[:4].unsqueeze(0))).squeeze(0)

    v = torch.cat([d, e])
    return v @ hessian(joint, torch.cat([x, y])) @ v / 2


@pytest.mark.parametrize("make", [tanh_net, gelu_net, conv_net])
@pytest.mark.parametrize("name", LOSSES)
def test_total_is_half_the_second_derivative(make, name):
    net, (x, y, d, e) = make(), points()
    loss = LOSSES[name]
    given = loss if name == "quartic" else name
    q = directional_curvature(net, x, y, d, e, given)
    expected = [half_second_derivative(net, loss, *row) for row in zip(x, y, d, e, strict=True)]
    torch.testing.assert_close(q.total, torch.stack(expected), **TOLERANCE)


@pytest.mark.parametrize("name", LOSSES)
def test_every_part(name):
    net, (x, y, d, e) = tanh_net(), points()
    loss = LOSSES[name]
    q = directional_curvature(net, x, y, d, e, loss)
    for i in range(len(x)):
        u = net(x[i])
        du = jacobian(net, x[i]) @ d[i]
        ddu = torch.stack([d[i] @ hessian(lambda z, k=k: net(z)[k], x[i]) @ d[i] for k in range(3)])

        def value(y, u):
            return loss(y.unsqueeze(0), u.unsqueeze(0)).squeeze(0)

        (yy, yu), (_, uu) = hessian(value, (y[i], u))
        _, slope = jacobian(value, (y[i], u))
        expected = (du @ uu @ du / 2, e[i] @ yu @ du, e[i] @ yy @ e[i] / 2, slope @ ddu / 2)
        torch.testing.assert_close(
            torch.stack([p[i] for p in q]), torch.stack(expected), **TOLERANCE
        )


@pytest.mark.parametrize("name", ["cross_entropy", "logistic", "squared_error"])
def test_closed_forms_equal_automatic_differentiation(name):
    net, (x, y, d, e) = tanh_net(), points()
    at = directional_derivatives(net, x, d, second_order=True)
    closed = loss_curvature(name, y, at.outputs, e, at.first, at.second)
    automatic = loss_curvature(
        lambda y, u: LOSSES[name](y, u), y, at.outputs, e, at.first, at.second
    )
    for ours, theirs in zip(closed, automatic, strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)
    parameters = list(net.parameters())
    ours, theirs = (
        torch.autograd.grad(q.total.sum(), parameters, retain_graph=True)
        for q in (closed, automatic)
    )
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, **TOLERANCE)


def test_one_output_without_a_class_axis():
    net = nn.Sequential(tanh_net(1), nn.Flatten(0))
    x, _, d, _ = points()
    y, e = torch.rand(2, 5, dtype=torch.float64)
    for name in ("logistic", "squared_error"):
        flat = directional_curvature(net, x, y, d, e, name)
        column = directional_curvature(net[0], x, y[:, None], d, e[:, None], name)
        for ours, theirs in zip(flat, column, strict=True):
            torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_confident_predictions_lose_nothing():
    u = torch.tensor([[1e4, 0.0, -1e4], [30.0, 0.0, 0.0]])
    du = torch.tensor([[1.0, 2.0, 3.0], [1e3, 1e3 + 1, 1e3]])
    zero = torch.zeros_like(u)
    q = loss_curvature("cross_entropy", zero, u, zero, du)
    exact = loss_curvature("cross_entropy", zero.double(), u.double(), zero.double(), du.double())
    assert torch.isfinite(q.total).all()
    torch.testing.assert_close(q.quadratic, exact.quadratic.float())


def test_without_second_order_only_that_part_is_missing():
    net, (x, y, d, e) = tanh_net(), points()
    full = directional_curvature(net, x, y, d, e, "cross_entropy")
    first = directional_curvature(net, x, y, d, e, "cross_entropy", second_order=False)
    assert not first.second_order.any()
    for part in ("quadratic", "cross", "label"):
        torch.testing.assert_close(getattr(first, part), getattr(full, part), **TOLERANCE)


def test_piecewise_linear_networks_have_no_second_derivative():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x, _, d, _ = points()
    assert not directional_derivatives(net, x, d, second_order=True).second.any()


class Counting(nn.Module):
    """Batch normalization, dropout and a count of its evaluations."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)
        ).double()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.layers(x)


@pytest.mark.parametrize("second_order", [False, True])
def test_one_evaluation_updates_running_statistics_once(second_order):
    net = Counting()
    plain = copy.deepcopy(net)
    x, _, d, _ = points()
    directional_derivatives(net, x, d, second_order=second_order)
    plain(x)
    assert net.calls == 1
    assert net.layers[1].num_batches_tracked == 1
    for ours, theirs in zip(net.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)
        assert torch.autograd.forward_ad.unpack_dual(ours).tangent is None


@pytest.mark.parametrize("second_order", [False, True])
def test_buffers_can_be_left_alone(second_order):
    net = Counting()
    x, _, d, _ = points()
    before = copy.deepcopy(dict(net.named_buffers()))
    directional_derivatives(net, x, d, second_order=second_order, update_buffers=False)
    assert all(torch.equal(before[name], buffer) for name, buffer in net.named_buffers())


@pytest.mark.parametrize("second_order", [False, True])
def test_one_dropout_mask_for_values_and_derivatives(second_order):
    """Of a linear network under one mask m: u = m·x, u̇ = m·d."""
    x = torch.ones(20, 50)
    at = directional_derivatives(nn.Dropout(0.5), x, 3 * x, second_order=second_order)
    assert 0 < (at.outputs == 0).float().mean() < 1
    torch.testing.assert_close(at.first, 3 * at.outputs)


def test_the_derivative_of_batch_statistics_is_that_of_the_whole_batch():
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    x, _, d, _ = points()
    at = directional_derivatives(net, x, d, second_order=True)
    step = 1e-4
    above, below = (directional_derivatives(net, x + h * d, d) for h in (step, -step))
    torch.testing.assert_close(
        at.first, (above.outputs - below.outputs) / (2 * step), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(
        at.second, (above.first - below.first) / (2 * step), rtol=1e-6, atol=1e-6
    )


def test_memory_format_is_kept():
    seen = []

    def net(x):
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return x.flatten(1)

    x = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    directional_derivatives(net, x, torch.ones_like(x))
    assert seen == [True]
