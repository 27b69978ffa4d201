"""Class indices, soft labels and regression targets are told apart or refused."""

import numpy as np
import pytest
import torch

from mixreg import dense_targets

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


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
        (
            torch.zeros(4, 1, dtype=torch.long),
            3,
            ValueError,
            r"must have shape \(n,\), got \(4, 1\)",
        ),
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
