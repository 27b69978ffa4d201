"""The losses against closed forms, at extreme logits, through derivatives, and refused misuse."""

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import forward_ad
from torch.autograd.gradcheck import gradcheck, gradgradcheck

from mixreg import Beta, Mixup, cross_entropy, logistic, mixed_loss, squared_error
from mixreg.losses import probabilities, resolve_loss, two_class_logits

N, C = 6, 4
# PyTorch itself uses the deprecated function when it first loads its tangent formulas.
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")
EXTREMES = [1e4, -1e4, 1e3, 88.8, 0.0]


def draws(shape, generator):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def simplex(generator):
    return torch.softmax(draws((N, C), generator), 1)


def pairs(generator):
    """Each loss with targets and outputs of every shape it takes."""
    yield cross_entropy, simplex(generator), draws((N, C), generator)
    for shape in ((N,), (N, 1), (N, C)):
        yield logistic, torch.sigmoid(draws(shape, generator)), draws(shape, generator)
    for shape in ((N,), (N, 1), (N, C), (N, 2, 3)):
        yield squared_error, draws(shape, generator), draws(shape, generator)


def literal(loss, y, u):
    """Equations 3 and 15 as printed, in 50 digits, for one example."""
    y, u = ([mpmath.mpf(v) for v in t.reshape(-1).tolist()] for t in (y, u))
    if loss is cross_entropy:
        return mpmath.log(mpmath.fsum(map(mpmath.exp, u))) - mpmath.fdot(y, u)
    if loss is logistic:
        return mpmath.fsum(mpmath.log(1 + mpmath.exp(b)) - a * b for a, b in zip(y, u, strict=True))
    return mpmath.fsum((a - b) ** 2 for a, b in zip(y, u, strict=True)) / 2


def test_values_are_the_printed_formulas(generator):
    for loss, y, u in pairs(generator):
        values = loss(y, u)
        assert values.shape == (N,)
        for i in range(N):
            assert values[i].item() == pytest.approx(float(literal(loss, y[i], u[i])), rel=1e-12)


@pytest.mark.parametrize("size", EXTREMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cross_entropy_at_extreme_logits(size, dtype):
    u = torch.tensor([[size, 0.0, -size], [size, size, size]], dtype=dtype, requires_grad=True)
    y = torch.tensor([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]], dtype=dtype)
    values = cross_entropy(y, u)
    for i in range(2):
        expected = float(literal(cross_entropy, y[i], u[i]))
        assert values[i].item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(values.sum(), u)
    torch.testing.assert_close(gradient, torch.softmax(u, 1).detach() - y)


@pytest.mark.parametrize("size", EXTREMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logistic_at_extreme_logits(size, dtype):
    u = torch.tensor([size, size, size], dtype=dtype, requires_grad=True)
    y = torch.tensor([0.0, 0.3, 1.0], dtype=dtype)
    values = logistic(y, u)
    for i in range(3):
        expected = float(literal(logistic, y[i], u[i]))
        assert values[i].item() == pytest.approx(expected, rel=1e-6, abs=1e-37)
    (gradient,) = torch.autograd.grad(values.sum(), u)
    torch.testing.assert_close(gradient, torch.sigmoid(u).detach() - y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype):
    u = torch.tensor([[1e4, -1e4], [-1e4, -1e4]], dtype=dtype, requires_grad=True)
    y = torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=dtype)
    for loss in (cross_entropy, logistic):
        values = loss(y, u)
        assert values.dtype == dtype
        assert bool(torch.isfinite(values).all())
        assert bool(torch.isfinite(torch.autograd.grad(values.sum(), u)[0]).all())


@forward_mode
def test_derivatives_in_reverse_and_forward_mode(generator):
    for loss, y, u in pairs(generator):
        args = (y.requires_grad_(), u.requires_grad_())
        assert gradcheck(loss, args, check_forward_ad=True)
        assert gradgradcheck(loss, args, check_fwd_over_rev=True)


def test_gradients_in_closed_form(generator):
    closed = {
        cross_entropy: lambda y, u: (torch.softmax(u, 1) - y, -torch.log_softmax(u, 1)),
        logistic: lambda y, u: (torch.sigmoid(u) - y, -u),
        squared_error: lambda y, u: (u - y, y - u),
    }
    for loss, y, u in pairs(generator):
        value = loss(y.requires_grad_(), u.requires_grad_()).sum()
        by_u, by_y = torch.autograd.grad(value, (u, y))
        expected_u, expected_y = closed[loss](y.detach(), u.detach())
        torch.testing.assert_close(by_u, expected_u)
        torch.testing.assert_close(by_y, expected_y)


@forward_mode
def test_a_forward_pass_gives_the_directional_derivative(generator):
    for loss, y, u in pairs(generator):
        direction = draws(u.shape, generator)
        with forward_ad.dual_level():
            dual = loss(y, forward_ad.make_dual(u, direction))
            tangent = forward_ad.unpack_dual(dual).tangent
        (gradient,) = torch.autograd.grad(loss(y, u.requires_grad_()).sum(), u)
        expected = (gradient * direction).reshape(N, -1).sum(1)
        torch.testing.assert_close(tangent, expected)


@given(st.floats(-1e4, 1e4), st.floats(0, 1))
def test_logistic_is_two_class_cross_entropy(u, y):
    u, y = torch.tensor([u], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)
    pair = torch.stack([1 - y, y], 1)
    torch.testing.assert_close(logistic(y, u), cross_entropy(pair, two_class_logits(u)))


