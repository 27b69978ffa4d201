"""The empirical risk of the modified data (equation 20)."""

from dataclasses import replace

from torch import Tensor

from mixreg.laws import MixingLaw
from mixreg.losses import Loss
from mixreg.perturbation import modified
from mixreg.risk.network import Network
from mixreg.risk.problem import Problem, mean_loss, prepare


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
    """The problem with modified data x̃ and ỹ instead of x and y.

    Args:
        problem: network, data and loss.
        law: law of λ.

    Returns:
        The modified problem; x̃ is computed in float64 and rounded to the dtype of x.
    """
    x, y = problem.x.double(), problem.y
    inputs, targets = modified(x, y, x.mean(0), y.mean(0), law)
    return replace(problem, x=inputs.to(problem.x.dtype), y=targets)
