"""The stochastic loss and its gradient against the exact E_Q by dense Hessians (equation 12)."""

import itertools

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian

from mixreg import Beta, Constant, TrainingStatistics
from mixreg.losses import cross_entropy, logistic, squared_error
from mixreg.risk import approximate_loss
from mixreg.risk.approximate_loss import ApproximateMixupLoss

LAW = Beta(0.7)
WIDTH, CLASSES = 2, 3


def quartic(y, u):
    return ((u - y).pow(4) / 4 + (y * u).sin()).sum(1)


LOSSES = {
    "cross_entropy": cross_entropy,
    "logistic": logistic,
    "squared_error": squared_error,
    "quartic": quartic,
}


def problem(count):
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    y = torch.softmax(torch.randn(count, CLASSES, dtype=torch.float64), 1)
    net = nn.Sequential(nn.Linear(WIDTH, 3), nn.Tanh(), nn.Linear(3, CLASSES)).double()
    return net, x, y, TrainingStatistics.from_tensors(x, y)


def exact(net, x, y, loss, *, second_order):
    """E_Q from the Hessian of ℓ(y, f(x)) in (x, y) and the covariances (9), with a graph."""
    parameters = dict(net.named_parameters())
    z = torch.cat([x, y], 1)
    mean = z.mean(0)
    shared = (z - mean).T @ (z - mean) / len(z)
    total = 0.0
    for own in z:
        at = mean + LAW.theta_mean * (own - mean)

        def joint(v, at=at):
            u = functional_call(net, parameters, (v[:WIDTH].unsqueeze(0),))
            if not second_order:
                u0 = functional_call(net, parameters, (at[:WIDTH].unsqueeze(0),))
                u = linearised(net, parameters, at, v, u0)
            return loss(v[WIDTH:].unsqueeze(0), u).squeeze(0)

        curvature = hessian(joint)(at)
        covariance = LAW.theta_variance * torch.outer(own - mean, own - mean)
        covariance = covariance + LAW.gamma_squared * shared
        total = total + joint(at) + (curvature * covariance).sum() / 2
    return total / len(z)


def linearised(net, parameters, at, v, u0):
    """f about x̃ without its second derivatives: what second_order=False keeps."""

    def output(x):
        return functional_call(net, parameters, (x.unsqueeze(0),)).squeeze(0)

    jacobian = torch.func.jacrev(output)(at[:WIDTH])
    return u0 + (v[:WIDTH] - at[:WIDTH]) @ jacobian.T


def gradient(value, net):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(net.parameters()))])


def every_draw(n, count):
    """All outcomes of the draws of one batch of n, with their probabilities."""
    index = torch.arange(n)
    for shift, *own in itertools.product(range(1, n), *[(False, True)] * n):
        chance = (1 / count) ** sum(own) * (1 - 1 / count) ** (n - sum(own)) / (n - 1)
        own = torch.tensor(own)
        partner = torch.where(own, index, (index + shift) % n)
        for signs in itertools.product((-1, 1), repeat=2 * n):
            yield chance / 4**n, (partner, torch.tensor(signs).reshape(2, n))


def expectation(loss, net, x, y, n, monkeypatch):
    """Mean value and gradient over all batches of n and all draws."""
    batches = list(itertools.combinations(range(len(x)), n))
    value, slope = 0.0, 0.0
    for rows in batches:
        rows = list(rows)
        for chance, drawn in every_draw(n, len(x)):
            monkeypatch.setattr(approximate_loss, "_draw", lambda *_, drawn=drawn: drawn)
            sample = loss(net, x[rows], y[rows])
            value = value + chance * sample.item() / len(batches)
            slope = slope + chance * gradient(sample, net) / len(batches)
    return value, slope


@pytest.mark.parametrize(
    ("name", "directions", "second_order"),
    [
        *(("cross_entropy", *options) for options in itertools.product((1, 2), (False, True))),
        ("logistic", 1, False),
        ("squared_error", 1, False),
        ("quartic", 1, True),
    ],
)
def test_unbiased_over_all_draws(name, directions, second_order, monkeypatch):
    net, x, y, stats = problem(3)
    given = quartic if name == "quartic" else name
    loss = ApproximateMixupLoss(stats, LAW, given, directions=directions, second_order=second_order)
    value, slope = expectation(loss, net, x, y, 2, monkeypatch)
    target = exact(net, x, y, LOSSES[name], second_order=second_order)
    assert value == pytest.approx(target.item(), rel=1e-9)
    torch.testing.assert_close(slope, gradient(target, net), rtol=1e-9, atol=1e-12)


