"""Class indices, soft labels and regression targets told apart, and refused when they are not."""

import torch
from torch import Tensor


def dense_targets(y: Tensor, num_classes: int | None, *, dtype: torch.dtype) -> Tensor:
    """Labels as real vectors that can be averaged: one-hot for class indices, else as they are.

    An index out of range is named on the CPU; on an accelerator, where a look at the values would
    stop the stream, the device itself asserts it.

    Args:
        y: class indices, integer of shape (n,), which need `num_classes`; or soft labels or
            regression targets, floating point of shape (n,) or (n, c, ...).
        num_classes: number of classes c of a classification problem, else None.
        dtype: floating dtype of the one-hot vectors. Floating labels keep their own.

    Returns:
        Shape (n, c) for class indices, else `y` itself.

    Raises:
        TypeError: integer labels without `num_classes`, or floating class indices with it.
        ValueError: a class index outside 0..c−1, or soft labels of another width than c.
        RuntimeError: any other failure of the device.

    Example:
        >>> dense_targets(torch.tensor([1, 0]), 2, dtype=torch.float32)
        tensor([[0., 1.],
                [1., 0.]])
    """
    _check_kind(y, num_classes)
    if y.is_floating_point():
        return y
    assert num_classes is not None
    one_hot = torch.zeros(len(y), num_classes, dtype=dtype, device=y.device)
    try:
        return one_hot.scatter_(1, y.long().unsqueeze(1), 1.0)
    except RuntimeError:
        _check_range(y, num_classes)
        raise


def check_num_classes(num_classes: int | None) -> None:
    """Refuse a number of classes that is not a positive integer.

    Args:
        num_classes: number of classes, or None.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is below 1.
    """
    if num_classes is None:
        return
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__"):
        raise TypeError(f"num_classes must be an integer or None, got {num_classes!r}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")


def _check_kind(y: Tensor, num_classes: int | None) -> None:
    check_num_classes(num_classes)
    if y.is_complex():
        raise TypeError(f"labels must be integer or floating point, got {y.dtype}")
    if y.ndim == 0:
        raise ValueError("labels need a batch dimension, got a scalar; use y.unsqueeze(0)")
    if y.is_floating_point():
        _check_floating(y, num_classes)
    else:
        _check_indices(y, num_classes)


def _check_floating(y: Tensor, num_classes: int | None) -> None:
    if num_classes is None:
        return
    if y.ndim == 1:
        raise TypeError(
            f"with num_classes={num_classes}, labels of shape (n,) must be integer class indices, "
            f"got {y.dtype}; use y.long(), or leave num_classes out for regression targets"
        )
    if y.shape[1] != num_classes:
        raise ValueError(
            f"soft labels must have shape (n, {num_classes}) for num_classes={num_classes}, "
            f"got {tuple(y.shape)}"
        )


def _check_indices(y: Tensor, num_classes: int | None) -> None:
    if num_classes is None:
        raise TypeError(
            f"labels of dtype {y.dtype} are class indices and need num_classes=...; "
            "for regression targets use y.float()"
        )
    if y.ndim != 1:
        raise ValueError(
            f"class indices must have shape (n,), got {tuple(y.shape)}; "
            "for soft or multi-hot labels use y.float()"
        )
    if y.dtype == torch.bool:
        raise TypeError("boolean labels are ambiguous; use y.long() for classes or y.float()")


def _check_range(y: Tensor, num_classes: int) -> None:
    if y.device.type == "cpu" and len(y) > 0:
        low, high = (int(edge) for edge in torch.aminmax(y.long()))
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"class indices must lie in 0..{num_classes - 1} for num_classes={num_classes}, "
                f"got values from {low} to {high}"
            )
