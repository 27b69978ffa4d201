"""Which runs Table 1 takes."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixreg._errors import ConfigurationError
from mixreg.experiments.sweeping import SweepSettings
from mixreg.experiments.table1.measurement import MeasurementSettings
from mixreg.settings import check_method
from mixreg.training import METHODS, Recipe, TrainConfig

BASELINE = "erm"
_REGULARIZERS = ("label-smoothing", "spectral", "dropout", "mixup", "approximate")


@dataclass(frozen=True, kw_only=True)
class Table1Config(Recipe, SweepSettings):
    """Table 1 by measurement: methods × label noise × seeds.

    Temperature scaling and the rescaled prediction are further rows from the same runs.

    Args:
        methods: the methods; erm, which all others are compared with, must be among them.
        seeds: number of repetitions; repetition k has the seed k for every method.
        noise_levels: shares of the training labels replaced by other classes; 0 must be among
            them, and all but the robustness to label noise is measured there.
        input_scales: factors s of the test inputs x̄ + s(x − x̄) that the sensitivity to the scale
            of the inputs is measured at.
        jacobian_samples: test samples that Jacobians are computed at, or all if there are fewer.
        pairs: pairs of these samples that the roughness between samples is estimated from.
        output: directory of the runs and the report.

    Raises:
        ConfigurationError: a value is out of range, or a method is unknown or named twice.
    """

    methods: list[str] = dataclasses.field(
        default_factory=lambda: [BASELINE, *(m for m in _REGULARIZERS if m in METHODS)]
    )
    seeds: int = 5
    noise_levels: list[float] = dataclasses.field(default_factory=lambda: [0.0, 0.2, 0.4])
    input_scales: list[float] = dataclasses.field(default_factory=lambda: [0.5, 0.75, 1.25, 1.5])
    jacobian_samples: int = 1000
    pairs: int = 4000
    output: Path = Path("mixreg-runs/table1")

    def __post_init__(self) -> None:
        super().__post_init__()
        SweepSettings.__post_init__(self)
        for method in self.methods:
            check_method(method)
        noise, scales = self.noise_levels, self.input_scales
        for name, valid, meaning in (
            ("methods", _distinct(self.methods), "named once each"),
            ("methods", BASELINE in self.methods, f"such that {BASELINE!r} is among them"),
            ("seeds", self.seeds >= 1, "at least 1"),
            ("noise_levels", _distinct(noise) and 0 in noise, "distinct, with 0 among them"),
            ("noise_levels", all(0 <= q < 1 for q in noise), "in [0, 1)"),
            ("input_scales", _distinct(scales) and 1 not in scales, "distinct and other than 1"),
            ("input_scales", all(0 < s < math.inf for s in scales), "positive and finite"),
            ("jacobian_samples", self.jacobian_samples >= 2, "at least 2"),
            ("pairs", self.pairs >= 2, "at least 2"),
            ("devices", self.devices == 1, "1: the runs go side by side on one device each"),
            ("label_noise", self.label_noise is None, "left out: noise_levels sets it"),
        ):
            if not valid:
                raise ConfigurationError(f"{name} must be {meaning}, got {getattr(self, name)}")

    @property
    def measurement(self) -> MeasurementSettings:
        """What is measured of each run."""
        return MeasurementSettings(tuple(self.input_scales), self.jacobian_samples, self.pairs)

    def identity(self) -> dict[str, Any]:
        """The settings of the experiment, JSON-safe.

        Returns:
            Values by name, without those that only say where files lie or what is shown.
        """
        of_runs = self.runs()[0].identity()
        values = dataclasses.asdict(self)
        shared = {name: value for name, value in values.items() if name in of_runs}
        own = ("methods", "seeds", "noise_levels", "input_scales", "jacobian_samples", "pairs")
        return shared | {name: values[name] for name in own}

    def runs(self) -> list[TrainConfig]:
        """The runs of the table.

        Returns:
            One configuration for each method, noise level and seed.
        """
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(Recipe)}
        shared["progress"] = False
        return [
            TrainConfig(
                **(shared | {"label_noise": float(noise)}),
                method=method,
                seed=seed,
                output=self.output / "runs" / f"{method}-noise{noise:g}-seed{seed}",
            )
            for seed in range(self.seeds)
            for noise in self.noise_levels
            for method in self.methods
        ]


def _distinct(values: list[str] | list[float]) -> bool:
    return len(set(values)) == len(values) > 0
