"""Mixup of linear least squares, in closed form (Corollary 3, equation 19 corrected)."""

from torch import Tensor

from mixreg._checks import check_tensor
from mixreg.laws import MixingLaw


def linear_mixup_risk(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, law: MixingLaw) -> float:
    """The exact Mixup risk of f(x) = W x + b for the squared error (equation 19, corrected).

    With b̄ = ȳ − W x̄,

        E(W, b) = (2σ² + θ̄² + (1 − θ̄)²) (1/n) Σ_i ½‖y_i − W x_i − b̄‖² + ½‖b − b̄‖²,

    without a further constant. The factor in front is E θ² + E (1 − θ)² > 0, so that ordinary least
    squares minimises it for every law: mixup has no effect on linear least squares. The paper
    prints 2σ² + 2θ̄² + (1 − θ̄)² and ‖b − b̄‖², since its equation 37 drops the ½ of the loss;
    `mixreg.reference.equation_19_as_printed` has that form.

    Args:
        weight: W, shape (c, d).
        bias: b, shape (c,).
        x: inputs, shape (n, d).
        y: targets, shape (n, c).
        law: law of λ.

    Returns:
        The risk, computed in float64.

    Raises:
        TypeError: a tensor is not floating point.
        ValueError: shapes that do not fit together.

    Source: Carratino et al., Corollary 3 and annex A.6.

    Example:
        >>> import torch
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> linear_mixup_risk(torch.zeros(1, 1), torch.zeros(1), x, x, Beta(1.0))  # ½ · ⅔
        0.3333333333333333
    """
    _check_shapes(weight, bias, x, y)
    W, b, x, y = (v.detach().double() for v in (weight, bias, x, y))
    best_bias = y.mean(0) - W @ x.mean(0)
    residuals = y - x @ W.T - best_bias
    sigma_squared, theta_bar = law.theta_variance, law.theta_mean
    factor = 2 * sigma_squared + theta_bar**2 + law.shrinkage**2
    mean_loss = float(residuals.square().sum(1).mean()) / 2
    return factor * mean_loss + float((b - best_bias).square().sum()) / 2


def _check_shapes(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor) -> None:
    for name, values in (("weight", weight), ("bias", bias), ("x", x), ("y", y)):
        check_tensor(values, name, name)
        if not values.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {values.dtype}")
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or weight.shape != (y.shape[1], x.shape[1]):
        raise ValueError(
            "need inputs (n, d), targets (n, c) and a weight (c, d), got "
            f"{tuple(x.shape)}, {tuple(y.shape)} and {tuple(weight.shape)}"
        )
    if bias.shape != y.shape[1:]:
        raise ValueError(f"need a bias of shape {tuple(y.shape[1:])}, got {tuple(bias.shape)}")
