"""Losses ℓ(y, u) as unreduced functions of targets and outputs: equations (3) and (15).

The three losses of the paper are ℓ(y, u) = A(u) − yᵀu + b(y) with a convex A, so that

    ℓ_u = A'(u) − y,   ℓ_uu = A''(u),   ℓ_uy = −I,   ℓ_yy = b''(y),

where A' is the softmax, the sigmoid or the identity. A'' v = w ∘ Cv with a weight w for each output
and Cv = v − p·v for the softmax (diag p − p pᵀ), Cv = v for the others.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixreg._checks import as_rows, check_floating
from mixreg._errors import unknown_name
from mixreg.mixing import MixedBatch

LossFunction = Callable[[Tensor, Tensor], Tensor]
LossName = Literal["cross_entropy", "logistic", "squared_error"]
Loss = LossName | LossFunction


def cross_entropy(
    targets: Tensor, logits: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with soft targets: ℓ(y, u) = log Σ_k exp u_k − yᵀu (equation 3).

    For targets that sum to one it is the negative log-likelihood, computed as −yᵀ log softmax(u),
    without overflow or cancellation for logits of any size.

    With class weights w it is −Σ_k w_k y_k log softmax(u)_k over the mean of wᵀy in the batch, so
    that the mean of the values is the weighted mean that PyTorch takes of class indices (which it
    does not take of soft labels, pytorch#107680).

    Args:
        targets: y, floating point, shape (n, c), each row summing to one.
        logits: u, shape (n, c).
        class_weights: w, shape (c,).

    Returns:
        Values of each example, shape (n,).

    Raises:
        TypeError: integer targets or outputs.
        ValueError: the shapes differ or are not (n, c), or the weights are not (c,).

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
    if class_weights is None:
        return -(targets * functional.log_softmax(logits, dim=1)).sum(1)
    if class_weights.shape != logits.shape[1:]:
        raise ValueError(
            f"class weights need shape ({logits.shape[1]},), got {tuple(class_weights.shape)}"
        )
    targets = targets * class_weights.to(targets.device, targets.dtype)
    targets = targets / targets.sum(1).mean()
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
    return sum_outputs(stable)


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
    return sum_outputs((targets - outputs).square()) / 2


def mixed_loss(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, batch: MixedBatch
) -> Tensor:
    """Any loss on a mixed batch, in pair form: λ_i ℓ(u_i, y_i) + (1 − λ_i) ℓ(u_i, y_j(i)).

    For a loss linear in the label it is the loss of `batch.targets` (equation 4). For others, such
    as the squared or the focal loss, it differs, and needs no soft label.

    Class weights and ignored labels count as PyTorch's mean has them for class indices: it is
    Σ λ w(y_i) ℓ(u_i, y_i) + (1 − λ) w(y_j) ℓ(u_i, y_j) over Σ λ w(y_i) + (1 − λ) w(y_j), with w = 0
    for an ignored label.

    Args:
        loss: one of PyTorch's loss modules, or a function that is called as they are,
            loss(outputs, labels), and returns one value for each example (n,) or position (n, ...).
        outputs: u of the mixed inputs, shape (n, ...).
        batch: the mixed batch; its `labels` are passed to the loss as they are.

    Returns:
        A scalar for a module whose `reduction` is not "none", else the values as they come.

    Raises:
        TypeError: one of the losses of this module, which take targets first.
        ValueError: the loss does not return values for each example.

    Source: pair form of Zhang et al., 2018; Carratino et al., equation 4.

    Example:
        >>> from mixreg import Beta, Mixup
        >>> batch = Mixup(Beta(1.0), num_classes=3)(torch.randn(4, 2), torch.tensor([0, 1, 2, 0]))
        >>> logits = torch.randn(4, 3)
        >>> dense = cross_entropy(batch.targets, logits).mean()
        >>> bool(torch.isclose(mixed_loss(nn.CrossEntropyLoss(), logits, batch), dense))
        True
    """
    if loss in CANONICAL:
        raise TypeError("this loss takes (targets, outputs): call it with batch.targets instead")
    reduction = getattr(loss, "reduction", "none") if isinstance(loss, nn.Module) else "none"
    if reduction != "none":
        loss = copy.copy(loss)
        vars(loss)["reduction"] = "none"
    pair = batch.labels, batch.labels[batch.partner]
    own, other = (loss(outputs, labels) for labels in pair)
    if own.ndim == 0 or len(own) != len(batch.weight):
        raise ValueError(
            f"loss must return a value for each of the {len(batch.weight)} examples, got shape "
            f"{tuple(own.shape)}; use reduction='none'"
        )
    weight = as_rows(batch.weight, own)
    values = torch.lerp(other, own, weight)
    if reduction == "none":
        return values
    if reduction in ("sum", "batchmean"):
        return values.sum() / (1 if reduction == "sum" else len(values))
    counted, counted_other = (_counted(loss, labels, own) for labels in pair)
    return values.sum() / torch.lerp(counted_other, counted, weight).sum()


def _counted(loss: object, labels: Tensor, values: Tensor) -> Tensor:
    """What the mean of a loss of PyTorch divides by: each value, or its class's weight."""
    ones = torch.ones_like(values)
    if not isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) or labels.is_floating_point():
        return ones
    kept = labels != loss.ignore_index
    return ones * kept if loss.weight is None else loss.weight[labels.where(kept, 0)] * kept


