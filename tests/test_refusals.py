"""What every function refuses at its border: what was expected, what came, and how to mend it."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mixreg
from mixreg import (
    ApproximateMixupLoss,
    Beta,
    CheckpointError,
    Constant,
    MixregError,
    Mixup,
    RescaledModel,
    TrainingStatistics,
    Uniform,
    apply_temperature,
    cross_entropy,
    dense_targets,
    entropy_inequality,
    fit_temperature,
    law_from_dict,
    linear_mixup_risk,
    logistic,
    mix,
    mixed_accuracy,
    mixed_loss,
    mixture,
    perturb,
    perturbation_covariances,
    shrink,
    squared_error,
    unshrink,
)
from mixreg.covariance import Whitening
from mixreg.curvature import directional_derivatives
from mixreg.entropy import fit_linear_softmax
from mixreg.laws import Mixture
from mixreg.losses import resolve_loss
from mixreg.pairing import draw_independent_partners, paired_targets
from mixreg.perturbation import modified, perturbation
from mixreg.recipes import scheduled

X, Y = torch.linspace(-1, 1, 12).reshape(4, 3), torch.tensor([0, 1, 1, 0])
SOFT, HALF, NEXT = torch.eye(2)[Y], torch.full((4,), 0.5), torch.tensor([1, 2, 3, 0])
MEAN, NAN, INDEX, LAW = torch.zeros(3).double(), float("nan"), torch.arange(4), Beta(1.0)
STATS = TrainingStatistics.from_tensors(X, Y, 2)
ONE_LOGIT = TrainingStatistics.from_tensors(X, Y.float())
VALUES = TrainingStatistics.from_tensors(X, 5 * X)
MIXUP = Mixup(LAW, 2)
BATCH = MIXUP(X, Y)
NET = nn.Linear(3, 2)


def g():
    return torch.Generator().manual_seed(0)


def encoded(text):
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def at(x, value):
    """`x` with another entry in row 1."""
    return x.clone().index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(value))


def mixed(**changed):
    return mix(**{"x": X, "y": SOFT, "weight": HALF, "partner": NEXT, **changed})


def measured(x, y, classes=2):
    return TrainingStatistics.from_loader([(X, Y), (x, y)], classes)


def statistics(**changed):
    return TrainingStatistics(**{"x_mean": MEAN, "y_mean": MEAN, "count": 3, **changed})


def rescaled(stats=STATS, link="softmax", net=NET):
    return RescaledModel(net, stats, LAW, link)


def loss(x=X, y=Y, net=NET, **options):
    return ApproximateMixupLoss(options.pop("stats", STATS), LAW, **options)(net, x, y)


def weights(shape):
    return linear_mixup_risk(torch.zeros(shape), torch.zeros(2), X, SOFT, LAW)


def theta(theta, partner):
    return perturbation(X, SOFT, X[0], SOFT[0], LAW, theta=theta, partner=partner)


ALPHA, ENDS = "alpha must be a positive finite number", "need 0 <= low < high <= 1"
WEIGHT, CHANCE = r"weight must lie in \[0, 1\]", r"probability must lie in \[0, 1\]"
REAL, DICT = "must be a real number", "values of a mixing law"
CASES = {
    "laws": [
        *((lambda a=a: Beta(a), ValueError, ALPHA) for a in (0.0, -1.0, NAN, math.inf)),
        *((lambda a=a: Beta(a), TypeError, f"alpha {REAL}") for a in ("1", None, True, 1j, X)),
        *(
            (lambda e=e: Uniform(*e), ValueError, ENDS)
            for e in ((0.5, 0.5), (0.6, 0.4), (-0.1, 1), (0, 1.1), (NAN, 1))
        ),
        *((lambda w=w: Constant(w), ValueError, WEIGHT) for w in (-0.1, 1.1, NAN, math.inf)),
        *(
            (lambda p=p: LAW.with_probability(p), ValueError, CHANCE)
            for p in (-0.1, 1.1, NAN, math.inf)
        ),
        *(
            (lambda p=p: LAW.with_probability(p), TypeError, f"probability {REAL}")
            for p in ("0.5", None, True, HALF)
        ),
        *(
            (lambda p=p: mixture([(p, LAW), (0.5, LAW)]), TypeError, f"probability {REAL}")
            for p in ("0.5", None, True, HALF)
        ),
        *(
            (lambda p=p: mixture([(w, LAW) for w in p]), ValueError, "sum to 1|one probability")
            for p in ((0.5, 0.6), (1.5, -0.5), (NAN, 1.0), ())
        ),
        (lambda: Mixture((1.0,), (LAW, LAW)), ValueError, "one probability for each law"),
        (lambda: mixture([(1.0, "beta")]), TypeError, r"laws such as Beta\(1.0\), got 'beta'"),
        (lambda: LAW.quadrature(0), ValueError, "at least one node, got order=0"),
        *(
            (lambda d=d: law_from_dict(d), ValueError, DICT)
            for d in ({}, {"law": "normal"}, {"law": "beta"}, [], None)
        ),
    ],
    "labels": [
        (lambda: labels([0, 3]), ValueError, r"0\.\.2 for num_classes=3, got values from 0 to 3"),
        (lambda: labels([-1, 0]), ValueError, "got values from -1 to 0"),
        (lambda: labels([-100, 0], torch.int16), ValueError, "got values from -100"),
        (lambda: labels([0, 65535], torch.uint16), ValueError, "to 65535"),
        (lambda: labels([0, 1], classes=None), TypeError, r"need num_classes.*use y\.float\(\)"),
        (lambda: labels([0.0, 1.0]), TypeError, r"got torch.float32; use y\.long\(\)"),
        (lambda: labels([[0.5, 0.5]]), ValueError, r"\(n, 3\) for num_classes=3, got \(1, 2\)"),
        (lambda: labels([[[0.5] * 3]]), ValueError, r"got \(1, 1, 3\)"),
        (lambda: labels([[0], [2]]), ValueError, r"\(n,\), got \(2, 1\); use y\.squeeze\(1\)"),
        (lambda: labels([[0.0]]), ValueError, r"got \(1, 1\);.* y\.squeeze\(1\)\.long\(\)"),
        (lambda: labels([[0, 1, 1]]), ValueError, r"soft or multi-hot labels use y\.float\(\)"),
        (lambda: labels([[[0, 1]]]), ValueError, "maps of classes use one_hot.*movedim"),
        (lambda: labels([True, False]), TypeError, "boolean labels are ambiguous"),
        (lambda: labels([1j], classes=None), TypeError, "got torch.complex64"),
        (lambda: labels(1), ValueError, "batch dimension"),
        (lambda: labels([0], classes=0), ValueError, "num_classes must be at least 1, got 0"),
        (lambda: labels([0], classes=2.0), TypeError, "must be an integer or None, got 2.0"),
        (lambda: labels([0], classes=True), TypeError, "must be an integer or None, got True"),
    ],
    "inputs": [
        (lambda: mixed(x=X.byte()), TypeError, r"torch.uint8; .* pixels .* x\.float\(\) / 255"),
        (lambda: MIXUP(X.short(), Y), TypeError, r"sound .* x\.float\(\) / 32768"),
        (lambda: MIXUP(X.long(), Y), TypeError, "token ids cannot be averaged, so pass embeddings"),
        (lambda: MIXUP(X, Y[:3]), ValueError, r"one row an example, got shapes \(4, 3\) and \(3,"),
        (lambda: MIXUP(torch.tensor(1.0), Y), ValueError, "one row an example"),
        (lambda: MIXUP(X[:0], Y[:0]), ValueError, r"at least one example, got inputs \(0, 3\)"),
        (lambda: MIXUP(X, Y.to("meta")), ValueError, "on one device, got cpu and meta"),
    ],
    "Mixup": [
        (lambda: MIXUP(X, Y + 1), ValueError, r"0\.\.1 for num_classes=2"),
        (lambda: MIXUP.transform(X, Y + 1), ValueError, r"0\.\.1 for num_classes=2"),
        (lambda: MIXUP.transform(X, Y, X), TypeError, "one batch that holds both, got 3 values"),
        (lambda: MIXUP(X, Y.float()), TypeError, r"use y\.long\(\)"),
        (lambda: MIXUP(X, torch.ones(4, 3)), ValueError, r"soft labels must have shape \(n, 2\)"),
        (lambda: MIXUP(X, Y.unsqueeze(1)), ValueError, r"must have shape \(n,\)"),
        (lambda: Mixup(LAW)(X, Y), TypeError, "need num_classes"),
        (lambda: Mixup(LAW, per="element"), ValueError, "'sample' or 'batch', got 'element'"),
        (lambda: Mixup(LAW, 0), ValueError, "num_classes must be at least 1, got 0"),
        (lambda: Mixup(LAW, 10.0), TypeError, "num_classes must be an integer"),
        (lambda: Mixup(1.0), TypeError, r"law must be a mixing law such as Beta\(1.0\), got 1.0"),
        (lambda: Mixup(LAW, generator=3), TypeError, "must be a torch.Generator, got 3"),
        *(
            (
                lambda n=n: setattr(MIXUP, n, 0),
                AttributeError,
                f"no setting '{n}' to change; .* set",
            )
            for n in ("mixup_enabled", "per")  # the first is timm's, and obeyed by `transform`
        ),
        (lambda: setattr(MIXUP, "law", 1.0), TypeError, "law must be a mixing law"),
        (lambda: Mixup(LAW, 2, ignore_index=0.5), TypeError, "ignore_index must be an integer or"),
        (lambda: MIXUP([X, Y], Y), TypeError, "token ids cannot be averaged"),
        (lambda: MIXUP([X, X[:3]], Y), ValueError, "one row an example"),
        (lambda: MIXUP({"x": X, "name": "a"}, Y), TypeError, "a nest of them, got str; use torch"),
        (lambda: MIXUP([], Y), ValueError, "the nest holds no tensor"),
        (lambda: MIXUP([X], Y, out=X), TypeError, "a buffer for one tensor"),
        (lambda: MIXUP(X.byte(), Y, out=X), TypeError, "a buffer for one tensor"),
        (lambda: MIXUP(X, Y.view(4, 1, 1) + 2), ValueError, r"0\.\.1 .* from 2 to 3"),
        (lambda: Mixup(LAW)(X, Y.view(4, 1, 1)), TypeError, "need num_classes=...$"),
        (
            lambda: Mixup(LAW, 2, ignore_index=9)(X, 10 * Y.clamp(max=0) + 5),
            ValueError,
            "from 5 to 5",
        ),
        *(
            (lambda b=b, p=p: Mixup(LAW, 2, **p).transform(b), error, message)
            for b, p, error, message in (
                ({"x": X, "y": Y}, {}, TypeError, "got dict of 'x', 'y'; .* with labels=..."),
                ((X, Y, X), {}, TypeError, "only pairs .* got 3 parts; name inputs and labels"),
                (
                    {"x": X, "y": Y},
                    {"labels": "z"},
                    ValueError,
                    "labels='z' is no part .* 'x', 'y'",
                ),
                ((X, Y), {"labels": 2}, ValueError, "labels=2 is no part of the batch, tuple of 2"),
                ({"x": X, "y": [0]}, {"labels": "y"}, TypeError, "labels must be a torch.Tensor"),
                (
                    {"x": X, "path": "a", "y": Y},
                    {"labels": "y"},
                    TypeError,
                    "got str; name the inputs with inputs=...",
                ),
                ({"ids": Y, "y": Y.clone()}, {"labels": "y"}, TypeError, "token ids cannot"),
                (
                    {"x": X, "y": Y},
                    {"labels": "y", "inputs": lambda b: b["x"] + 1},
                    ValueError,
                    "of the batch itself, not made from them",
                ),
            )
        ),
        (lambda: MIXUP.collate([(X[0], [0, 1])] * 2), TypeError, r"each sample, got \[0, 1\]"),
        (lambda: MIXUP.collate([(X[0], 0, 1)] * 2), TypeError, r"pairs \(x, y\).*, got tuple of 3"),
        (lambda: MIXUP.collate([{"x": X[0], "y": 0}]), TypeError, "got dict of 2; say where the l"),
    ],
    "buffers": [
        (lambda: MIXUP(X, Y, out=X[:, :2]), ValueError, r"like the inputs, \(4, 3\) torch.float32"),
        (lambda: MIXUP(X, Y, out=X.double()), ValueError, "got .* torch.float64 on cpu"),
        (lambda: MIXUP(X, Y, out=X.to("meta")), ValueError, "on meta"),
        (lambda: MIXUP(X, Y, out=X), ValueError, "must not share memory"),
        (lambda: MIXUP(X, Y, out=X.view(-1).view(4, 3)), ValueError, "must not share memory"),
        (lambda: MIXUP(learnt(X), Y, out=X.clone()), ValueError, "require gradients; leave it out"),
        (lambda: MIXUP(X, Y, out=learnt(X)), ValueError, "out must not require gradients"),
    ],
    "mix": [
        (lambda: mixed(y=Y), TypeError, "targets must be floating point, got torch.int64.*dense_t"),
        (lambda: mixed(x=X.long()), TypeError, "inputs must be floating point"),
        (lambda: mixed(y=SOFT[:3]), ValueError, "one row an example"),
        (lambda: mixed(weight=HALF[:3]), ValueError, r"shape \(4,\), got \(3,\) and \(4,\)"),
        (lambda: mixed(weight=torch.tensor(0.5)), ValueError, r"got \(\) and \(4,\)"),
        (lambda: mixed(weight=HALF + 1), ValueError, r"weights must lie in \[0, 1\]"),
        (lambda: mixed(weight=HALF * NAN), ValueError, r"weights must lie in \[0, 1\]"),
        (lambda: mixed(weight=[0.5] * 4), TypeError, "weights must be a torch.Tensor, got list"),
        (lambda: mixed(partner=NEXT + 1), ValueError, r"partners must lie in 0\.\.3"),
        (lambda: mixed(partner=NEXT - 1), ValueError, r"partners must lie in 0\.\.3"),
        (lambda: mixed(partner=NEXT.float()), TypeError, "integer indices, got torch.float32"),
        (lambda: mixed(partner=NEXT * 1j), TypeError, "integer indices, got torch.complex64"),
        (lambda: mixed(partner=NEXT > 0), TypeError, "integer indices, got torch.bool"),
        (lambda: mixed_accuracy(SOFT, SOFT, BATCH), TypeError, r"class indices, got .*argmax\(1\)"),
        (lambda: mixed_accuracy(SOFT[:3], Y, BATCH), ValueError, r"got \(3, 2\) and \(4,\)"),
        (lambda: mixed_accuracy(HALF, Y, BATCH), ValueError, r"got \(4,\) and \(4,\)"),
        (lambda: mixed_accuracy(SOFT, SOFT[:, :1].long(), BATCH), ValueError, r"and \(4, 1\)"),
    ],
    "partners": [
        (lambda: paired_targets(X[:1], Y[:1], STATS), ValueError, "at least 2 examples, got 1"),
        (lambda: paired_targets(X.repeat(2, 1), Y.repeat(2), STATS), ValueError, "batch of 8 cann"),
        (lambda: paired_targets(X[:, :2], Y, STATS), ValueError, r"inputs of shape \(n, 3\)"),
        (lambda: paired_targets(X, X, STATS), ValueError, r"targets of shape \(n, 2\)"),
        (lambda: paired_targets(X, HALF, STATS), ValueError, r"targets of shape \(n, 2\)"),
        (lambda: paired_targets(X, Y + 1, STATS), ValueError, "lie in 0..1"),
        (lambda: paired_targets(X, Y, ONE_LOGIT), TypeError, r"use y.float\(\)"),
        (lambda: draw_independent_partners(2, 5, generator=g()), ValueError, "at least 3, got 2"),
    ],
    "statistics": [
        *(
            (lambda v=v: measured(at(X, v), Y), ValueError, "inputs must be finite.*4 to 7")
            for v in (NAN, math.inf, -math.inf)
        ),
        (lambda: measured(X, at(X, NAN), 3), ValueError, "labels must be finite"),
        (lambda: measured(X, Y + 1), ValueError, r"0\.\.1 for num_classes=2"),
        (lambda: measured(X, Y - 1), ValueError, "from -1 to 0"),
        (lambda: measured(X, X), ValueError, r"shape \(n, 2\)"),
        (lambda: measured(X, HALF), TypeError, r"use y\.long\(\)"),
        (lambda: measured(X[:, :2], Y), ValueError, r"inputs changed .* from \(3,\) to \(2,\)"),
        (lambda: measured(X[..., None], Y), ValueError, "inputs changed their shape"),
        (lambda: measured(X[:, :0], Y), ValueError, r"no entries, got shape \(4, 0\)"),
        (
            lambda: TrainingStatistics.from_loader([(X, SOFT), (X, SOFT[:, :1])]),
            ValueError,
            r"labels changed their shape from \(2,\) to \(1,\)",
        ),
        (lambda: TrainingStatistics.from_tensors(X, Y), TypeError, "need num_classes"),
        (lambda: TrainingStatistics.from_tensors(X[:0], Y[:0], 2), ValueError, "an empty loader"),
        *(
            (lambda b=b: TrainingStatistics.from_loader(b, 2), ValueError, "an empty loader")
            for b in ([], [(X[:0], Y[:0])])
        ),
        *(
            (lambda b=b: TrainingStatistics.from_loader([b], 2), TypeError, "must be")
            for b in (X, {"x": X, "y": Y}, (X,), (X, [0, 1, 1, 0]), (X.numpy(), Y))
        ),
        (
            lambda: TrainingStatistics.from_loader([{"a": X, "b": X, "y": Y}], 2, labels="y"),
            TypeError,
            "one tensor, got list of 2; name it with inputs=",
        ),
        (lambda: statistics(x_mean=MEAN.float()), ValueError, "must be float64, got torch.float32"),
        (lambda: statistics(x_mean=MEAN / 0), ValueError, "x_mean must be finite"),
        (lambda: statistics(y_mean=MEAN + math.inf), ValueError, "y_mean must be finite"),
        (lambda: statistics(y_mean=0.5), TypeError, "y_mean must be a float64 tensor, got float"),
        (lambda: statistics(count=0), ValueError, "count must be at least 1, got 0"),
        (lambda: statistics(count=2.5), TypeError, "count must be an integer, got 2.5"),
    ],
    "losses": [
        *(
            (lambda f=f: f(Y[:2], SOFT[:2]), TypeError, "got torch.int64; turn class indices into")
            for f in (cross_entropy, logistic, squared_error)
        ),
        *(
            (lambda f=f, s=s: f(*map(torch.rand, s)), ValueError, "must have the same shape, got")
            for f in (cross_entropy, logistic, squared_error)
            for s in (((4,), (4, 1)), ((4, 1), (4, 3)), ((4, 3), (1, 3)))
        ),
        (lambda: squared_error(HALF, Y), TypeError, "outputs must be floating point, got torch.i"),
        (lambda: squared_error(HALF[0], HALF[0]), ValueError, "batch dimension"),
        (lambda: cross_entropy(HALF, HALF), ValueError, r"needs logits of shape \(n, c\), got"),
        (lambda: cross_entropy(X[..., None], X[..., None]), ValueError, "needs logits of shape"),
        *(
            (lambda n=n: resolve_loss(n), ValueError, "known: cross_entropy, logistic, squared_err")
            for n in ("mse", 3, None)
        ),
        (lambda: resolve_loss("square_error"), ValueError, "did you mean 'squared_error'"),
    ],
    "losses of mixed batches": [
        (
            lambda: mixed_loss(nn.functional.cross_entropy, SOFT, BATCH),
            ValueError,
            "got shape \\(\\)",
        ),
        (lambda: mixed_loss(lambda u, _: u, SOFT[:3], BATCH), ValueError, "each of the 4 examples"),
        (lambda: mixed_loss(cross_entropy, SOFT, BATCH), TypeError, "call it with batch.targets"),
        (lambda: cross_entropy(SOFT, SOFT, class_weights=HALF), ValueError, r"shape \(2,\), got"),
        (lambda: scheduled([]), ValueError, "at least one epoch"),
    ],
    "perturbations": [
        (
            lambda: modified(X.long(), SOFT, X[0], SOFT[0], LAW),
            TypeError,
            "inputs must be floating",
        ),
        (lambda: modified(X, Y, X[0], SOFT[0], LAW), TypeError, "targets must be floating point"),
        (lambda: modified(X[:, :1], SOFT, X[0], SOFT[0], LAW), ValueError, r"inputs of .*\(4, 1\)"),
        (lambda: modified(X, SOFT[:3], X[0], SOFT[0], LAW), ValueError, "each input, got 3 for 4"),
        (lambda: theta(HALF[:3], NEXT), ValueError, r"theta and partner must have shape \(4,\)"),
        (lambda: perturbed("gausian"), ValueError, "did you mean 'gaussian'"),
        (lambda: perturbed(""), ValueError, "unknown perturbation"),
        (lambda: perturbed("gaussian", 1), ValueError, "drop_last=True"),
    ],
    "covariances": [
        (lambda: covariances(X[:1], SOFT[:1]), ValueError, "at least 2 samples, got 1"),
        (lambda: covariances(X[:3], SOFT), ValueError, "one target for each input, got 4 for 3"),
        (lambda: covariances(at(X, NAN), SOFT), ValueError, "infinity in sample 1"),
        (lambda: covariances(X, Y), TypeError, "targets must be floating point"),
        (
            lambda: covariances(X[:3], SOFT[:3], whitening=Whitening.from_data(X)),
            ValueError,
            r"whitening is of 4 vectors of length 3.*\(3, 3\)",
        ),
        (lambda: weights((3, 2)), ValueError, r"a weight \(c, d\), got .*\(3, 2\)"),
        (
            lambda: linear_mixup_risk(torch.zeros(2, 3), HALF, X, SOFT, LAW),
            ValueError,
            r"bias of shape \(2,\), got \(4,\)",
        ),
        (
            lambda: linear_mixup_risk(torch.zeros(2, 3), HALF[:2], X[:3], SOFT, LAW),
            ValueError,
            r"got \(3, 3\), \(4, 2\)",
        ),
    ],
    "entropies": [
        (lambda: entropies(SOFT, SOFT[:3]), ValueError, r"got \(3, 2\) for smoothed"),
        (lambda: entropies(3 * SOFT, SOFT), ValueError, "rows of plain must be probabilities"),
        (lambda: entropies(SOFT, SOFT, SOFT + 1), ValueError, "rows of y must be probabilities"),
        (lambda: fit_linear_softmax(X[:3], SOFT), ValueError, r"features \(n, d\) and labels \("),
    ],
    "temperature": [
        (lambda: fit_temperature(Y, Y), TypeError, "floating point, got torch.int64"),
        (lambda: fit_temperature(HALF, Y), ValueError, r"\(n, c\) with c >= 2, got \(4,\)"),
        (lambda: fit_temperature(X[:, :1], Y), ValueError, "single logit"),
        (lambda: fit_temperature(X, HALF), TypeError, "integer class indices, got torch.float32"),
        (lambda: fit_temperature(X, Y > 0), TypeError, "integer class indices"),
        (
            lambda: fit_temperature(X, HALF),
            TypeError,
            "values of a regression have no such",
        ),
        (lambda: fit_temperature(X, X.long()), ValueError, r"several labels take one at a time"),
        (lambda: fit_temperature(X[None], Y), ValueError, "several positions are so many rows"),
        (lambda: fit_temperature(X, Y[:3]), ValueError, r"shape \(4,\), one for each row"),
        (lambda: fit_temperature(X[:0], Y[:0]), ValueError, "at least one example"),
        (lambda: fit_temperature(at(X, NAN), Y), ValueError, "finite, but row 1"),
        (lambda: fit_temperature(X[:, :2], Y + 1), ValueError, r"0\.\.1 .* values from 1 to 2"),
        (lambda: fit_temperature(X, Y - 1), ValueError, "from -1 to 0"),
        *(
            (lambda t=t: apply_temperature(X, t), ValueError, "positive finite number")
            for t in (0.0, -1.0, NAN, math.inf)
        ),
        (lambda: apply_temperature(Y, 2.0), TypeError, r"floating point, got torch\.int64"),
    ],
    "prediction": [
        (lambda: rescaled(link="probit"), ValueError, "'sigmoid' or 'identity', got 'probit'"),
        (lambda: rescaled(ONE_LOGIT), ValueError, r"\(c,\) with c >= 2, got \(\); for one logit"),
        (lambda: rescaled(VALUES), ValueError, "that sum to 1, got 0; for multi-label targets use"),
        (lambda: rescaled(VALUES, "sigmoid"), ValueError, r"label means ȳ in \[0, 1\]; for regre"),
        (lambda: rescaled(net=nn.Linear(3, 5))(X), ValueError, r"\(n, 2\).*have shape \(4, 5\)"),
        (
            lambda: rescaled(STATS, "sigmoid", nn.Linear(3, 1))(X),
            ValueError,
            r"have shape \(4, 1\).*one logit: floating labels",
        ),
        (
            lambda: rescaled(ONE_LOGIT, "sigmoid")(X),
            ValueError,
            r"\(n, no further axis\).*\(4, 2\)",
        ),
        (
            lambda: rescaled(net=nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)))(X),
            ValueError,
            r"of shape \(n, c\), got \(4,\); for one logit use link='sigmoid'",
        ),
        (lambda: rescaled(net=nn.Unflatten(1, (3, 1)))(X), ValueError, r"got \(4, 3, 1\)"),
        *(
            (lambda x=x, f=f: f(x), error, message)
            for f in (rescaled(), lambda x: shrink(x, STATS.x_mean, LAW))
            for x, error, message in (
                (X[:, :2], ValueError, r"inputs of shape \(n, 3\), got \(4, 2\); measure them on"),
                (X[..., None], ValueError, r"got \(4, 3, 1\)"),
                (X[0], ValueError, r"got \(3,\)"),
                (torch.tensor(1.0), ValueError, r"got \(\)"),
                (X.byte(), TypeError, "inputs must be floating point, got torch.uint8; convert"),
            )
        ),
        (lambda: rescaled(net=Returning(lambda x: (x, x)))(X), TypeError, "got tuple; wrap the mo"),
        (lambda: rescaled(net=Returning(torch.Tensor.long))(X), TypeError, "tensor, got torch.int"),
        (lambda: unshrink(HALF, HALF, LAW), ValueError, r"targets of shape \(n, 4\)"),
        (lambda: unshrink(SOFT, SOFT[0], LAW, link="logit"), ValueError, "link must be"),
        (lambda: RescaledModel(NET, STATS, 1.0), TypeError, r"such as Beta\(1.0\), got 1.0"),
        *(
            (lambda s=s: restored(_extra_state=s), CheckpointError, "no law and link of a Rescaled")
            for s in (
                None,
                *map(encoded, ("", "{}", "[1]", '{"law": {"law": "cauchy"}, "link": "softmax"}')),
            )
        ),
        (lambda: restored(x_mean=torch.zeros(5)), RuntimeError, "size mismatch for x_mean"),
    ],
    "derivatives": [
        *(
            (lambda f=f, s=s: derivatives(f, s), error, message)
            for s in (False, True)
            for f, error, message in (
                (torch.Tensor.detach, MixregError, "detaches"),
                (lambda x: torch.zeros(len(x), 2), MixregError, "does not use them"),
                (lambda x: (x, x), TypeError, "one tensor of outputs, got tuple"),
            )
        ),
        (torch.inference_mode()(lambda: derivatives(NET, False)), MixregError, "no_grad"),
    ],
    "approximate loss": [
        (lambda: loss(directions=3), ValueError, "directions must be 1 or 2, got 3"),
        (lambda: loss(loss="crossentropy"), ValueError, "cross_entropy"),
        (
            lambda: loss(stats=TrainingStatistics.from_tensors(X[:1], Y[:1], 2)),
            ValueError,
            "describe one example",
        ),
        (lambda: loss(stats=ONE_LOGIT), ValueError, r"y_mean of shape \(c,\), got \(\)"),
        (
            lambda: loss(stats=TrainingStatistics.from_tensors(X, 0 * SOFT + 0.7)),
            ValueError,
            r"mean label of the statistics must sum to one, got 1\.4",
        ),
        (lambda: loss(X[:1], Y[:1]), ValueError, "at least 2 examples, got 1; use drop_last=True"),
        (lambda: loss(X.int()), TypeError, "inputs must be floating point, got torch.int32"),
        (lambda: loss(X[:, :2]), ValueError, r"inputs of shape \(n, 3\), got \(4, 2\)"),
        (lambda: loss(y=SOFT + INDEX[:, None]), ValueError, "must sum to one, got 7 in row 3"),
        (lambda: loss(y=Y.float()), ValueError, r"targets of shape \(n, 2\), got \(4,\)"),
        (lambda: loss(y=Y + 1), ValueError, "lie in 0..1"),
        *(
            (lambda f=f, s=s: loss(net=f, second_order=s), error, message)
            for s in (False, True)
            for f, error, message in (
                (nn.Linear(3, 3), ValueError, r"same shape, got \(4, 3\) and \(4, 2\)"),
                (nn.Sequential(NET, nn.Unflatten(1, (2, 1))), ValueError, "flatten or pool its"),
                (lambda x: x[:2, :2] * 1, ValueError, "for 4 samples"),
                (lambda x: (x, x), TypeError, "one tensor of outputs, got tuple"),
                (lambda x: torch.cdist(x, x), MixregError, "_cdist_forward has no usable forward"),
            )
        ),
        *(
            (lambda f=f: loss(net=lambda x: NET(x) * at(X, NAN)[:, 2:], loss=f), error, message)
            for f, error, message in (
                ("cross_entropy", MixregError, "returned NaN or infinity for sample 1 of the bat"),
                (lambda y, u: (y - u).square().sum(1), MixregError, "NaN or infinity for sample 1"),
            )
        ),
        (lambda: loss(net=kinked), MixregError, "of net is NaN or infinity for sample 3"),
        *(
            (lambda f=f: loss(loss=f), ValueError, message)
            for f, message in (
                (lambda y, u: (y - u).abs().sum(1), "piecewise linear"),
                (lambda y, u: torch.relu(1 - y * u).sum(1), "piecewise linear"),
                (lambda y, u: (u.argmax(1) != y.argmax(1)).float(), "no derivative in the outputs"),
                (lambda y, u: (y - u).square().mean(), "one value for each sample"),
            )
        ),
        (lambda: ApproximateMixupLoss(STATS, LAW).terms, MixregError, "before its first call"),
    ],
}


def labels(y, dtype=None, classes=3):
    return dense_targets(torch.tensor(y, dtype=dtype), classes, dtype=torch.float32)


def learnt(x):
    return x.clone().requires_grad_()


def perturbed(kind, n=4):
    return perturb(X[:n], Y[:n], STATS, LAW, kind, generator=g())


def covariances(x, y, **options):
    return perturbation_covariances(x, y, LAW, **options)


def entropies(plain, smoothed, y=SOFT):
    return entropy_inequality(plain, smoothed, y, LAW)


def derivatives(net, second_order):
    return directional_derivatives(net, X, X, second_order=second_order)


def restored(**changed):
    model = rescaled()
    return model.load_state_dict(model.state_dict() | changed)


def kinked(x):
    """√‖x − x̃‖² with a kink at the one sample to which nothing is added under the root."""
    distance = (x - x.detach()).square().sum(1, keepdim=True)
    return NET(x) + (distance + (INDEX != 3).unsqueeze(1)).sqrt()


class Returning(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param(*case, id=f"{kind}-{case[2]}")
        for kind, cases in CASES.items()
        for case in cases
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


CALLS = {
    "mix": lambda x, y: mix(x, y, HALF, NEXT),
    "Mixup": Mixup(LAW, 2),
    "from_tensors": lambda x, y: TrainingStatistics.from_tensors(x, y, 2),
    "perturb": lambda x, y: perturb(x, y, STATS, LAW, "mixup", generator=g()),
    "modified": lambda x, y: modified(x, y, X[0], SOFT[0], LAW),
    "covariances": covariances,
    "cross_entropy": cross_entropy,
    "loss": loss,
    "risk": lambda x, y: mixreg.mixup_risk(NET, x, y, "cross_entropy", LAW),
    "linear risk": lambda x, y: linear_mixup_risk(torch.ones(2, 3), SOFT[0], x, y, LAW),
    "temperature": fit_temperature,
    "entropies": lambda x, y: mixreg.proposition_one(x, y, LAW),
}
CONTAINERS = {
    "NumPy": (np.asarray, r"must be a torch\.Tensor.*, got numpy\.ndarray; use torch\.as_tensor"),
    "list": (torch.Tensor.tolist, r"must be a torch\.Tensor.*, got (list|float); use torch\."),
    "nested": (
        lambda t: torch.nested.nested_tensor([*t], layout=torch.strided),
        r"must be an ordinary tensor, got a nested one; use .*to_padded_tensor\(0\.0\)",
    ),
    "quantised": (
        lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
        r"must be an ordinary tensor, got a quantised one; use .*dequantize\(\)",
    ),
    "sparse": (torch.Tensor.to_sparse, r"must be dense, got torch\.sparse_coo; use .*to_dense\(\)"),
}


@pytest.mark.filterwarnings("ignore:(The PyTorch API of nested|torch.quantize_per_tensor)")
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", CALLS)
def test_other_containers(name, container):
    convert, message = CONTAINERS[container]
    for x, y in ((convert(X), SOFT), (X, convert(SOFT))):
        with pytest.raises(TypeError, match=message):
            CALLS[name](x, y)


@pytest.mark.parametrize(
    ("x", "y", "error"),
    [(X.long(), Y, TypeError), (X, Y + 2, ValueError), (X, Y[:2], ValueError)],
)
def test_refused_batches_draw_nothing(x, y, error):
    mixer, untouched = (Mixup(LAW, 2, generator=g()) for _ in range(2))
    with pytest.raises(error):
        mixer(x, y)
    assert torch.equal(mixer(X, Y).inputs, untouched(X, Y).inputs)


def test_a_refused_state_leaves_the_law_alone():
    model = rescaled()
    with pytest.raises(CheckpointError):
        model.load_state_dict(model.state_dict() | {"_extra_state": None})
    assert model.law == LAW


def test_finiteness_and_label_sums_are_not_looked_at_where_not_wanted():
    assert loss(net=lambda x: NET(x) * NAN, check=False).isnan()
    assert loss(y=0 * SOFT + 0.9, check=False).isfinite()


def test_second_derivatives_without_a_gradient():
    class Renormed(nn.Linear):
        def forward(self, x):
            return torch.renorm(super().forward(x), 2, 0, 0.5)

    with pytest.raises(MixregError, match=r"cannot differentiate .* of net \(.*second_order=False"):
        loss(net=Renormed(3, 2), second_order=True)
    loss(net=Renormed(3, 2)).backward()


def test_networks_that_end_in_a_softmax_draw_one_warning():
    model = rescaled(net=nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)))
    with pytest.warns(UserWarning, match="as probabilities do; this needs logits") as caught:
        model(X), model(X)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    rescaled(net=nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1)))(X)
