"""Every function that takes a batch × inputs and labels of every kind: right, or refused by us."""

import traceback
from pathlib import Path

import pytest
import torch

import mixreg
from mixreg import Beta, MixregError, Mixup, RescaledModel, TrainingStatistics
from mixreg.evaluation import Predictions, evaluate
from mixreg.losses import cross_entropy, logistic, squared_error

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{words}")
    for words in ("inputs range over", "the held-out", ".*prototype", ".*deprecated")
]
N, C = 6, 3
Y = torch.arange(N) % C
SOFT = torch.eye(C)[Y]
X = torch.linspace(-1, 1, N * C).reshape(N, C) ** 3 + SOFT
LAW = Beta(1.0)
NET = torch.nn.Linear(C, C)
STATS = TrainingStatistics.from_tensors(X, Y, C)


def seeded():
    return torch.Generator().manual_seed(5)


def evaluated(x, y):
    mean = torch.full((C,), 1 / C)
    results = evaluate(None, Predictions(x, x, y), y_mean=mean, law=LAW).results
    return torch.tensor([results["raw"].metrics.nll, results["raw"].metrics.ece])


CALLS = {
    "Mixup": (lambda x, y: Mixup(LAW, C, generator=seeded())(x, y).inputs, Y),
    "transform": (lambda x, y: Mixup(LAW, C, generator=seeded()).transform(x, y)[1], Y),
    "mix": (lambda x, y: mixreg.mix(x, y, torch.full((N,), 0.3), (Y + 1)).inputs, SOFT),
    "from_tensors": (lambda x, y: TrainingStatistics.from_tensors(x, y, C).x_mean, Y),
    "from_loader": (lambda x, y: TrainingStatistics.from_loader([(x, y)], C).y_mean, Y),
    "cross_entropy": (cross_entropy, SOFT),
    "logistic": (logistic, SOFT),
    "squared_error": (squared_error, SOFT),
    "ApproximateMixupLoss": (
        lambda x, y: mixreg.ApproximateMixupLoss(STATS, LAW, generator=seeded())(NET, x, y),
        Y,
    ),
    "RescaledModel": (lambda x, _: RescaledModel(NET, STATS, LAW)(x), Y),
    "fit_temperature": (mixreg.fit_temperature, Y),
    "evaluate": (evaluated, Y),
    "linear_mixup_risk": (
        lambda x, y: mixreg.linear_mixup_risk(torch.ones(C, C), torch.zeros(C), x, y, LAW),
        SOFT,
    ),
}
SAME = {
    "transposed in memory": lambda v: v.t().contiguous().t() if v.ndim == 2 else v,
    "every second of twice as many": lambda v: v.repeat_interleave(2, 0)[::2],
    "with a gradient": lambda v: v.clone().requires_grad_() if v.is_floating_point() else v,
    "a parameter": lambda v: torch.nn.Parameter(v, requires_grad=False),
    "double": lambda v: v.double() if v.is_floating_point() else v.int(),
    "half": lambda v: v.half() if v.is_floating_point() else v.short(),
    "bfloat16": lambda v: v.bfloat16() if v.is_floating_point() else v.to(torch.uint8),
}
OTHER = {
    "bool": lambda v: v > 0,
    "complex": lambda v: v * 1j,
    "int64 with another axis": lambda v: v.long()[..., None],
    "uint8 images": lambda v: v.byte().reshape(len(v), -1, 1, 1),
    "scalar": lambda v: v.flatten()[0],
    "sparse": lambda v: v.to_sparse(),
    "quantised": lambda v: torch.quantize_per_tensor(v.float(), 0.1, 0, torch.qint8),
    "nested": lambda v: torch.nested.nested_tensor(list(v.reshape(len(v), -1))),
    "array": lambda v: v.numpy(),
    "list": lambda v: v.tolist(),
    "tuple of tensors": tuple,
    "dictionary": lambda v: {"x": v},
    "text": str,
    "nothing": lambda _: None,
    "a module": lambda _: NET,
}


DOUBTFUL = {
    "one row": lambda v: v[0],
    "another axis": lambda v: v[..., None],
    "no rows": lambda v: v[:0],
    "one row less": lambda v: v[1:],
    "no columns": lambda v: v.reshape(len(v), -1)[:, :0],
    "another width": lambda v: torch.cat([v.reshape(len(v), -1)] * 5, 1),
    "NaN": lambda v: v * float("nan"),
    "infinite": lambda v: v / 0.0,
    "far out": lambda v: v * 10**9 + 5,
}
PAIRS = [(name, which) for name in CALLS for which in ("inputs", "labels")]
PAIRS.remove(("RescaledModel", "labels"))
MIXED = {
    (name, *argument)
    for name in ("Mixup", "transform")
    for argument in (
        ("inputs", "uint8 images"),
        ("inputs", "dictionary"),
        ("labels", "uint8 images"),
    )
}
"""Pixels, nests and maps of classes, which `Mixup` takes (tests/test_mixing.py)."""


def ours(error):
    """Whether an error of one line is raised in this package."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(mixreg.__file__).parent in Path(last).parents and "\n" not in str(error)


def result(name, which, change):
    """What a function returns for a changed argument, or nothing where it is refused as it should.

    In both cases no argument is changed in place.
    """
    function, labels = CALLS[name]
    x, y = X.clone(), labels.clone()
    changed = (change(x), y) if which == "inputs" else (x, change(y))
    try:
        returned = function(*changed)
        if not isinstance(returned, dict):  # the nest that a transform gives back
            returned = torch.as_tensor(returned).detach().double()
    except (TypeError, ValueError, MixregError) as error:
        if not ours(error):
            raise
        returned = None
    assert x.equal(X)
    assert y.equal(labels)
    return returned


@pytest.mark.parametrize(("name", "which"), PAIRS)
def test_the_same_values_give_the_same(name, which):
    for kind, change in SAME.items():
        try:
            same = result(name, which, change)
        except RuntimeError as error:  # what PyTorch says of a network's weights
            if "must have the same dtype" not in str(error):
                raise
            same = None
        assert same is not None or kind in {"double", "half", "bfloat16"}, kind
        if same is not None:
            expected = result(name, which, lambda v: v)
            torch.testing.assert_close(
                same, expected, rtol=0.05, atol=0.05, msg=f"{kind}: {{}}".format
            )


@pytest.mark.parametrize(("name", "which"), PAIRS)
def test_others_are_refused_by_this_package(name, which):
    for kind, change in OTHER.items():
        refused = result(name, which, change) is None
        assert refused or (name, which, kind) in MIXED, kind


@pytest.mark.parametrize(("name", "which"), PAIRS)
def test_these_are_worked_with_or_refused_by_this_package(name, which):
    for change in DOUBTFUL.values():
        result(name, which, change)
