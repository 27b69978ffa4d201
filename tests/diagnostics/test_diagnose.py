import pytest
import torch

from mixreg import Beta, Constant
from mixreg._random import generator
from mixreg.diagnostics import diagnose, entropy_report, jacobian_norms, roughness
from mixreg.risk import approximate_mixup_risk, empirical_risk, mixup_risk, modified_risk

LAW = Beta(1.0)


def data(n=8, d=3, c=3):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=draws, dtype=torch.float64)
    return x, torch.randint(c, (n,), generator=draws)


def network(outputs=3, seed=1, scale=1.0):
    draws = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, 3, generator=draws, dtype=torch.float64)
    return lambda x: scale * torch.tanh(x @ weight.T)


def source():
    return generator(0, "diagnosis")


def diagnosed(*problem, **settings):
    return diagnose(*problem, **({"generator": source(), "pairs": 50} | settings))


def test_every_part_is_that_of_its_own_function():
    (x, y), net = data(), network()
    found = diagnosed(net, x, y, "cross_entropy", LAW)
    assert found.empirical == empirical_risk(net, x, y, "cross_entropy")
    assert found.approximate.modified == modified_risk(net, x, y, "cross_entropy", LAW)
    alone = approximate_mixup_risk(net, x, y, "cross_entropy", LAW)
    for name in ("r1", "r2", "r3", "r4", "total"):
        assert getattr(found.approximate, name) == getattr(alone, name)
    assert found.approximate.r2 != 0
    assert found.mixup.value == mixup_risk(net, x, y, "cross_entropy", LAW)
    assert torch.equal(found.jacobian.probabilities, jacobian_norms(net, x).probabilities)
    assert found.roughness == roughness(net, x, generator=source(), pairs=50)
    assert found.label_smoothing == 0.25


def test_the_gap_shrinks_with_the_data_and_has_no_error_when_exact():
    (x, y), net = data(), network()
    y = torch.eye(3, dtype=torch.float64)[y]
    wide, narrow = (diagnosed(net, s * x, y, "squared_error", LAW) for s in (0.2, 0.1))
    assert wide.half_width == 0
    assert wide.mixup.samples == 64
    assert wide.gap == wide.mixup.value - wide.approximate.total
    assert abs(narrow.gap) < abs(wide.gap) / 3.5


def test_draws_cover_the_exact_risk():
    (x, y), net = data(), network()
    exact = diagnosed(net, x, y, "cross_entropy", LAW)
    drawn = diagnosed(net, x, y, "cross_entropy", LAW, draws=20_000)
    assert drawn.mixup.samples == 20_000
    assert abs(drawn.mixup.value - exact.mixup.value) < 2 * drawn.half_width
    assert 0 < drawn.half_width < 0.02
    assert drawn.approximate.total == exact.approximate.total


def test_linear_least_squares_has_no_gap_and_no_entropy():
    x, _ = data()
    y = x @ torch.ones(3, 2, dtype=torch.float64) + 1
    found = diagnosed(lambda x: x[:, :2] - 1, x, y, "squared_error", LAW)
    assert found.gap == pytest.approx(0, abs=1e-12)
    assert found.entropy is None
    assert found.jacobian.probabilities is None
    assert found.roughness.value == pytest.approx(1)


def test_one_logit_has_the_entropies_of_its_two_classes():
    x, y = data(c=2)
    net = network(outputs=1)
    one = diagnosed(net, x, y, "logistic", LAW)
    two = diagnosed(lambda x: torch.cat([0 * net(x), net(x)], 1), x, y, "cross_entropy", LAW)
    for found, expected in zip(one.entropy, two.entropy, strict=True):
        assert found == (expected if expected is None else pytest.approx(expected, rel=1e-12))
    assert one.empirical == pytest.approx(two.empirical)


def test_entropies_are_taken_at_inputs_and_modified_inputs():
    (x, y), net = data(), network(scale=4)
    found = diagnosed(net, x, y, "cross_entropy", LAW, reference=network(scale=9)).entropy
    one_hot = torch.eye(3, dtype=torch.float64)[y]
    shrunk = x.mean(0) + 0.75 * (x - x.mean(0))
    labels = one_hot.mean(0) + 0.75 * (one_hot - one_hot.mean(0))
    expected = entropy_report(
        net(x), net(shrunk), labels, theta_mean=0.75, reference_outputs=network(scale=9)(x)
    )
    assert found == pytest.approx(expected, rel=1e-12)
    assert found.reference < found.predictions


def test_a_law_that_never_mixes_leaves_the_empirical_risk():
    (x, y), net = data(), network()
    found = diagnosed(net, x, y, "cross_entropy", Constant(1.0))
    for risk in (found.mixup.value, found.approximate.modified, found.approximate.total):
        assert risk == pytest.approx(found.empirical, rel=1e-12)
    assert found.label_smoothing == 0


def test_the_second_order_can_be_left_out():
    (x, y), net = data(), network()
    found = diagnosed(net, x, y, "cross_entropy", LAW, second_order=False)
    assert found.approximate.r2 == 0
    assert not found.approximate.second_order


def test_refuses_one_sample():
    (x, y), net = data(), network()
    with pytest.raises(ValueError, match="at least 2 samples"):
        diagnosed(net, x[:1], y[:1], "cross_entropy", LAW)
