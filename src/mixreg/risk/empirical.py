"""The empirical risk (equation 2) and that of the modified data (equation 20)."""

from dataclasses import replace

from torch import Tensor

from mixreg._checks import Network
from mixreg.laws import MixingLaw
from mixreg.losses import Loss
from mixreg.perturbation import modified
from mixreg.risk._problem import Problem, mean_loss, prepare


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


def modified_risk(
    net: Network, x: Tensor, y: Tensor, loss: Loss, law: MixingLaw, *, chunk_size: int = 1024
) -> float:
    """Mean loss on the shrunk data: (1/n) Σ_i ℓ(ỹ_i, f(x̃_i)) (equation 20).

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...); x̄ is their mean.
        y: class indices (n,), or targets of the shape of the outputs; ȳ is their mean.
        loss: "cross_entropy", "logistic", "squared_error", or a callable (y, u) → (n,).
        law: law of λ.
        chunk_size: samples evaluated at once.

    Returns:
        The risk, accumulated in float64; the term `modified` of the approximate Mixup risk.

    Source: Carratino et al., equations 5 and 20.

    Example:
        >>> import torch
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> modified_risk(lambda x: 0 * x, x, x, "squared_error", Beta(1.0))  # ½ (¾)²
        0.28125
    """
    return mean_loss(modified_problem(prepare(net, x, y, loss), law), chunk_size)


def modified_problem(problem: Problem, law: MixingLaw) -> Problem:
    """The problem with modified data x̃ and ỹ instead of x and y."""
    x, y = problem.x.double(), problem.y
    inputs, targets = modified(x, y, x.mean(0), y.mean(0), law)
    return replace(problem, x=inputs.to(problem.x.dtype), y=targets)