class LossAlong(NamedTuple):
    """ℓ_u, and along a direction (e, u̇): u̇ᵀ ℓ_uu u̇, eᵀ ℓ_yu u̇ and eᵀ ℓ_yy e, shape (n,) each."""

    slope: Tensor
    uu: Tensor
    yu: Tensor
    yy: Tensor


@dataclass(frozen=True)
class CanonicalLoss:
    """What the second-order theory needs of ℓ(y, u) = A(u) − yᵀu + b(y).

    mean: A'(u). weight: w, from u and A'(u). centred: whether A'' takes the weighted mean off its
    direction. label_curvature: b'', a number.
    """

    value: LossFunction
    mean: Callable[[Tensor], Tensor]
    weight: Callable[[Tensor, Tensor], Tensor]
    centred: bool
    label_curvature: float

    def along(self, y: Tensor, u: Tensor, e: Tensor, du: Tensor) -> LossAlong:
        """ℓ_u and the second derivatives along (e, u̇), where e sums to zero if y sums to one."""
        p = self.mean(u)
        centred = du - (p * du).sum(1, keepdim=True) if self.centred else du
        uu = sum_outputs(self.weight(u, p) * centred.square())
        yy = self.label_curvature * sum_outputs(e.square())
        return LossAlong(p - y, uu, -sum_outputs(e * centred), yy)

    def hessian(self, p: Tensor, w: Tensor) -> Tensor:
        """A'' of p = A'(u) and w, shape (n, c, c)."""
        diagonal = torch.diag_embed(w)
        return diagonal - p.unsqueeze(2) * p.unsqueeze(1) if self.centred else diagonal


_CANONICAL = {
    "cross_entropy": CanonicalLoss(
        cross_entropy,
        mean=lambda u: torch.softmax(u, dim=1),
        weight=lambda _, p: p,
        centred=True,
        label_curvature=0.0,
    ),
    "logistic": CanonicalLoss(
        logistic,
        mean=torch.sigmoid,
        weight=lambda u, s: s * torch.sigmoid(-u),
        centred=False,
        label_curvature=0.0,
    ),
    "squared_error": CanonicalLoss(
        squared_error,
        mean=lambda u: u,
        weight=lambda u, _: torch.ones_like(u),
        centred=False,
        label_curvature=1.0,
    ),
}
CANONICAL = {loss.value: loss for loss in _CANONICAL.values()}


def resolve_loss(loss: Loss) -> LossFunction:
    """The function behind a loss given by name, or the given function."""
    if callable(loss):
        return loss
    if loss not in _CANONICAL:
        raise unknown_name("loss", str(loss), [*_CANONICAL, "or a callable (y, u)"])
    return _CANONICAL[loss].value


def check_values(values: Tensor, rows: int) -> None:
    """Refuse values of a loss that are not one for each sample, shape (rows,)."""
    if values.shape != (rows,):
        raise ValueError(
            f"loss must return one value for each sample, shape ({rows},), got "
            f"{tuple(values.shape)}; sum over outputs but do not average over samples inside it"
        )


def sum_outputs(values: Tensor) -> Tensor:
    """Sums (n,) over the outputs of each example."""
    return values.flatten(1).sum(1) if values.ndim > 1 else values


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes (n, c), or for one logit the two classes' probabilities (n, 2)."""
    return torch.softmax(two_class_logits(logits), dim=1)


def two_class_logits(logits: Tensor) -> Tensor:
    """One logit u, (n,) or (n, 1), as the equivalent pair (0, u), (n, 2); several unchanged."""
    if logits.ndim == 1:
        logits = logits.unsqueeze(1)
    if logits.shape[1] > 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


def _check_pair(targets: Tensor, outputs: Tensor) -> None:
    check_floating(targets, "targets", "targets")
    check_floating(outputs, "outputs", "outputs")
    if outputs.ndim == 0:
        raise ValueError("outputs need a batch dimension, got a scalar; use outputs.unsqueeze(0)")
    if targets.shape != outputs.shape:
        raise ValueError(
            f"targets and outputs must have the same shape, got {tuple(targets.shape)} and "
            f"{tuple(outputs.shape)}"
        )
