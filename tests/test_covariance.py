"""The covariance operators of Lemma 1 against enumerated moments and dense matrices."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixreg import reference
from mixreg.covariance import PerturbationCovariance, Whitening, perturbation_covariances
from mixreg.laws import Beta, Constant, Uniform

LAWS = [Beta(0.1), Beta(1.0), Beta(30.0), Constant(0.5), Uniform(0.2, 0.9)]
SHAPES = [(12, 3, 2), (4, 6, 3), (2, 5, 1), (9, 1, 4)]


def data(n, d, m, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, k, generator=g, dtype=torch.float64) for k in (d, m))
    return x + 3, y - 1


@pytest.fixture(params=product(SHAPES, LAWS), ids=str)
def setting(request):
    shape, law = request.param
    x, y = data(*shape)
    return x, y, law, perturbation_covariances(x, y, law)


def test_dense_matrices_are_the_enumerated_moments(setting):
    x, y, law, covariances = setting
    for i in range(len(x)):
        moments = reference.enumerated_moments(x, y, law, i)
        for name in ("xx", "xy", "yy"):
            dense = getattr(covariances, name).dense(i)
            torch.testing.assert_close(dense, getattr(moments, name), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["xx", "xy", "yy", "yx"])
def test_operators_equal_their_dense_matrices(setting, name):
    *_, covariances = setting
    operator = covariances.xy.transposed if name == "yx" else getattr(covariances, name)
    g = torch.Generator().manual_seed(1)
    rows, columns = operator.dense(0).shape
    i = torch.tensor([1, 0, 1])
    v = torch.randn(3, 2, columns, generator=g).double()
    matrix = torch.randn(3, rows, columns, generator=g).double()
    dense = operator.dense(i)
    close = {"rtol": 1e-11, "atol": 1e-11}
    torch.testing.assert_close(operator.product(i, v), v @ dense.transpose(1, 2), **close)
    torch.testing.assert_close(
        operator.inner_product(i, matrix), (matrix * dense).sum((1, 2)), **close
    )


@pytest.mark.parametrize("name", ["xx", "xy", "yy"])
def test_one_sample_is_a_row_of_many(setting, name):
    operator = getattr(setting[-1], name)
    columns = operator.dense(0).shape[1]
    v, both = torch.arange(2.0 * columns).double().reshape(2, columns), torch.tensor([1, 0])
    many = operator.product(both, v.expand(2, *v.shape))
    torch.testing.assert_close(operator.product(1, v), many[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(operator.dense(1), operator.dense(both)[0])


def test_regression_and_explained_covariance(setting):
    x, y, law, covariances = setting
    i = torch.arange(len(x))
    for k in range(len(x)):
        sigma = reference.covariances(x, y, law, k)
        slope = sigma.xy.T @ torch.linalg.pinv(sigma.xx, rtol=1e-10, hermitian=True)
        torch.testing.assert_close(covariances.regression(i)[k], slope, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(covariances.regression(k), slope, rtol=1e-9, atol=1e-10)
        explained = slope @ sigma.xy
        torch.testing.assert_close(covariances.explained(i)[k], explained, rtol=1e-9, atol=1e-11)


def test_residuals_are_those_of_least_squares():
    x, y = data(9, 3, 2)
    residuals = perturbation_covariances(x, y, Beta(1.0)).residuals(torch.arange(9))
    design = torch.cat([x, torch.ones(9, 1).double()], 1)
    fitted = design @ torch.linalg.lstsq(design, y).solution
    torch.testing.assert_close(residuals, y - fitted, rtol=1e-11, atol=1e-11)


def test_everything_vanishes_without_mixing():
    x, y = data(5, 3, 2)
    covariances = perturbation_covariances(x, y, Constant(1.0))
    i = torch.arange(5)
    assert not covariances.xx.dense(i).any()
    assert not covariances.explained(i).any()
    assert not covariances.regression(i).any()


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 8),
    d=st.integers(1, 6),
    rank=st.integers(0, 6),
    offset=st.sampled_from([0.0, 1.0, 1e4]),
    seed=st.integers(0, 2**16),
)
def test_whitening_of_data_of_any_rank(n, d, rank, offset, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, rank, generator=g).double() @ torch.randn(rank, d, generator=g).double()
    factor = Whitening.from_data(x + offset, rank_cutoff=1e-9)
    assert factor.rank == min(n - 1, d, rank)
    centred = (x + offset) - (x + offset).mean(0)
    torch.testing.assert_close(factor.vectors(factor.scores), centred, rtol=1e-9, atol=1e-9)
    identity = torch.eye(factor.rank, dtype=torch.float64)
    torch.testing.assert_close(factor.scores.T @ factor.scores / n, identity)
    torch.testing.assert_close(factor.basis.T @ factor.basis, identity)
    v = torch.randn(3, d, generator=g).double()
    torch.testing.assert_close(
        factor.coordinates(v) @ factor.scores.T, v @ centred.T, rtol=1e-8, atol=1e-8
    )
    z = torch.randn(3, factor.rank, generator=g).double()
    torch.testing.assert_close(
        factor.dual_vectors(z) @ centred.T, z @ factor.scores.T, rtol=1e-8, atol=1e-8
    )


def test_the_rank_does_not_count_the_mean():
    """Data far from the origin, in as many dimensions as samples: the rank is n − 1."""
    x, _ = data(6, 6, 1)
    assert Whitening.from_data(x + 1e6).rank == 5
    assert Whitening.from_data(x.float() + 1e3).rank == 5


def test_the_rank_cutoff_is_relative():
    x = torch.diag(torch.tensor([1.0, 1e-3, 1e-6])).double()
    x = torch.cat([x, -x])
    assert [Whitening.from_data(x, rank_cutoff=c).rank for c in (0.5, 1e-4, 1e-12)] == [1, 2, 3]


def test_a_given_factorisation_serves_other_labels_and_laws():
    x, y = data(7, 4, 2)
    factor = Whitening.from_data(x)
    reused = perturbation_covariances(x, y, Beta(0.5), whitening=factor)
    fresh = perturbation_covariances(x, y, Beta(0.5))
    assert isinstance(reused.xx, PerturbationCovariance)
    torch.testing.assert_close(reused.xx.dense(3), fresh.xx.dense(3))


def test_scalar_targets_are_vectors_of_length_one():
    x, y = data(5, 3, 1)
    assert perturbation_covariances(x, y[:, 0], Beta(1.0)).yy.dense(0).shape == (1, 1)
