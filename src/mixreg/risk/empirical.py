"""The empirical risk (equation 2)."""

from torch import Tensor

from mixreg.losses import Loss
from mixreg.risk.network import Network
from mixreg.risk.problem import mean_loss, prepare


def empirical_risk(
    net: Network, x: Tensor, y: Tensor, loss: Loss, *, chunk_size: int = 1024
) -> float:
    """Mean loss on the data: (1/n) Σ_i ℓ(y_i, f(x_i)) (equation 2).

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        chunk_size: samples evaluated at once.

    Returns:
        The risk, accumulated in float64.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(3, 2), torch.tensor([0, 1, 1])
        >>> round(empirical_risk(lambda x: x, x, y, "cross_entropy"), 4)
        0.6931
    """
    return mean_loss(prepare(net, x, y, loss), chunk_size)
