"""Inputs and labels as every function takes them, and what is said of others."""

import torch
from torch import Tensor


def check_inputs(x: Tensor) -> None:
    """Refuse inputs that are not floating point, as raw pixels are not.

    Args:
        x: inputs.

    Raises:
        TypeError: they are integers or complex.
    """
    if not x.is_floating_point():
        raise TypeError(
            f"inputs must be floating point, got {x.dtype}; convert and normalise them as the "
            "model takes them, for example x.float() / 255"
        )


def check_examples(x: Tensor, y: Tensor) -> None:
    """Refuse inputs and labels that are not one row an example each.

    Args:
        x: inputs, floating point, shape (n, ...).
        y: labels, shape (n, ...).

    Raises:
        TypeError: the inputs are not floating point.
        ValueError: the numbers of rows differ, or one of them is a scalar.
    """
    check_inputs(x)
    if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0]:
        raise ValueError(
            "inputs and labels must have one row an example, got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )


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
    check_num_classes(num_classes)
    if y.ndim == 0:
        raise ValueError("labels need a batch dimension, got a scalar; use y.unsqueeze(0)")
    if y.is_floating_point():
        check_floating_targets(y, num_classes)
        return y
    num_classes = _check_indices(y, num_classes)
    one_hot = torch.zeros(y.shape[0], num_classes, dtype=dtype, device=y.device)
    try:
        return one_hot.scatter_(1, y.long().unsqueeze(1), 1.0)
    except RuntimeError:
        _check_range(y, num_classes)
        raise


def mixed_one_hot(y: Tensor, shift: int, shares: Tensor, num_classes: int | None) -> Tensor:
    """s_i0 e_{y_i} + s_i1 e_{y_j}, j = (i + shift) mod n, without unmixed one-hot vectors.

    Args:
        y: class indices, integer, shape (n,).
        shift: places from each example to its partner, from 0 to n − 1.
        shares: s, shares of an example and of its partner, floating point, shape (n, 2).
        num_classes: number of classes c.

    Returns:
        Shape (n, c), in the dtype of `shares`.

    Raises:
        TypeError: no number of classes, or boolean or complex labels.
        ValueError: labels that are not of shape (n,), or a class index outside 0..c−1.
        RuntimeError: any other failure of the device.

    Example:
        >>> mixed_one_hot(torch.tensor([2, 0]), 1, torch.tensor([[0.75, 0.25], [0.5, 0.5]]), 3)
        tensor([[0.2500, 0.0000, 0.7500],
                [0.5000, 0.0000, 0.5000]])
    """
    num_classes = _check_indices(y, num_classes)
    n = y.shape[0]
    mixed = shares.new_zeros(n, num_classes)
    twice = torch.cat((y, y)).long()
    try:
        return mixed.scatter_add_(1, twice.as_strided((n, 2), (1, shift)), shares)
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


def check_floating_targets(y: Tensor, num_classes: int | None) -> None:
    """Refuse floating labels that do not fit the number of classes.

    Args:
        y: soft labels (n, c) or regression targets (n,) or (n, ...), floating point.
        num_classes: number of classes c, or None for regression targets.

    Raises:
        TypeError: class indices that are not integers.
        ValueError: soft labels of another width than c.
    """
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


def _check_indices(y: Tensor, num_classes: int | None) -> int:
    if y.is_complex():
        raise TypeError(f"labels must be integer or floating point, got {y.dtype}")
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
    return num_classes


def _check_range(y: Tensor, num_classes: int) -> None:
    if y.device.type == "cpu" and len(y) > 0:
        low, high = (int(edge) for edge in torch.aminmax(y.long()))
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"class indices must lie in 0..{num_classes - 1} for num_classes={num_classes}, "
                f"got values from {low} to {high}"
            )
