"""Mixup as perturbed empirical risk minimisation: shrunk data and their perturbations (Theorem 1).

A mixed example is θ x_i + (1 − θ) x_j = x̃_i + δ_i, and θ y_i + (1 − θ) y_j = ỹ_i + ε_i likewise.
With d_i = x_i − x̄ and e_i = y_i − ȳ everything is centred:

    x̃_i = x̄ + θ̄ d_i,  ỹ_i = ȳ + θ̄ e_i,  δ_i = (θ − θ̄) d_i + (1 − θ) d_j,  ε_i likewise.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mixreg.laws import MixingLaw
from mixreg.prediction import shrink


class ModifiedData(NamedTuple):
    """The modified data x̃ and ỹ, shaped like the data."""

    inputs: Tensor
    targets: Tensor


class Perturbation(NamedTuple):
    """Perturbations δ and ε, shaped like the data, and the θ and j that made them, (n,) each."""

    inputs: Tensor
    targets: Tensor
    theta: Tensor
    partner: Tensor


def modified(x: Tensor, y: Tensor, x_mean: Tensor, y_mean: Tensor, law: MixingLaw) -> ModifiedData:
    """Data shrunk towards their mean: x̃ = x̄ + θ̄ (x − x̄), ỹ = ȳ + θ̄ (y − ȳ) (equation 5).

    Args:
        x: inputs, floating point, shape (n, ...).
        y: targets, floating point, shape (n, ...).
        x_mean: x̄, the shape of one input.
        y_mean: ȳ, the shape of one target.
        law: law of λ.

    Returns:
        x̃ and ỹ in the dtypes of `x` and `y`.

    Raises:
        TypeError: integer inputs or targets.
        ValueError: shapes that do not fit together.

    Source: Carratino et al., Theorem 1.

    Example:
        >>> from mixreg.laws import Beta
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.eye(2)
        >>> modified(x, y, x.mean(0), y.mean(0), Beta(1.0)).targets
        tensor([[0.8750, 0.1250],
                [0.1250, 0.8750]])
    """
    _check_pair(x, y, x_mean, y_mean)
    return ModifiedData(shrink(x, x_mean, law), shrink(y, y_mean, law))


def perturbation(
    x: Tensor,
    y: Tensor,
    x_mean: Tensor,
    y_mean: Tensor,
    law: MixingLaw,
    *,
    theta: Tensor,
    partner: Tensor,
) -> Perturbation:
    """The perturbations of given θ and j: δ_i = (θ − θ̄) d_i + (1 − θ) d_j, ε_i likewise (6).

    Args:
        x: inputs, floating point, shape (n, ...).
        y: targets, floating point, shape (n, ...).
        x_mean: x̄, the shape of one input.
        y_mean: ȳ, the shape of one target.
        law: law of λ, which gives θ̄.
        theta: θ of each example, shape (n,).
        partner: j of each example, integer, shape (n,).

    Returns:
        δ and ε in the dtypes of `x` and `y`, with θ and j. Added to the modified data they give
        the mixed data.

    Raises:
        TypeError: integer inputs or targets.
        ValueError: shapes that do not fit together.

    Example:
        >>> from mixreg.laws import Constant
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.eye(2)
        >>> theta, partner = torch.full((2,), 0.75), torch.tensor([1, 1])
        >>> perturbation(
        ...     x, y, x.mean(0), y.mean(0), Constant(0.75), theta=theta, partner=partner
        ... ).inputs
        tensor([[0.5000],
                [0.5000]])
    """
    _check_pair(x, y, x_mean, y_mean)
    if theta.shape != (len(x),) or partner.shape != (len(x),):
        raise ValueError(
            f"theta and partner must have shape ({len(x)},), got {tuple(theta.shape)} and "
            f"{tuple(partner.shape)}"
        )
    delta, epsilon = (
        _perturb(values, mean, law, theta, partner) for values, mean in ((x, x_mean), (y, y_mean))
    )
    return Perturbation(delta, epsilon, theta, partner)


def draw_perturbation(
    x: Tensor,
    y: Tensor,
    x_mean: Tensor,
    y_mean: Tensor,
    law: MixingLaw,
    *,
    generator: torch.Generator,
) -> Perturbation:
    """Draw θ by the law and j uniformly, and form δ and ε (equation 6).

    Both have mean zero when x̄ and ȳ are the means of the given data, from which the partners come.

    Args:
        x: inputs, floating point, shape (n, ...).
        y: targets, floating point, shape (n, ...).
        x_mean: x̄, the shape of one input.
        y_mean: ȳ, the shape of one target.
        law: law of λ.
        generator: source of θ and j.

    Returns:
        δ, ε, θ and j; j = i is allowed.

    Raises:
        TypeError: integer inputs or targets.
        ValueError: shapes that do not fit together.

    Source: Carratino et al., Theorem 1.

    Example:
        >>> from mixreg.laws import Constant
        >>> x, y = torch.zeros(3, 2), torch.eye(3)
        >>> g = torch.Generator().manual_seed(0)
        >>> draw = draw_perturbation(x, y, x.mean(0), y.mean(0), Constant(0.5), generator=g)
        >>> draw.theta
        tensor([0.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    n = len(x)
    theta = law.sample_theta(n, generator=generator).to(x.device)
    partner = torch.randint(n, (n,), generator=generator, device=generator.device).to(x.device)
    return perturbation(x, y, x_mean, y_mean, law, theta=theta, partner=partner)


def _perturb(
    values: Tensor, mean: Tensor, law: MixingLaw, theta: Tensor, partner: Tensor
) -> Tensor:
    centred = values - mean.to(values.device, values.dtype)
    # θ − θ̄ as (1 − θ̄) − (1 − θ): near θ = 1 the law knows 1 − θ̄ to more digits than θ̄.
    own = (law.shrinkage - (1 - theta.double())).to(values.dtype)
    other = (1 - theta.double()).to(values.dtype)
    rows = (-1, *[1] * (values.ndim - 1))
    return own.reshape(rows) * centred + other.reshape(rows) * centred[partner]


def _check_pair(x: Tensor, y: Tensor, x_mean: Tensor, y_mean: Tensor) -> None:
    for name, values, mean in (("inputs", x, x_mean), ("targets", y, y_mean)):
        if not values.is_floating_point():
            raise TypeError(
                f"{name} must be floating point, got {values.dtype}; convert inputs with "
                "x.float() and class indices with mixreg.dense_targets(y, num_classes, dtype=...)"
            )
        if values.ndim == 0 or values.shape[1:] != mean.shape:
            raise ValueError(
                f"the mean of {name} of shape {tuple(values.shape)} must have the shape of one "
                f"of them, got {tuple(mean.shape)}"
            )
    if len(x) != len(y):
        raise ValueError(f"need one target for each input, got {len(y)} for {len(x)}")
