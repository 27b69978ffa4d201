"""The two numbers of every law against mpmath, its quadrature against exact moments, its draws."""

import json
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import mixreg
from mixreg import Beta, Constant, MixingLaw, Uniform, law_from_dict, mixture

mpmath.mp.dps = 50
ALPHAS = [10 ** (k / 4) for k in range(-32, 33)]
EPSILON = 1e-12

unit = st.floats(0, 1)
betas = st.builds(Beta, st.floats(1e-8, 1e8))
uniforms = (
    st.tuples(unit, unit)
    .map(sorted)
    .filter(lambda e: e[1] - e[0] > 1e-6)
    .map(lambda e: Uniform(*e))
)
simple_laws = st.one_of(betas, uniforms, st.builds(Constant, unit))
laws = st.recursive(
    simple_laws,
    lambda inner: st.builds(lambda p, a, b: mixture([(p, a), (1 - p, b)]), unit, inner, inner),
    max_leaves=4,
)


def exact_beta(alpha):
    """θ̄ = 1 − I_½(α+1, α) as in Theorem 1, and E(1−θ)² by the same incomplete Beta functions."""
    a = mpmath.mpf(alpha)
    q = mpmath.exp(
        mpmath.loggamma(a + mpmath.mpf(1) / 2) - mpmath.loggamma(a + 1) - mpmath.log(mpmath.pi) / 2
    )
    return (1 - q) / 2, 1 / (4 * (2 * a + 1)) + mpmath.mpf(1) / 4 - q / 2


def assert_numbers(law: MixingLaw, a1, a2):
    a1, a2 = mpmath.mpf(a1), mpmath.mpf(a2)
    expected = {
        "shrinkage": a1,
        "theta_mean": 1 - a1,
        "theta_variance": a2 - a1**2,
        "gamma_squared": a2,
    }
    for name, value in expected.items():
        got = getattr(law, name)
        assert isinstance(got, float)
        assert abs(got - value) <= EPSILON * abs(value), (law, name, got, value)


@given(st.floats(1e-8, 1e8))
def test_numbers_of_beta(alpha):
    assert_numbers(Beta(alpha), *exact_beta(alpha))


def test_numbers_of_beta_over_sixteen_decades():
    for alpha in ALPHAS:
        assert_numbers(Beta(alpha), *exact_beta(alpha))


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1, 3])
def test_beta_is_the_incomplete_beta_function_of_theorem_1(alpha):
    theta_mean = 1 - mpmath.betainc(alpha + 1, alpha, 0, 0.5, regularized=True)
    assert Beta(alpha).theta_mean == pytest.approx(float(theta_mean), rel=EPSILON)


@pytest.mark.parametrize("alpha", [0.5, 1, 3])
def test_beta_numbers_by_numeric_integration(alpha):
    def moment(power):
        def integrand(t):
            return min(t, 1 - t) ** power * (t * (1 - t)) ** (alpha - 1)

        return mpmath.quad(integrand, [0, 0.5, 1]) / mpmath.beta(alpha, alpha)

    assert_numbers(Beta(alpha), moment(1), moment(2))


@pytest.mark.parametrize("alpha", [1e-300, 1e300])
def test_beta_at_the_ends_of_floating_point(alpha):
    law = Beta(alpha)
    assert 0.5 <= law.theta_mean <= 1
    assert 0 <= law.theta_variance < 1e-100 or alpha > 1
    assert math.isfinite(law.gamma_squared)


@given(uniforms)
def test_numbers_of_uniform(law):
    low, high = Fraction(law.low), Fraction(law.high)
    half = Fraction(1, 2)

    def integral(power, a, b):
        return (b ** (power + 1) - a ** (power + 1)) / (power + 1)

    def moment(power):
        below = integral(power, min(low, half), min(high, half))
        above = integral(power, 1 - max(high, half), 1 - max(low, half))
        return (below + above) / (high - low)

    a1, a2 = (mpmath.mpf(m.numerator) / m.denominator for m in (moment(1), moment(2)))
    assert law.shrinkage == pytest.approx(float(a1), rel=EPSILON)
    assert law.gamma_squared == pytest.approx(float(a2), rel=EPSILON)
    # A narrow interval knows its own width only to the rounding of its ends.
    assert law.theta_variance == pytest.approx(float(a2 - a1**2), rel=1e-9)


@given(unit)
def test_numbers_of_constant(weight):
    a1 = min(Fraction(weight), 1 - Fraction(weight))
    law = Constant(weight)
    assert law.shrinkage == pytest.approx(float(a1), rel=EPSILON)
    assert law.theta_variance == 0
    assert law.gamma_squared == pytest.approx(float(a1**2), rel=EPSILON)