@given(st.floats(-1e4, 1e4))
def test_cross_entropy_does_not_see_a_common_shift(shift):
    y = torch.tensor([[0.2, 0.8]], dtype=torch.float64)
    u = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    expected = cross_entropy(y, u)
    torch.testing.assert_close(cross_entropy(y, u + shift), expected, rtol=0, atol=1e-11)


@given(st.floats(0, 1))
def test_losses_are_affine_or_quadratic_in_the_target(weight):
    g = torch.Generator().manual_seed(0)
    for loss, y, u in pairs(g):
        other = y.flip(0)
        mixed = loss(weight * y + (1 - weight) * other, u)
        straight = weight * loss(y, u) + (1 - weight) * loss(other, u)
        if loss is squared_error:
            straight = straight - weight * (1 - weight) * squared_error(y, other)
        torch.testing.assert_close(mixed, straight, rtol=1e-12, atol=1e-12)


def test_empty_batches_have_no_values():
    for loss in (cross_entropy, logistic, squared_error):
        assert loss(torch.empty(0, 3), torch.empty(0, 3)).shape == (0,)


def test_probabilities_of_one_and_of_several_logits():
    one = torch.tensor([0.0, 1e4, -1e4])
    expected = torch.tensor([[0.5, 0.5], [0.0, 1.0], [1.0, 0.0]])
    assert torch.equal(probabilities(one), expected)
    assert torch.equal(probabilities(one.unsqueeze(1)), expected)
    several = torch.randn(4, 3)
    assert torch.equal(probabilities(several), torch.softmax(several, 1))


def test_losses_by_name_and_as_functions():
    for loss in (cross_entropy, logistic, squared_error):
        assert resolve_loss(loss.__name__) is loss
        assert resolve_loss(loss) is loss


# Mixed batches, in pair and in dense form


def mixed(y, num_classes, generator, **options):
    x = torch.zeros(len(y), 1, dtype=torch.float64)
    return Mixup(Beta(1.0), num_classes, generator=generator, **options)(x, y)


WEIGHTS = torch.tensor([1.0, 30.0, 2.0, 0.5], dtype=torch.float64)


def by_hand(loss, outputs, batch):
    """Each pair apart, by PyTorch's own loss of one example: values, and what its mean counts."""
    total, count = 0.0, 0.0
    for i, (w, j) in enumerate(zip(batch.weight.tolist(), batch.partner.tolist(), strict=True)):
        for share, k in ((w, i), (1 - w, j)):
            y = batch.labels[k : k + 1]
            total += share * loss(outputs[i : i + 1], y).sum().item()
            kept = y[y != loss.ignore_index] if isinstance(loss, nn.CrossEntropyLoss) else y
            class_weight = getattr(loss, "weight", None)
            counted = kept.numel() if class_weight is None else class_weight[kept].sum().item()
            count += share * counted
    return total, count


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["plain", "class weights"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(N,), (N, 3, 2)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_pairs_of_class_indices_count_as_pytorch_counts(
    weight, smoothing, shape, reduction, generator
):
    y = torch.randint(C, shape, generator=generator)
    y[0] = -100
    batch = mixed(y, C, generator, ignore_index=-100)
    outputs = draws((N, C, *shape[1:]), generator)
    loss, each = (
        nn.CrossEntropyLoss(weight, label_smoothing=smoothing, reduction=r)
        for r in (reduction, "none")
    )
    total, count = by_hand(each, outputs, batch)
    value = mixed_loss(loss, outputs, batch)
    assert value.shape == (shape if reduction == "none" else ())
    expected = total / count if reduction == "mean" else total
    assert value.sum().item() == pytest.approx(expected, rel=1e-12)
    assert loss.reduction == reduction


def test_the_dense_form_of_losses_linear_in_the_label_is_the_pair_form(generator):
    y, u = torch.randint(C, (N,), generator=generator), draws((N, C), generator)
    hot = nn.functional.one_hot(y, C).double()
    index, soft = mixed(y, C, generator), mixed(hot, C, generator)
    cases = [
        (nn.CrossEntropyLoss(), index, cross_entropy(index.targets, u)),
        (nn.CrossEntropyLoss(), soft, cross_entropy(soft.targets, u)),
        (
            nn.CrossEntropyLoss(WEIGHTS),
            index,
            cross_entropy(index.targets, u, class_weights=WEIGHTS),
        ),
        (nn.BCEWithLogitsLoss(), soft, logistic(soft.targets, u) / C),
    ]
    for loss, batch, dense in cases:
        torch.testing.assert_close(mixed_loss(loss, u, batch), dense.mean())


def test_the_mean_over_examples_of_a_divergence(generator):
    """`batchmean` divides by examples alone."""
    y, u = (torch.softmax(draws((N, C), generator), 1) for _ in range(2))
    batch = mixed(y, C, generator)
    other, w = y[batch.partner], batch.weight.unsqueeze(1)
    each = w * y * (y / u).log() + (1 - w) * other * (other / u).log()
    value = mixed_loss(nn.KLDivLoss(reduction="batchmean"), u.log(), batch)
    torch.testing.assert_close(value, each.sum() / N)


def test_the_squared_error_of_pairs_exceeds_the_dense_one_by_the_spread_of_the_labels(generator):
    y, u = draws((N, 2), generator), draws((N, 2), generator)
    batch = mixed(y, None, generator)
    spread = (y - y[batch.partner]).square().sum(1) * batch.weight * (1 - batch.weight)
    pair = mixed_loss(lambda u, y: (u - y).square().sum(1), u, batch)
    torch.testing.assert_close(pair, 2 * squared_error(batch.targets, u) + spread)
