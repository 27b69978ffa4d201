"""A data set with a network and the way it is trained; the sizes that several figures share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mixreg.training import METHODS

ALPHA = 1.0
"""α of the figures that have one value of it."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """On what, how and how often classifiers are trained; costly methods have fewer seeds."""

    data: str
    model: str
    recipe: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: int
    costly_seeds: int
    alphas: tuple[float, ...] = (ALPHA,)

    @property
    def label(self) -> str:
        """Name in tables, pictures and records."""
        return f"{self.data}, {self.model}"

    @property
    def name(self) -> str:
        """Name of files."""
        return f"{self.data}-{self.model}"

    def seeds_of(self, method: str, wanted: int | None = None) -> range:
        """The seeds of a method; k is that of repetition k for every method."""
        seeds = self.seeds if wanted is None else wanted
        is_costly = METHODS[method].passes > 1
        return range(min(seeds, self.costly_seeds) if is_costly else seeds)


DIGITS = Setting(
    data="digits", model="mlp", changes={"epochs": 2, "batch_size": 256}, seeds=2, costly_seeds=2
)
_LENET: dict[str, Any] = {"data": "cifar10", "model": "lenet", "recipe": "cifar-lenet"}
_SHORT = {"epochs": 30, "milestones": [15]}  # instead of 200 epochs, for two cores

LENET: Mapping[str, Setting] = MappingProxyType(
    {
        "paper": Setting(**_LENET, seeds=10, costly_seeds=10),
        "cpu": Setting(**_LENET, changes=_SHORT, seeds=5, costly_seeds=3),
        "smoke": DIGITS,
    }
)
"""Figures 2, 3 and 7; the paper gives no number of repetitions, these are ours."""
