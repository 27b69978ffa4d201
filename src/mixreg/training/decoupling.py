"""MIT-L: two mixes of each pair, whose outputs are taken apart again before the loss.

A rival of the rescaled prediction: it removes the mismatch between mixed training and unmixed
prediction during training, by twice the passes through the network, where equation 22 does so
afterwards.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mixreg._errors import ConfigurationError
from mixreg.laws import MixingLaw
from mixreg.losses import LossFunction
from mixreg.pairing import Per

MARGIN = 0.5
"""Least distance of the two weights, the default of the authors' program."""

_ATTEMPTS = 1000


class TwoWeights(NamedTuple):
    """The weights of the first example in the two mixes of each pair, each of shape (n,)."""

    larger: Tensor
    smaller: Tensor


def draw_two_weights(law: MixingLaw, n: int, *, generator: torch.Generator) -> TwoWeights:
    """Draw θ ≥ ½ and 1 − θ' ≤ ½ until they are `MARGIN` apart.

    Args:
        law: law of λ, folded for both.
        n: number of pairs.
        generator: CPU source of the draws.

    Returns:
        The weights, float64.

    Raises:
        ConfigurationError: the law hardly ever gives weights that far apart.
    """
    larger, smaller = (torch.full((n,), 0.5, dtype=torch.float64) for _ in range(2))
    for _ in range(_ATTEMPTS):
        near = (larger - smaller < MARGIN).nonzero().squeeze(1)
        if len(near) == 0:
            return TwoWeights(larger, smaller)
        larger[near] = law.sample_theta(len(near), generator=generator)
        smaller[near] = 1 - law.sample_theta(len(near), generator=generator)
    raise ConfigurationError(
        f"method 'mit-l' needs two mixing weights that lie {MARGIN:g} apart, which {law!r} hardly "
        "ever draws; choose a smaller --alpha"
    )


def decouple(u1: Tensor, u2: Tensor, weights: TwoWeights) -> tuple[Tensor, Tensor]:
    """The outputs of two examples from those of their two mixes, as if the network were linear.

    Solves u1 = λ1 u_a + (1 − λ1) u_b and u2 = λ2 u_a + (1 − λ2) u_b.

    Args:
        u1: outputs of the first mixes, shape (n, c).
        u2: outputs of the second mixes, shape (n, c).
        weights: λ1 and λ2.

    Returns:
        u_a and u_b, each (n, c).

    Source: Wang et al., "On the Pitfall of Mixup for Uncertainty Calibration", CVPR 2023.

    Example:
        >>> a, b = torch.tensor([[4.0]]), torch.tensor([[8.0]])
        >>> weights = TwoWeights(torch.tensor([0.75]), torch.tensor([0.25]))
        >>> decouple(0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b, weights)
        (tensor([[4.]]), tensor([[8.]]))
    """
    w1, w2 = (w.to(u1.device, u1.dtype).unsqueeze(1) for w in weights)
    distance = w1 - w2
    return ((1 - w2) * u1 - (1 - w1) * u2) / distance, (w1 * u2 - w2 * u1) / distance


def decoupled_loss(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: LossFunction,
    law: MixingLaw,
    *,
    per: Per,
    generator: torch.Generator,
) -> Tensor:
    """The loss of MIT-L: both examples of each pair against their own, unmixed targets.

    Args:
        net: the network, outputs (n, c).
        x: inputs, shape (n, ...).
        y: targets, shape (n, c).
        loss: unreduced loss of (targets, outputs).
        law: law of λ.
        per: two weights for each "sample", as mixreg mixes, or for the "batch", as the authors do.
        generator: CPU source of the draws.

    Returns:
        The mean loss, a scalar.

    Raises:
        ConfigurationError: the law hardly ever gives weights that far apart.
    """
    n = len(x)
    shift = int(torch.randint(n, (), generator=generator))
    drawn = draw_two_weights(law, 1 if per == "batch" else n, generator=generator)
    weights = TwoWeights(*(w.expand(n) for w in drawn))
    x_b, y_b = torch.roll(x, -shift, 0), torch.roll(y, -shift, 0)
    u1, u2 = net(torch.cat([_mix(x, x_b, w) for w in weights])).chunk(2)
    u_a, u_b = decouple(u1, u2, weights)
    return (loss(y, u_a).mean() + loss(y_b, u_b).mean()) / 2


def _mix(x_a: Tensor, x_b: Tensor, weight: Tensor) -> Tensor:
    rows = weight.to(x_a.device, x_a.dtype).view(-1, *(1,) * (x_a.ndim - 1))
    return torch.lerp(x_b, x_a, rows)