@given(unit, laws, laws)
def test_numbers_are_linear_in_mixtures(p, first, second):
    law = mixture([(p, first), (1 - p, second)])
    for name in ("shrinkage", "theta_mean", "gamma_squared"):
        linear = p * getattr(first, name) + (1 - p) * getattr(second, name)
        assert getattr(law, name) == pytest.approx(linear, rel=EPSILON, abs=1e-300)


@given(laws, unit)
def test_with_probability_scales_both_numbers(law, p):
    partial = law.with_probability(p)
    assert partial.shrinkage == pytest.approx(p * law.shrinkage, rel=EPSILON, abs=1e-300)
    assert partial.gamma_squared == pytest.approx(p * law.gamma_squared, rel=EPSILON, abs=1e-300)


def test_with_probability_at_its_ends():
    assert Beta(2.0).with_probability(1) == Beta(2.0)
    assert Beta(2.0).with_probability(0) == Constant(1.0)


@given(unit)
def test_folding_is_symmetric(weight):
    mirrored = Constant(1 - weight)
    assert mirrored.theta_mean == pytest.approx(Constant(weight).theta_mean, rel=EPSILON)
    if 1e-6 < weight < 1:
        below, above = Uniform(0, weight), Uniform(1 - weight, 1)
        assert above.theta_mean == pytest.approx(below.theta_mean, rel=EPSILON)
        assert above.gamma_squared == pytest.approx(below.gamma_squared, rel=EPSILON, abs=1e-15)


@given(laws)
def test_numbers_lie_where_theta_lies(law):
    assert 0.5 <= law.theta_mean <= 1
    assert 0 <= law.theta_variance <= 1 / 16
    assert 0 <= law.gamma_squared <= 1 / 4 + 1e-15
    assert law.gamma_squared == pytest.approx(law.theta_variance + (1 - law.theta_mean) ** 2)


def test_limits_of_beta():
    assert Beta(1e-8).theta_mean == pytest.approx(1, abs=1e-7)
    assert Beta(1e8).theta_mean == pytest.approx(0.5, abs=1e-4)
    assert Beta(1.0).folded_moments == pytest.approx(Uniform().folded_moments, rel=EPSILON)


@given(st.floats(1e-8, 1e7), st.floats(1.01, 10))
def test_theta_mean_falls_with_alpha(alpha, factor):
    assert Beta(alpha * factor).theta_mean < Beta(alpha).theta_mean


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.3, 1.0, 7.5, 1e3, 1e8])
@pytest.mark.parametrize("order", [1, 2, 5, 20])
def test_quadrature_of_beta_is_exact_on_polynomials(alpha, order):
    nodes, weights = Beta(alpha).quadrature(order)
    assert nodes.dtype == weights.dtype == torch.float64
    assert nodes.shape == weights.shape == (order,)
    for power in range(2 * order):
        a = mpmath.mpf(alpha)
        moment = float(mpmath.rf(a, power) / mpmath.rf(2 * a, power))
        assert float(weights @ nodes**power) == pytest.approx(moment, rel=EPSILON)


@given(laws, st.integers(1, 12))
def test_quadrature_is_a_probability_on_the_unit_interval(law, order):
    nodes, weights = law.quadrature(order)
    assert float(weights.sum()) == pytest.approx(1, rel=EPSILON)
    assert bool(((nodes >= 0) & (nodes <= 1) & (weights >= 0)).all())


@given(uniforms, st.integers(1, 8))
def test_quadrature_of_uniform_is_exact_on_polynomials(law, order):
    nodes, weights = law.quadrature(order)
    points, masses = np.polynomial.legendre.leggauss(16)
    points = law.low + (law.high - law.low) * (points + 1) / 2
    for power in range(2 * order):
        expected = float(masses / 2 @ points**power)
        assert float(weights @ nodes**power) == pytest.approx(expected, rel=EPSILON)


def test_quadrature_of_a_mixture_averages():
    law = Beta(0.4).with_probability(0.3)
    nodes, weights = law.quadrature(9)
    own = Beta(0.4).quadrature(9)
    for g in (torch.exp, torch.cos):
        expected = 0.3 * own.weights @ g(own.nodes) + 0.7 * g(torch.ones((), dtype=torch.float64))
        torch.testing.assert_close(weights @ g(nodes), expected, rtol=EPSILON, atol=0)


@given(laws)
def test_round_trip_through_json(law):
    assert law_from_dict(json.loads(json.dumps(law.to_dict()))) == law


def test_numbers_of_other_libraries_become_python_floats():
    law = Beta(np.float32(0.5))
    assert json.dumps(law.to_dict()) == '{"law": "beta", "alpha": 0.5}'
    assert type(Uniform(0, np.float64(1)).high) is float


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_probabilities_of_numpy(p):
    law = Beta(1.0).with_probability(np.float32(p))
    assert law == Beta(1.0).with_probability(float(np.float32(p)))
    assert mixreg.laws.law_from_dict(json.loads(json.dumps(law.to_dict()))) == law


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
