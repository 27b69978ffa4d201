"""Draws of λ and θ: their distribution, generator and device, without waiting for a device."""

import math

import pytest
import torch
from scipy import stats

from mixreg import Beta, Constant, Uniform, mixture
from mixreg.laws import MixingLaw

N = 20_000
CONTINUOUS = [
    (Beta(0.2), stats.beta(0.2, 0.2)),
    (Beta(1.0), stats.beta(1.0, 1.0)),
    (Beta(8.0), stats.beta(8.0, 8.0)),
    (Beta(1e8), stats.norm(0.5, 0.5 / math.sqrt(2e8 + 1))),
    (Uniform(0.1, 0.7), stats.uniform(0.1, 0.6)),
]
EVERY = [law for law, _ in CONTINUOUS] + [
    Beta(1e-8),
    Beta(5e-324),
    Constant(0.3),
    Beta(0.4).with_probability(0.5),
    mixture([(0.2, Constant(0.9)), (0.3, Uniform(0.2, 0.4)), (0.5, Beta(2.0))]),
]


def _name(value: object) -> str:
    return str(value) if isinstance(value, MixingLaw) else "distribution"


@pytest.mark.parametrize(("law", "expected"), CONTINUOUS, ids=_name)
def test_distribution_of_weights(law: MixingLaw, expected, generator):
    draws = law.sample(N, generator=generator).numpy()
    assert stats.kstest(draws, expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("law", "expected"), CONTINUOUS[:3], ids=_name)
def test_distribution_of_folded_weights(law: MixingLaw, expected, generator):
    draws = law.sample_theta(N, generator=generator).numpy()
    assert stats.kstest(draws, lambda t: expected.cdf(t) - expected.cdf(1 - t)).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [1e-8, 1e-300, 1e-307, 5e-324])
def test_tiny_alpha_is_a_fair_coin(alpha, generator):
    draws = Beta(alpha).sample(N, generator=generator)
    assert set(draws.tolist()) == {0.0, 1.0}
    assert abs(float(draws.mean()) - 0.5) < 4 * 0.5 / N**0.5


@pytest.mark.parametrize("law", EVERY, ids=str)
def test_moments_of_theta_are_the_numbers_of_the_law(law: MixingLaw, generator):
    theta = law.sample_theta(N, generator=generator)
    error = 4 * math.sqrt(law.theta_variance / N) + 1e-12
    assert abs(float(theta.mean()) - law.theta_mean) <= error
    # Since (1 − θ)² ≤ ¼, its variance is at most ¼ E (1 − θ)².
    error = 4 * math.sqrt(law.gamma_squared / 4 / N) + 1e-12
    assert abs(float(((1 - theta) ** 2).mean()) - law.gamma_squared) <= error
    assert bool(((theta >= 0.5) & (theta <= 1)).all())


@pytest.mark.parametrize("law", EVERY, ids=str)
def test_shape_dtype_and_reproducibility(law: MixingLaw):
    for draw in (law.sample, law.sample_theta):
        first, again = (draw(7, generator=torch.Generator().manual_seed(5)) for _ in range(2))
        assert first.shape == (7,)
        assert first.dtype == torch.float64
        assert first.device.type == "cpu"
        assert torch.equal(first, again)
        assert draw(0, generator=torch.Generator()).shape == (0,)


@pytest.mark.parametrize("law", EVERY[:-3], ids=str)
def test_an_explicit_generator_leaves_the_global_one_alone(law: MixingLaw, generator):
    before = torch.get_rng_state()
    law.sample(5, generator=generator)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("law", EVERY, ids=str)
def test_sampling_never_reads_a_value_back(law: MixingLaw, generator, no_synchronisation):
    with no_synchronisation():
        law.sample_theta(5, generator=generator)


def test_parts_of_a_mixture_come_in_their_shares(generator):
    law = mixture([(0.2, Constant(0.1)), (0.5, Constant(0.6)), (0.3, Constant(1.0))])
    draws = law.sample(N, generator=generator)
    for weight, share in ((0.1, 0.2), (0.6, 0.5), (1.0, 0.3)):
        seen = float((draws == weight).double().mean())
        assert abs(seen - share) < 4 * math.sqrt(share * (1 - share) / N)
