"""MIT-L against its definition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mixreg import Beta, ConfigurationError, Constant
from mixreg.losses import cross_entropy
from mixreg.training.decoupling import (
    MARGIN,
    TwoWeights,
    decouple,
    decoupled_loss,
    draw_two_weights,
)


class Recorder(nn.Module):
    """A network that remembers its inputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        self.seen = x
        return self.net(x)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_are_folded_draws_of_the_law_that_far_apart(alpha, generator):
    law = Beta(alpha)
    larger, smaller = draw_two_weights(law, 20_000, generator=generator)
    assert bool((larger >= 0.5).all())
    assert bool((smaller <= 0.5).all())
    assert bool((larger - smaller >= MARGIN).all())
    theta = law.sample_theta(400_000, generator=generator).view(2, -1)
    accepted = theta[:, theta.sum(0) - 1 >= MARGIN]
    for drawn, expected in ((larger, accepted[0]), (1 - smaller, accepted[1])):
        error = (drawn.var() / len(drawn) + expected.var() / len(expected)).sqrt()
        assert abs(drawn.mean() - expected.mean()) < 4 * error


@pytest.mark.parametrize("law", [Constant(0.6), Beta(1e4)])
def test_refuses_a_law_whose_weights_are_never_that_far_apart(law, generator):
    with pytest.raises(ConfigurationError, match=r"0\.5 apart.*smaller --alpha"):
        draw_two_weights(law, 8, generator=generator)


@given(st.floats(0.75, 1), st.floats(0, 0.25), st.integers(0, 100))
def test_decoupling_inverts_the_mixing_of_outputs(larger, smaller, seed):
    a, b = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    weights = TwoWeights(*(torch.full((3,), w, dtype=torch.float64) for w in (larger, smaller)))
    u_a, u_b = decouple(larger * a + (1 - larger) * b, smaller * a + (1 - smaller) * b, weights)
    torch.testing.assert_close(u_a, a, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(u_b, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_for_a_linear_network_it_is_the_empirical_risk(per, generator):
    net = nn.Linear(5, 3).double()
    x, y = (
        torch.randn(8, 5, dtype=torch.float64),
        torch.eye(3, dtype=torch.float64)[[0, 1, 2] * 2 + [0, 1]],
    )
    value = decoupled_loss(net, x, y, cross_entropy, Beta(1.0), per=per, generator=generator)
    torch.testing.assert_close(value, cross_entropy(y, net(x)).mean(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("per", "distinct"), [("sample", 16), ("batch", 2)])
def test_inputs_are_two_mixes_of_each_example_with_one_partner(per, distinct, generator):
    net = Recorder(nn.Linear(8, 2).double())
    x, y = torch.eye(8, dtype=torch.float64), torch.eye(2, dtype=torch.float64).repeat(4, 1)
    generator.manual_seed(1)
    decoupled_loss(net, x, y, cross_entropy, Beta(1.0), per=per, generator=generator)
    first, second = net.seen.chunk(2)
    own = torch.cat([first.diagonal(), second.diagonal()])
    assert bool((first.diagonal() >= 0.5).all())
    assert bool((second.diagonal() <= 0.5).all())
    assert len(own.unique()) == distinct
    torch.testing.assert_close(net.seen.sum(1), torch.ones(16, dtype=torch.float64))
    assert bool((((first > 0) | (second > 0)).sum(1) <= 2).all())
