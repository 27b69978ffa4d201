"""Small smooth problems on which the theory is checked, and the laws they are checked for."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from mixreg.laws import Beta, MixingLaw

LAWS: list[MixingLaw] = [Beta(alpha) for alpha in (0.1, 0.3, 1.0, 4.0)]


class Problem(NamedTuple):
    net: nn.Module
    x: Tensor
    y: Tensor
    loss: Any


def smooth_net(d: int, c: int, activation: nn.Module, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(d, 8), activation, nn.Linear(8, c)).double()


def custom_loss(y: Tensor, u: Tensor) -> Tensor:
    """A smooth loss in which labels and outputs interact in every second derivative."""
    return torch.cosh(u - y.sin()).sum(1) + (u * u.roll(1, 1) * y).sum(1) + u.pow(4).sum(1)


def soft_labels(n: int, c: int, g: torch.Generator) -> Tensor:
    return torch.softmax(torch.randn(n, c, generator=g, dtype=torch.float64), 1)


def one_hot(n: int, c: int, g: torch.Generator) -> Tensor:
    return torch.eye(c, dtype=torch.float64)[torch.randint(c, (n,), generator=g)]


def normal(n: int, c: int, g: torch.Generator) -> Tensor:
    return torch.randn(n, c, generator=g, dtype=torch.float64)


CASES: dict[str, tuple[int, int, int, nn.Module, Any, Callable[..., Tensor]]] = {
    "cross-entropy": (12, 6, 4, nn.Tanh(), "cross_entropy", one_hot),
    "cross-entropy, n < d": (5, 6, 3, nn.GELU(), "cross_entropy", one_hot),
    "cross-entropy, soft labels": (9, 2, 2, nn.Tanh(), "cross_entropy", soft_labels),
    "logistic": (12, 3, 1, nn.GELU(), "logistic", lambda *a: soft_labels(*a[:1], 2, a[2])[:, :1]),
    "logistic, two outputs": (4, 6, 2, nn.Tanh(), "logistic", soft_labels),
    "squared error": (12, 5, 3, nn.GELU(), "squared_error", normal),
    "squared error, n < d": (3, 6, 4, nn.Tanh(), "squared_error", normal),
    "custom": (12, 4, 3, nn.Tanh(), custom_loss, normal),
    "custom, n < d": (6, 6, 4, nn.GELU(), custom_loss, normal),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def problem(request: pytest.FixtureRequest) -> Problem:
    n, d, c, activation, loss, labels = CASES[request.param]
    g = torch.Generator().manual_seed(n * d + c)
    x = torch.randn(n, d, generator=g, dtype=torch.float64) + 1
    return Problem(smooth_net(d, c, activation, n + d), x, labels(n, c, g), loss)


@pytest.fixture(params=LAWS, ids=lambda law: f"alpha={law.alpha}")
def law(request: pytest.FixtureRequest) -> MixingLaw:
    return request.param
