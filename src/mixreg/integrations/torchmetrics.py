"""Accuracy on mixed batches as a metric of torchmetrics."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def soft_accuracy(preds: Tensor, target: Tensor) -> Tensor:
    """The mean label, soft (n, c) or an index (n,), of the predicted class (n, c), in float64."""
    if preds.ndim != 2 or target.shape not in (preds.shape, preds.shape[:1]):
        raise ValueError(
            "expected predictions (n, c) and labels (n, c) or (n,), got "
            f"{tuple(preds.shape)} and {tuple(target.shape)}"
        )
    predicted = preds.argmax(1)
    soft = target.ndim == 2
    right = target.gather(1, predicted.unsqueeze(1)) if soft else predicted == target
    return right.mean(dtype=torch.float64)


class MixedAccuracy(Metric):
    """Accuracy with soft labels: the mean of y_k at the predicted class k.

    On mixed labels this is λ·[k = y_i] + (1 − λ)·[k = y_j], as `mixreg.mixed_accuracy`. The
    accuracies of torchmetrics compare a soft label bit by bit with the prediction, and report 0.

    Args:
        **settings: of `torchmetrics.Metric`.

    Example:
        >>> accuracy = MixedAccuracy()
        >>> accuracy.update(torch.eye(2), torch.tensor([[0.75, 0.25], [0.75, 0.25]]))
        >>> accuracy.compute()
        tensor(0.5000)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("right", "count"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.right: Tensor
        self.count: Tensor

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch.

        Args:
            preds: logits or probabilities, shape (n, c).
            target: soft labels (n, c) or class indices (n,).

        Raises:
            ValueError: other shapes.
        """
        self.right += soft_accuracy(preds, target) * len(preds)
        self.count += len(preds)

    def compute(self) -> Tensor:
        """The mean over all batches and processes.

        Returns:
            A scalar in [0, 1], NaN before the first batch.
        """
        return (self.right / self.count).float()
