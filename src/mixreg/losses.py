"""Losses ℓ(y, u) as unreduced functions of targets and outputs: equations (3) and (15)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mixreg._errors import unknown_name

LossFunction = Callable[[Tensor, Tensor], Tensor]
LossName = Literal["cross_entropy", "logistic", "squared_error"]
Loss = LossName | LossFunction


def cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy with soft targets: ℓ(y, u) = log Σ_k exp u_k − yᵀu (equation 3).

    For targets that sum to one it is the negative log-likelihood, computed as −yᵀ log softmax(u),
    without overflow or cancellation for logits of any size.

    Args:
        targets: y, floating point, shape (n, c), each row summing to one.
        logits: u, shape (n, c).

    Returns:
        Values of each example, shape (n,).

    Raises:
        TypeError: integer targets or outputs.
        ValueError: the shapes differ or are not (n, c).

    Example:
        >>> cross_entropy(torch.tensor([[0.5, 0.5]]), torch.tensor([[1e4, 0.0]]))
        tensor([5000.])
    """
    _check_pair(targets, logits)
    if logits.ndim != 2:
        raise ValueError(
            f"cross-entropy needs logits of shape (n, c), got {tuple(logits.shape)}; "
            "for one logit use the logistic loss"
        )
    return -(targets * functional.log_softmax(logits, dim=1)).sum(1)


def logistic(targets: Tensor, logits: Tensor) -> Tensor:
    """Logistic loss: ℓ(y, u) = log(1 + exp u) − y u, summed over the outputs (equation 15).

    Args:
        targets: y, floating point in [0, 1], the shape of `logits`.
        logits: u, shape (n,), (n, 1) or, for several binary labels, (n, c).

    Returns:
        Values of each example, shape (n,).

    Raises:
        TypeError: integer targets or outputs.
        ValueError: the shapes differ.

    Example:
        >>> logistic(torch.tensor([1.0, 0.0]), torch.tensor([1e4, 1e4]))
        tensor([    0., 10000.])
    """
    _check_pair(targets, logits)
    stable = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return _sum_outputs(stable)


def squared_error(targets: Tensor, outputs: Tensor) -> Tensor:
    """Squared error: ℓ(y, u) = ½‖y − u‖² (equation 3).

    Args:
        targets: y, floating point, the shape of `outputs`.
        outputs: u, shape (n,) or (n, c).

    Returns:
        Values of each example, shape (n,).

    Raises:
        TypeError: integer targets or outputs.
        ValueError: the shapes differ.

    Example:
        >>> squared_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([2.5000])
    """
    _check_pair(targets, outputs)
    return _sum_outputs((targets - outputs).square()) / 2


_BY_NAME: dict[str, LossFunction] = {
    "cross_entropy": cross_entropy,
    "logistic": logistic,
    "squared_error": squared_error,
}


def resolve_loss(loss: Loss) -> LossFunction:
    """The function behind a loss given by name, or the given function.

    Args:
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → shape (n,).

    Returns:
        The unreduced loss.

    Raises:
        ValueError: no loss has that name.

    Example:
        >>> resolve_loss("squared_error") is squared_error
        True
    """
    if callable(loss):
        return loss
    if loss not in _BY_NAME:
        known = [*_BY_NAME, "or a callable (y, u)"]
        raise ValueError(str(unknown_name("loss", str(loss), known)))
    return _BY_NAME[loss]


def _check_pair(targets: Tensor, outputs: Tensor) -> None:
    if not targets.is_floating_point():
        raise TypeError(
            f"targets must be floating point, got {targets.dtype}; turn class indices into "
            "one-hot vectors, for example with mixreg.dense_targets(y, num_classes)"
        )
    if not outputs.is_floating_point():
        raise TypeError(f"outputs must be floating point, got {outputs.dtype}")
    if outputs.ndim == 0:
        raise ValueError("outputs need a batch dimension, got a scalar; use outputs.unsqueeze(0)")
    if targets.shape != outputs.shape:
        raise ValueError(
            f"targets and outputs must have the same shape, got {tuple(targets.shape)} and "
            f"{tuple(outputs.shape)}"
        )


def _sum_outputs(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1) if values.ndim > 1 else values


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes, or for one logit the two classes' probabilities.

    Args:
        logits: shape (n, c), or (n,) or (n, 1) for one logit.

    Returns:
        Shape (n, max(c, 2)).

    Example:
        >>> probabilities(torch.tensor([0.0]))
        tensor([[0.5000, 0.5000]])
    """
    return torch.softmax(two_class_logits(logits), dim=1)


def two_class_logits(logits: Tensor) -> Tensor:
    """One logit u as the equivalent pair (0, u); several logits unchanged.

    Args:
        logits: shape (n,), (n, 1) or (n, c).

    Returns:
        Shape (n, 2) for one logit, else `logits`.

    Example:
        >>> two_class_logits(torch.tensor([3.0]))
        tensor([[0., 3.]])
    """
    if logits.ndim == 1:
        logits = logits.unsqueeze(1)
    if logits.shape[1] > 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], dim=1)
