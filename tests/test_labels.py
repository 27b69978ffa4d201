"""Labels become real vectors as they are or as rows of the identity; subclasses leave no trace."""

import numpy as np
import pytest
import torch

from mixreg import TrainingStatistics, dense_targets

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


def test_subclasses_of_tensors_leave_no_trace_in_the_statistics():
    class Image(torch.Tensor):
        pass

    x, y = torch.rand(4, 3), torch.eye(2)[[0, 1, 1, 0]]
    stats = TrainingStatistics.from_tensors(x.as_subclass(Image), y.as_subclass(Image))
    assert type(stats.x_mean) is type(stats.y_mean) is torch.Tensor
    assert torch.equal(stats.x_mean, TrainingStatistics.from_tensors(x, y).x_mean)
