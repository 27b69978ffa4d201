"""One trained model with its numbers, and the group of runs it belongs to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from mixreg.evaluation import Evaluation


class Group(NamedTuple):
    """How a group of runs was trained; the runs of one group differ in their seeds alone."""

    method: str
    alpha: float | None

    @property
    def label(self) -> str:
        """Name in tables and pictures."""
        return self.method if self.alpha is None else f"{self.method} (α = {self.alpha:g})"


@dataclass(frozen=True)
class RunResult:
    """One trained model with all its numbers.

    Args:
        method: how it was trained, such as "erm" or "mixup".
        seed: seed of the run; runs of different methods with one seed are paired.
        alpha: α of the law it was trained with, None for methods that mix nothing.
        evaluation: its metrics on the test set.
        history: one entry an epoch, each with "epoch" and any other numbers by name.
        config: settings, JSON-safe.
        environment: versions and hardware, JSON-safe.
    """

    method: str
    seed: int
    alpha: float | None
    evaluation: Evaluation
    history: Sequence[Mapping[str, float]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> Group:
        """The group the run belongs to."""
        return Group(self.method, self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON-safe values.

        Returns:
            Values by name.
        """
        return vars(self) | {
            "evaluation": self.evaluation.to_dict(),
            "history": [dict(entry) for entry in self.history],
            "config": dict(self.config),
            "environment": dict(self.environment),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The run.
        """
        return cls(**(values | {"evaluation": Evaluation.from_dict(values["evaluation"])}))
