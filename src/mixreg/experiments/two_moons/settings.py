"""Settings of the two-moon experiments (appendix B.3) and the scales they are run at."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import torch

from mixreg._errors import ConfigurationError
from mixreg.data.embedded import LABEL_NOISE
from mixreg.laws import Beta, MixingLaw

Precision = Literal["float32", "float64"]
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class TwoMoonsSettings:
    """One set of repetitions of the two-moon problem, all trained at once.

    The defaults are the paper's, from appendix B.3, but for the number of epochs, which it does
    not give. What mixup and its approximation minimise has settled after 1000: in ten repetitions
    of 8000 epochs their own risks fall by less than half a per cent from there on. ERM never
    settles; its test loss is lowest after about 100 epochs and keeps rising.

    Args:
        repetitions: instances of the data; repetition k has the seed k.
        epochs: passes over the training points.
        batch_size: b.
        learning_rate: the step size.
        alpha: α of mixup.
        num_features: M.
        feature_scale: σ of the random frequencies.
        label_noise: part of the training labels that are flipped.
        records: epochs, spaced evenly on a logarithmic axis, after which everything is measured.
        risk_draws: fixed draws for each training point that estimate the Mixup risk (4).
        picture_steps: full-batch steps behind the decision boundaries of Figure 1.
        picture_draws: draws for each training point in each of these steps.
        precision: floating-point type of the training.

    Raises:
        TypeError: a count is not an integer, or another value not a number.
        ConfigurationError: a value is out of range.

    Source: Carratino et al., "On Mixup Regularization", appendix B.3.
    """

    repetitions: int = 30
    epochs: int = 1000
    batch_size: int = 50
    learning_rate: float = 5.0
    alpha: float = 1.0
    num_features: int = 1000
    feature_scale: float = 10.0
    label_noise: float = LABEL_NOISE
    records: int = 40
    risk_draws: int = 20
    picture_steps: int = 1500
    picture_draws: int = 16
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int:
                _check_count(field.name, value)
            elif field.type is float:
                _check_positive(field.name, value, or_zero=field.name == "label_noise")
        if self.label_noise > 1:
            raise ConfigurationError(f"label_noise must be at most 1, got {self.label_noise}")
        if self.precision not in _DTYPES:
            raise ConfigurationError(
                f"precision must be one of {', '.join(_DTYPES)}; got {self.precision!r}"
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the repetitions."""
        return tuple(range(self.repetitions))

    @property
    def law(self) -> MixingLaw:
        """The law of λ."""
        return Beta(self.alpha)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the training."""
        return _DTYPES[self.precision]

    @property
    def recorded_epochs(self) -> tuple[int, ...]:
        """Numbers of finished epochs after which everything is measured; the last one among them.

        Example:
            >>> TwoMoonsSettings(epochs=100, records=3).recorded_epochs
            (1, 10, 100)
        """
        steps = max(self.records - 1, 1)
        spaced = {round(self.epochs ** (k / steps)) for k in range(self.records)}
        return tuple(sorted(spaced | {self.epochs}))

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-safe values.

        Returns:
            Values by name.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The settings.
        """
        return cls(**values)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ConfigurationError(f"{name} must be at least 1, got {value}")


def _check_positive(name: str, value: object, *, or_zero: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (math.isfinite(value) and (value > 0 or (or_zero and value == 0))):
        words = "at least 0" if or_zero else "positive"
        raise ConfigurationError(f"{name} must be finite and {words}, got {value}")


PAPER = TwoMoonsSettings()
CPU = PAPER
SMOKE = TwoMoonsSettings(
    repetitions=3,
    epochs=20,
    num_features=100,
    records=5,
    risk_draws=2,
    picture_steps=20,
    picture_draws=2,
)
SCALES = {"paper": PAPER, "cpu": CPU, "smoke": SMOKE}
"""Settings by the name of their scale; the paper's own takes a minute or two on two cores."""
