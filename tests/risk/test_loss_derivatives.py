"""Closed-form derivatives of the losses against autograd, and the cut-off of ℓ_uu⁺."""

import mpmath
import pytest
import torch

from mixreg._checks import sample_name
from mixreg.losses import cross_entropy, logistic, squared_error
from mixreg.risk._derivatives import loss_derivatives

NAME = sample_name(0)
G = torch.Generator().manual_seed(0)
U = torch.randn(6, 3, generator=G, dtype=torch.float64)
Y = torch.softmax(torch.randn(6, 3, generator=G, dtype=torch.float64), 1)
LABELS = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64).T


@pytest.mark.parametrize("loss", [cross_entropy, logistic, squared_error])
def test_closed_forms_equal_autograd(loss):
    closed = loss_derivatives(loss, Y, U, curvature_cutoff=1e-8, name=NAME)
    free = loss_derivatives(lambda y, u: loss(y, u), Y, U, curvature_cutoff=1e-8, name=NAME)
    torch.testing.assert_close(closed.gradient, free.gradient)
    torch.testing.assert_close(closed.output_hessian, free.output_hessian)
    # Labels of the cross-entropy move in the plane where they sum to one.
    torch.testing.assert_close(closed.mixed @ LABELS, free.mixed @ LABELS)
    torch.testing.assert_close(closed.response @ LABELS, free.response @ LABELS)
    expected = (
        torch.zeros(6, 3, 3).double() if closed.label_hessian is None else closed.label_hessian
    )
    torch.testing.assert_close(expected, free.label_hessian)


def test_scalar_outputs():
    y, u = Y[:, 0], U[:, 0]
    closed = loss_derivatives(logistic, y, u, curvature_cutoff=1e-8, name=NAME)
    free = loss_derivatives(lambda y, u: logistic(y, u), y, u, curvature_cutoff=1e-8, name=NAME)
    for one, other in zip(closed[:3], free[:3], strict=True):
        torch.testing.assert_close(one, other)
    assert closed.response.shape == (6, 1, 1)


@pytest.mark.parametrize("spread", [1.0, 5.0, 15.0])
def test_softmax_pseudo_inverse_to_full_precision(spread):
    """Π diag(1/p) Π is the Moore-Penrose inverse of H, and is met to full relative precision."""
    u = spread * torch.tensor([[1.0, 0.2, -0.1, -1.0]], dtype=torch.float64)
    at = loss_derivatives(
        cross_entropy, torch.full((1, 4), 0.25).double(), u, curvature_cutoff=1e-30, name=NAME
    )
    with mpmath.workdps(60):
        weights = [mpmath.exp(mpmath.mpf(v)) for v in u[0].tolist()]
        p = mpmath.matrix([w / mpmath.fsum(weights) for w in weights])
        H = mpmath.diag(list(p)) - p * p.T
        projection = mpmath.eye(4) - mpmath.ones(4) / 4
        inverse = projection * mpmath.diag([1 / v for v in p]) * projection
        assert mpmath.mnorm(H * inverse * H - H) < 1e-30
        assert mpmath.mnorm(inverse * H * inverse - inverse) < 1e-30
        rows = [[float(v) for v in row] for row in inverse.tolist()]
    expected = torch.tensor(rows, dtype=torch.float64)
    error = (-at.response[0] - expected).norm() / expected.norm()
    assert error < 1e-14


def test_impossible_classes_are_left_out():
    """With one class below the cut-off the pseudo-inverse is that of the other two."""
    u = torch.tensor([[0.0, 1.0, -40.0]], dtype=torch.float64)
    at = loss_derivatives(cross_entropy, Y[:1], u, curvature_cutoff=1e-8, name=NAME)
    two = loss_derivatives(cross_entropy, Y[:1, :2], u[:, :2], curvature_cutoff=1e-8, name=NAME)
    torch.testing.assert_close(at.response[:, :2, :2], two.response)
    assert not at.response[:, 2].any()
    assert not at.response[:, :, 2].any()


@pytest.mark.parametrize("size", [50.0, 800.0, 1e4])
def test_one_hot_predictions_have_no_response(size):
    u = torch.tensor([[size, 0.0, 0.0]], dtype=torch.float64)
    at = loss_derivatives(cross_entropy, Y[:1], u, curvature_cutoff=1e-8, name=NAME)
    assert not at.response.any()
    v = torch.tensor([size, -size], dtype=torch.float64)
    at = loss_derivatives(logistic, v, v, curvature_cutoff=1e-8, name=NAME)
    assert not at.response.any()


def test_logistic_curvature_keeps_its_digits():
    u = torch.tensor([30.0, -30.0], dtype=torch.float64)
    at = loss_derivatives(logistic, 0 * u, u, curvature_cutoff=1e-20, name=NAME)
    with mpmath.workdps(40):
        s = 1 / (1 + mpmath.exp(-30))
        exact = float(1 / (s * (1 - s)))
    torch.testing.assert_close(-at.response.flatten(), torch.full((2,), exact).double())


def test_flat_directions_of_other_losses_are_left_out():
    def loss(y, u):
        scale = torch.tensor([1.0, 1e-4, 0.0]).double()
        return (scale * u**2).sum(1) / 2 - (y * u).sum(1)

    response = [
        loss_derivatives(loss, Y, U, curvature_cutoff=cut, name=NAME).response[0].diagonal()
        for cut in (1e-8, 1e-3)
    ]
    torch.testing.assert_close(response[0], torch.tensor([-1.0, -1e4, 0.0]).double())
    torch.testing.assert_close(response[1], torch.tensor([-1.0, 0.0, 0.0]).double())


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_cutoff_does_not_depend_on_the_scale_of_the_loss(scale):
    def loss(y, u):
        return scale * cross_entropy(y, u)

    scaled = loss_derivatives(loss, Y, U, curvature_cutoff=1e-8, name=NAME)
    plain = loss_derivatives(cross_entropy, Y, U, curvature_cutoff=1e-8, name=NAME)
    torch.testing.assert_close(scaled.response @ LABELS, plain.response @ LABELS)


def test_indefinite_curvature_is_inverted():
    def loss(y, u):
        return (u[:, 0] ** 2 - u[:, 1] ** 2) / 2 - (y * u).sum(1)

    at = loss_derivatives(loss, Y, U, curvature_cutoff=1e-8, name=NAME)
    expected = torch.tensor([-1.0, 1.0, 0.0]).double()
    torch.testing.assert_close(at.response[0].diagonal(), expected)


def test_a_loss_that_ignores_the_labels():
    at = loss_derivatives(lambda _, u: u.square().sum(1), Y, U, curvature_cutoff=1e-8, name=NAME)
    assert not at.mixed.any()
    assert not at.response.any()
