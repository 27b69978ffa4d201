"""Laws by design: the feasible set, its inside and its borders, against mpmath and brute force."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mixreg
from mixreg import Beta, Constant, FoldedBeta, design_law, law_from_dict

EPSILON = 1e-12

shrinkages = st.floats(1e-9, 0.5 - 1e-9)
places = st.floats(1e-6, 1 - 1e-6)


def between(a1, place):
    """A pair on the way from the least noise at this shrinkage to the most."""
    return a1**2 + place * a1 * (0.5 - a1)


def shapes(law):
    """Shapes of v = 2 (1 − θ) with the law's mean and variance, by their textbook formulas."""
    m, variance = 2 * mpmath.mpf(law.mean), 4 * mpmath.mpf(law.variance)
    total = m * (1 - m) / variance - 1
    return m * total, (1 - m) * total


@given(shrinkages, places)
def test_the_whole_inside_of_the_feasible_set_is_reached(a1, place):
    a2 = between(a1, place)
    law = design_law(label_smoothing=a1, gamma_squared=a2)
    assert isinstance(law, FoldedBeta)
    assert law.shrinkage == a1
    assert law.gamma_squared == pytest.approx(a2, rel=EPSILON)
    a, b = shapes(law)
    mean = a / (a + b) / 2
    second = a * (a + 1) / ((a + b) * (a + b + 1)) / 4
    assert float(mean) == pytest.approx(a1, rel=EPSILON)
    assert float(second) == pytest.approx(a2, rel=1e-9)


@pytest.mark.parametrize(("a1", "place"), [(0.05, 0.3), (0.25, 1 / 3), (0.4, 0.2), (0.01, 0.02)])
def test_its_density_has_the_numbers(a1, place):
    law = design_law(theta_mean=1 - a1, gamma_squared=between(a1, place))
    a, b = shapes(law)

    def moment(power):
        def integrand(v):
            return (v / 2) ** power * v ** (a - 1) * (1 - v) ** (b - 1)

        return mpmath.quad(integrand, [0, 0.01, 0.5, 0.99, 1]) / mpmath.beta(a, b)

    assert law.shrinkage == pytest.approx(float(moment(1)), rel=1e-6)
    assert law.gamma_squared == pytest.approx(float(moment(2)), rel=1e-6)


@given(shrinkages, places, st.integers(2, 40))
def test_quadrature_gives_the_numbers(a1, place, order):
    law = design_law(label_smoothing=a1, gamma_squared=between(a1, place))
    nodes, weights = law.quadrature(order)
    assert float(weights.sum()) == pytest.approx(1, rel=EPSILON)
    assert nodes.min() >= 0.5
    assert nodes.max() <= 1
    assert float(weights @ (1 - nodes)) == pytest.approx(a1, rel=1e-9)
    assert float(weights @ (1 - nodes).square()) == pytest.approx(law.gamma_squared, rel=1e-9)


@pytest.mark.parametrize(("a1", "place"), [(0.05, 0.3), (0.25, 0.01), (0.4, 0.9), (0.1, 0.999)])
def test_draws_have_the_numbers(a1, place):
    law = design_law(label_smoothing=a1, gamma_squared=between(a1, place))
    n = 400_000
    weight = law.sample(n, generator=torch.Generator().manual_seed(0))
    assert weight.min() >= 0.5
    assert weight.max() <= 1
    for power, expected in ((1, law.shrinkage), (2, law.gamma_squared)):
        values = (1 - weight) ** power
        assert abs(values.mean() - expected) <= 4 * values.std() / math.sqrt(n)


@given(st.floats(0, 0.5))
def test_the_least_noise_is_a_constant(a1):
    assert design_law(label_smoothing=a1, gamma_squared=a1**2) == Constant(1 - a1)


@given(shrinkages)
def test_the_most_noise_mixes_halves_or_not_at_all(a1):
    law = design_law(label_smoothing=a1, gamma_squared=a1 / 2)
    assert law.shrinkage == pytest.approx(a1, rel=EPSILON)
    assert law.gamma_squared == pytest.approx(a1 / 2, rel=EPSILON)
    assert {*law.quadrature(3).nodes.tolist()} <= {0.5, 1.0}


@given(st.floats(1e-3, 1e3))
def test_beta_laws_have_twins(alpha):
    law = Beta(alpha)
    twin = design_law(theta_mean=law.theta_mean, gamma_squared=law.gamma_squared)
    assert twin.shrinkage == pytest.approx(law.shrinkage, rel=1e-9)
    assert twin.gamma_squared == pytest.approx(law.gamma_squared, rel=1e-9)


@given(st.lists(st.tuples(st.floats(0.5, 1), st.floats(0.01, 1)), min_size=1, max_size=6))
def test_no_law_lies_outside_the_feasible_set(atoms):
    theta, weight = map(np.array, zip(*atoms, strict=True))
    weight = weight / weight.sum()
    a1, a2 = weight @ (1 - theta), weight @ (1 - theta) ** 2
    assert a1**2 - 1e-15 <= a2 <= a1 / 2 + 1e-15


@given(shrinkages, places)
def test_a_designed_law_is_stored_and_read_back(a1, place):
    law = design_law(label_smoothing=a1, gamma_squared=between(a1, place))
    assert law_from_dict(law.to_dict()) == law


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_an_infeasible_pair_is_refused_with_the_nearest_feasible_one(a1, a2):
    if 0 <= a1 <= 0.5 and a1**2 - 1e-12 <= a2 <= a1 / 2 + 1e-12:
        return
    with pytest.raises(ValueError, match="no law has") as refusal:
        design_law(label_smoothing=a1, gamma_squared=a2)
    words = str(refusal.value).replace("(", " ").replace(")", " ").replace(",", " ").split()
    near = {k: float(v) for k, _, v in (w.partition("=") for w in words) if k and v}
    t = np.linspace(0, 0.5, 20_001)
    distance = min(np.hypot(t - a1, t**2 - a2).min(), np.hypot(t - a1, t / 2 - a2).min())
    reached = math.hypot(near["label_smoothing"] - a1, near["gamma_squared"] - a2)
    assert reached == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"gamma_squared": 0.1}, "give one of theta_mean and label_smoothing"),
        ({"gamma_squared": 0.1, "theta_mean": 0.8, "label_smoothing": 0.2}, "give one of"),
        ({"gamma_squared": math.nan, "theta_mean": 0.8}, "finite"),
        ({"gamma_squared": 0.1, "theta_mean": math.inf}, "finite"),
    ],
)
def test_refusals(numbers, message):
    with pytest.raises(ValueError, match=message):
        design_law(**numbers)


def test_the_border_is_none_of_the_densities():
    with pytest.raises(ValueError, match="design_law also makes the laws on the border"):
        FoldedBeta(0.25, 0.25 * 0.25)


def test_mixing_by_a_designed_law():
    law = design_law(theta_mean=0.9, gamma_squared=0.02)
    mixup = mixreg.Mixup(law, num_classes=2, generator=torch.Generator().manual_seed(0))
    batch = mixup(torch.randn(8, 3), torch.arange(8) % 2)
    assert batch.weight.min() >= 0.5
