"""Batches and settings that mixing refuses, each with what came and what to do."""

import pytest
import torch

from mixreg import Beta, Mixup, mix, mixed_accuracy

X, Y = torch.linspace(0, 1, 12).reshape(4, 3), torch.tensor([0, 1, 2, 1])
MIXUP = Mixup(Beta(1.0), num_classes=3, generator=torch.Generator().manual_seed(0))
SOFT, HALF, NEXT = torch.full((4, 3), 1 / 3), torch.full((4,), 0.5), torch.tensor([1, 2, 3, 0])


def message_alone(value):
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X.mul(255).byte(), Y, TypeError, r"got torch.uint8; convert .* x\.float\(\) / 255"),
        (X.long(), Y, TypeError, "inputs must be floating point, got torch.int64"),
        (X, Y[:3], ValueError, r"one row an example, got shapes \(4, 3\)"),
        (X[:0], Y[:0], ValueError, r"at least one example, got inputs \(0, 3\)"),
        (torch.tensor(1.0), Y, ValueError, "one row an example"),
        (X, torch.tensor([0, 1, 2, 3]), ValueError, r"0\.\.2 for num_classes=3"),
        (X, Y.float(), TypeError, r"use y\.long\(\)"),
        (X, torch.ones(4, 2), ValueError, r"soft labels must have shape \(n, 3\)"),
        (X, Y.unsqueeze(1), ValueError, r"class indices must have shape \(n,\)"),
        (X, Y.to("meta"), ValueError, "on one device, got cpu and meta"),
    ],
    ids=message_alone,
)
def test_refused_batches(x, y, error, message):
    with pytest.raises(error, match=message):
        MIXUP(x, y)
    if "index" not in message:
        with pytest.raises(error):
            MIXUP.transform(x, y)


def test_class_indices_without_their_number():
    with pytest.raises(TypeError, match="need num_classes"):
        Mixup(Beta(1.0))(X, Y)


@pytest.mark.parametrize(
    ("x", "y", "error"),
    [(X.byte(), Y, TypeError), (X, Y + 2, ValueError), (X, Y[:2], ValueError)],
)
def test_refusals_draw_nothing(x, y, error):
    mixup, untouched = (
        Mixup(Beta(1.0), 3, generator=torch.Generator().manual_seed(0)) for _ in range(2)
    )
    with pytest.raises(error):
        mixup(x, y)
    assert torch.equal(mixup(X, Y).inputs, untouched(X, Y).inputs)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"per": "element"}, ValueError, "per must be 'sample' or 'batch', got 'element'"),
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1, got 0"),
        ({"num_classes": 10.0}, TypeError, "num_classes must be an integer"),
        ({"law": 1.0}, TypeError, r"law must be a mixing law such as Beta\(1.0\), got 1.0"),
        ({"generator": 3}, TypeError, "generator must be a torch.Generator, got 3"),
    ],
    ids=message_alone,
)
def test_refused_settings(arguments, error, message):
    with pytest.raises(error, match=message):
        Mixup(**{"law": Beta(1.0), **arguments})


@pytest.mark.parametrize("name", ["mixup_enabled", "law", "alpha"])
def test_settings_that_would_be_ignored(name):
    """Such as timm's switch for the last epochs."""
    with pytest.raises(AttributeError, match=f"no setting '{name}' to change; to stop mixing"):
        setattr(MIXUP, name, False)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([(X[0], [0, 1]), (X[1], [2, 0])], r"one number or tensor for each sample, got \[0, 1\]"),
        ([(X[0], 0, "a.png"), (X[1], 2, "b.png")], r"pairs \(x, y\).*, got tuple of 3"),
        ([{"x": X[0], "y": 0}, {"x": X[1], "y": 1}], "got dict of 2; write a collate_fn"),
    ],
    ids=message_alone,
)
def test_refused_samples(samples, message):
    with pytest.raises(TypeError, match=message):
        MIXUP.collate(samples)


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (X, torch.empty(4, 2), r"out must be like the inputs, \(4, 3\) torch.float32"),
        (X, torch.empty(4, 3, dtype=torch.float64), "got .* torch.float64 on cpu"),
        (X, torch.empty(4, 3, device="meta"), "on meta"),
        (X, X, "must not share memory"),
        (X, X.view(-1).view(4, 3), "must not share memory"),
        (X.clone().requires_grad_(), torch.empty(4, 3), "require gradients; leave it out"),
        (X, torch.empty(4, 3, requires_grad=True), "out must not require gradients"),
    ],
    ids=message_alone,
)
def test_refused_buffers(x, out, message):
    with pytest.raises(ValueError, match=message):
        MIXUP(x, Y, out=out)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"y": Y}, TypeError, r"targets must be floating point, got torch.int64.*dense_targets"),
        ({"x": X.long()}, TypeError, "inputs must be floating point"),
        ({"y": SOFT[:3]}, ValueError, "one row an example"),
        ({"weight": HALF[:3]}, ValueError, r"must have shape \(4,\), got \(3,\) and \(4,\)"),
        ({"weight": torch.tensor(0.5)}, ValueError, r"got \(\) and \(4,\)"),
        ({"weight": HALF + 1}, ValueError, r"weights must lie in \[0, 1\]"),
        ({"weight": HALF * torch.nan}, ValueError, r"weights must lie in \[0, 1\]"),
        ({"partner": NEXT + 1}, ValueError, r"partners must lie in 0\.\.3"),
        ({"partner": NEXT - 1}, ValueError, r"partners must lie in 0\.\.3"),
        ({"partner": NEXT.float()}, TypeError, "integer indices, got torch.float32"),
        ({"partner": NEXT * 1j}, TypeError, "integer indices, got torch.complex64"),
        ({"partner": NEXT > 0}, TypeError, "integer indices, got torch.bool"),
    ],
    ids=message_alone,
)
def test_refused_pairings(changed, error, message):
    with pytest.raises(error, match=message):
        mix(**{"x": X, "y": SOFT, "weight": HALF, "partner": NEXT, **changed})


@pytest.mark.parametrize(
    ("logits", "y", "error", "message"),
    [
        (SOFT, SOFT, TypeError, r"needs class indices, got torch.float32; use y\.argmax\(1\)"),
        (SOFT[:3], Y, ValueError, r"got \(3, 3\) and \(4,\)"),
        (SOFT[:, 0], Y, ValueError, r"got \(4,\) and \(4,\)"),
        (SOFT, Y.unsqueeze(1), ValueError, r"got \(4, 3\) and \(4, 1\)"),
    ],
    ids=message_alone,
)
def test_refused_accuracies(logits, y, error, message):
    with pytest.raises(error, match=message):
        mixed_accuracy(logits, y, MIXUP(X, Y))
