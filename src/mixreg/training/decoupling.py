"""MIT: two mixes of each pair are taken apart as if the network were linear.

From u1 = λ1 u_a + (1 − λ1) u_b and u2 = λ2 u_a + (1 − λ2) u_b follow u_a and u_b, on which the loss
of the unmixed targets is taken. MIT-L does so with the outputs alone, MIT-A after every block too,
where a and b are mixed again with new weights.

Source: Wang et al., "On the Pitfall of Mixup for Uncertainty Calibration", CVPR 2023.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mixreg._checks import as_rows
from mixreg._errors import ConfigurationError
from mixreg.laws import MixingLaw

MARGIN = 0.5
"""Least distance of the two weights, the default of the authors' program."""

_ATTEMPTS = 1000
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus)


class TwoWeights(NamedTuple):
    """The weights of the first example in the two mixes of each pair, each of shape (n,)."""

    larger: Tensor
    smaller: Tensor


def draw_two_weights(law: MixingLaw, n: int, *, generator: torch.Generator) -> TwoWeights:
    """Draw θ ≥ ½ and 1 − θ' ≤ ½ in float64 until they are `MARGIN` apart."""
    larger, smaller = (torch.full((n,), 0.5, dtype=torch.float64) for _ in range(2))
    for _ in range(_ATTEMPTS):
        near = (larger - smaller < MARGIN).nonzero().squeeze(1)
        if len(near) == 0:
            return TwoWeights(larger, smaller)
        larger[near] = law.sample_theta(len(near), generator=generator)
        smaller[near] = 1 - law.sample_theta(len(near), generator=generator)
    raise ConfigurationError(
        f"mit-l and mit-a need two mixing weights that lie {MARGIN:g} apart, which {law!r} hardly "
        "ever draws; choose a smaller --alpha"
    )


def mix_twice(a: Tensor, b: Tensor, weights: TwoWeights) -> Tensor:
    """Both mixes of a and b (n, ...), one after the other, shape (2n, ...)."""
    return torch.cat([torch.lerp(b, a, as_rows(w, a)) for w in weights])


def decouple(u1: Tensor, u2: Tensor, weights: TwoWeights) -> tuple[Tensor, Tensor]:
    """Solve u1 = λ1 u_a + (1 − λ1) u_b, u2 = λ2 u_a + (1 − λ2) u_b for u_a and u_b, (n, ...)."""
    w1, w2 = (as_rows(w, u1) for w in weights)
    distance = w1 - w2
    return ((1 - w2) * u1 - (1 - w1) * u2) / distance, (w1 * u2 - w2 * u1) / distance


def ends_of_blocks(net: nn.Module) -> list[nn.Module]:
    """The last layer of each block of a chain: its activations and its stages of inner layers."""
    ends: list[nn.Module] = []
    for part in net.children():
        is_stage = any(True for _ in part.children())
        is_chain = isinstance(part, nn.Sequential) and not any(list(p.children()) for p in part)
        if is_chain:
            ends += ends_of_blocks(part)
        elif is_stage or isinstance(part, _ACTIVATIONS):
            ends.append(part)
    return ends


def check_block(block: nn.Module, outputs: Any, rows: int) -> None:
    """Refuse a block whose output is no batch of the mixes."""
    if not isinstance(outputs, Tensor) or len(outputs) != rows:
        raise ConfigurationError(
            f"method 'mit-a' takes apart what each block returns, but {type(block).__name__} "
            "returns no tensor with one row for each input; use mit-l, which needs outputs alone"
        )