def test_unbiased_in_ten_thousand_draws(generator):
    """10⁴ pairs and signs in batches of 5; 4 standard errors, as for one comparison in all."""
    steps = 2000
    net, x, y, stats = problem(6)
    loss = ApproximateMixupLoss(stats, LAW, generator=generator)
    samples = []
    for _ in range(steps):
        rows = torch.randperm(6, generator=generator)[:5]
        value = loss(net, x[rows], y[rows])
        samples.append(torch.cat([value.detach().unsqueeze(0), gradient(value, net)]))
    samples = torch.stack(samples)
    target = exact(net, x, y, cross_entropy, second_order=False)
    expected = torch.cat([target.detach().unsqueeze(0), gradient(target, net)])
    z = (samples.mean(0) - expected) / (samples.std(0) / steps**0.5)
    normal = torch.distributions.Normal(*torch.tensor([0.0, 1.0], dtype=torch.float64))
    bound = -normal.icdf(normal.cdf(torch.tensor(-4.0)) / len(z))
    assert z.abs().max() < bound, z


def test_signs_of_all_examples_and_parts_are_independent(generator):
    draws = 3000
    signs = torch.stack([approximate_loss._draw(3, 9, generator)[1] for _ in range(draws)])
    assert signs.abs().unique().tolist() == [1]
    signs = signs.flatten(1).double()
    products = signs.T @ signs / draws - torch.eye(6)
    assert max(signs.mean(0).abs().max(), products.abs().max()) < 5 / draws**0.5


def test_two_directions_have_less_noise(generator):
    net, x, y, stats = problem(8)
    spread = {}
    for directions in (1, 2):
        loss = ApproximateMixupLoss(stats, LAW, directions=directions, generator=generator)
        spread[directions] = torch.stack([loss(net, x, y) for _ in range(300)]).std()
    assert spread[2] < spread[1]


def test_terms_are_the_parts_of_the_value(generator):
    net, x, y, stats = problem(6)
    loss = ApproximateMixupLoss(stats, LAW, "squared_error", second_order=True, generator=generator)
    value = loss(net, x, y)
    parts = loss.terms
    assert torch.equal(parts.total, value.detach())
    assert not any(term.requires_grad for term in parts)
    torch.testing.assert_close(
        parts.total, parts.modified + parts.r13 + parts.r2 + parts.r4, rtol=1e-12, atol=0
    )
    shrunk = [m + LAW.theta_mean * (v - m) for v, m in ((x, x.mean(0)), (y, y.mean(0)))]
    modified = squared_error(shrunk[1], net(shrunk[0])).mean()
    torch.testing.assert_close(parts.modified, modified.detach(), rtol=1e-12, atol=0)
    assert parts.r2 != 0
    assert parts.r4 > 0


@pytest.mark.parametrize("law", [Constant(1.0), Beta(1e-12)])
def test_without_mixing_it_is_the_empirical_risk(law, generator):
    net, x, y, stats = problem(6)
    value = ApproximateMixupLoss(stats, law, generator=generator)(net, x, y)
    plain = cross_entropy(y, net(x)).mean()
    torch.testing.assert_close(value, plain, rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient(value, net), gradient(plain, net), rtol=1e-6, atol=1e-9)


def test_equal_mixing_is_finite(generator):
    net, x, y, stats = problem(6)
    assert torch.isfinite(ApproximateMixupLoss(stats, Beta(1e8), generator=generator)(net, x, y))


def test_draws_continue_from_a_saved_state(generator):
    net, x, y, stats = problem(6)
    loss = ApproximateMixupLoss(stats, LAW, generator=generator)
    loss(net, x, y)
    state = loss.state_dict()
    expected = [loss(net, x, y).item() for _ in range(3)]
    again = ApproximateMixupLoss(stats, LAW)
    again.load_state_dict(state)
    assert [again(net, x, y).item() for _ in range(3)] == expected
    assert len(set(expected)) == 3


def test_inputs_and_the_global_generator_are_left_alone(generator):
    net, x, y, stats = problem(6)
    copies, state = (x.clone(), y.clone()), torch.get_rng_state()
    ApproximateMixupLoss(stats, LAW, generator=generator)(net, x, y).backward()
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
