"""What every function refuses at its border, in words: other containers, unfit labels, inputs."""

import numpy as np
import pytest
import torch

import mixreg
from mixreg import Beta, Mixup, TrainingStatistics, dense_targets

X, Y = torch.linspace(-1, 1, 12).reshape(4, 3), torch.tensor([0, 1, 1, 0])
SOFT, LAW = torch.eye(2)[Y], Beta(1.0)
STATS = TrainingStatistics.from_tensors(X, Y, 2)
NET = torch.nn.Linear(3, 2)
INDEX = torch.arange(4)

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

CALLS = {
    "mix": lambda x, y: mixreg.mix(x, y, torch.ones(4), INDEX),
    "Mixup": Mixup(LAW, 2),
    "from_tensors": lambda x, y: TrainingStatistics.from_tensors(x, y, 2),
    "perturb": lambda x, y: mixreg.perturb(x, y, STATS, LAW, "mixup", generator=torch.Generator()),
    "modified": lambda x, y: mixreg.modified(x, y, X[0], SOFT[0], LAW),
    "covariances": lambda x, y: mixreg.perturbation_covariances(x, y, LAW),
    "cross_entropy": mixreg.cross_entropy,
    "loss": lambda x, y: mixreg.ApproximateMixupLoss(STATS, LAW)(NET, x, y),
    "risk": lambda x, y: mixreg.mixup_risk(NET, x, y, "cross_entropy", LAW),
    "linear risk": lambda x, y: mixreg.linear_mixup_risk(torch.ones(2, 3), SOFT[0], x, y, LAW),
    "rescaled": lambda x, _: mixreg.RescaledModel(NET, STATS, LAW)(x),
    "temperature": lambda x, y: mixreg.fit_temperature(x, y),
    "entropies": lambda x, y: mixreg.proposition_one(x, y, LAW),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (np.asarray, r"must be a torch\.Tensor, got numpy\.ndarray; use torch\.as_tensor"),
        (torch.Tensor.tolist, r"must be a torch\.Tensor, got list; use torch\.as_tensor"),
        (torch.Tensor.to_sparse, r"must be dense, got torch\.sparse_coo; use .*\.to_dense\(\)"),
    ],
)
def test_other_containers(call, convert, message):
    with pytest.raises(TypeError, match=message):
        call(convert(X), SOFT)
    if call is not CALLS["rescaled"]:
        with pytest.raises(TypeError, match=message):
            call(X, convert(SOFT))


@pytest.mark.parametrize(
    ("y", "classes", "error", "message"),
    [
        (Y.unsqueeze(1), 2, ValueError, r"shape \(n,\), got \(4, 1\); use y\.squeeze\(1\)"),
        (Y.unsqueeze(1).float(), 2, ValueError, r"got \(4, 1\);.* y\.squeeze\(1\)\.long\(\)"),
        (SOFT.long(), 2, ValueError, r"for soft or multi-hot labels use y\.float\(\)"),
        (torch.zeros(4, 5, 5).long(), 2, ValueError, r"maps of classes use one_hot.*movedim"),
    ],
)
def test_labels_that_are_advised(y, classes, error, message):
    for call in (Mixup(LAW, classes), lambda x, y: TrainingStatistics.from_tensors(x, y, classes)):
        with pytest.raises(error, match=message):
            call(X, y)


@pytest.mark.parametrize(
    ("x", "advice"),
    [
        (X.byte(), r"pixels .* x\.float\(\) / 255"),
        (X.short(), r"sound .* x\.float\(\) / 32768"),
        (X.long(), "token ids cannot be averaged, so pass embeddings"),
    ],
)
def test_inputs_that_are_advised(x, advice):
    with pytest.raises(TypeError, match=f"floating point, got {x.dtype}; .*{advice}"):
        Mixup(LAW, 2)(x, Y)


def test_subclasses_of_tensors_leave_no_trace_in_the_statistics():
    class Image(torch.Tensor):
        pass

    stats = TrainingStatistics.from_tensors(X.as_subclass(Image), SOFT.as_subclass(Image))
    assert type(stats.x_mean) is type(stats.y_mean) is torch.Tensor
    assert torch.equal(stats.x_mean, STATS.x_mean)


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_class_indices_become_rows_of_the_identity(integer, dtype):
    y = torch.tensor([2, 0, 1, 2]).to(integer)
    dense = dense_targets(y, 3, dtype=dtype)
    assert dense.dtype == dtype
    assert np.array_equal(dense.double().numpy(), np.eye(3)[[2, 0, 1, 2]])


@pytest.mark.parametrize("dtype", FLOATS)
def test_soft_labels_are_returned_as_they_are(dtype):
    y = torch.rand(4, 3).to(dtype)
    assert dense_targets(y, 3, dtype=torch.float64) is y
    assert dense_targets(y, None, dtype=torch.float64) is y


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 5)])
def test_regression_targets_are_returned_as_they_are(shape):
    y = torch.randn(shape)
    assert dense_targets(y, None, dtype=torch.float32) is y


def test_empty_batches_have_a_shape():
    assert dense_targets(torch.empty(0, dtype=torch.long), 3, dtype=torch.float32).shape == (0, 3)


def test_one_class_and_numpy_counts():
    y = torch.zeros(2, dtype=torch.long)
    assert dense_targets(y, 1, dtype=torch.float32).tolist() == [[1.0], [1.0]]
    assert dense_targets(y, np.int64(2), dtype=torch.float32).shape == (2, 2)


def test_indices_on_a_device_are_not_read_back(no_synchronisation):
    with no_synchronisation():
        y = torch.empty(5, dtype=torch.long, device="meta")
        assert dense_targets(y, 3, dtype=torch.float32).shape == (5, 3)


@pytest.mark.parametrize(
    ("y", "num_classes", "error", "message"),
    [
        (torch.tensor([0, 3]), 3, ValueError, r"0\.\.2 for num_classes=3, got values from 0 to 3"),
        (torch.tensor([-1, 0]), 3, ValueError, "got values from -1 to 0"),
        (torch.tensor([-100, 0], dtype=torch.int16), 3, ValueError, "got values from -100"),
        (torch.tensor([0, 65535], dtype=torch.uint16), 3, ValueError, "to 65535"),
        (torch.tensor([0, 1]), None, TypeError, r"need num_classes.*use y\.float\(\)"),
        (torch.tensor([0.0, 1.0]), 3, TypeError, r"got torch.float32; use y\.long\(\)"),
        (torch.rand(4, 2), 3, ValueError, r"shape \(n, 3\) for num_classes=3, got \(4, 2\)"),
        (torch.rand(4, 5, 3), 3, ValueError, r"got \(4, 5, 3\)"),
        (torch.tensor([True, False]), 2, TypeError, "boolean labels are ambiguous"),
        (torch.zeros(2, dtype=torch.complex64), None, TypeError, "got torch.complex64"),
        (torch.tensor(1), 3, ValueError, "batch dimension"),
        (torch.tensor([0]), 0, ValueError, "at least 1, got 0"),
        (torch.tensor([0]), 2.0, TypeError, "num_classes must be an integer or None, got 2.0"),
        (torch.tensor([0]), True, TypeError, "num_classes must be an integer or None, got True"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ambiguous_labels_are_refused(y, num_classes, error, message):
    with pytest.raises(error, match=message):
        dense_targets(y, num_classes, dtype=torch.float32)
