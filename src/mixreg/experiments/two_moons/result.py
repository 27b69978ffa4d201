"""What the two-moon experiments leave behind."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mixreg._errors import CheckpointError
from mixreg._files import write_bytes
from mixreg.evaluation import MeanInterval, mean_interval
from mixreg.experiments.two_moons.claims import CLAIMS, Finding, judge
from mixreg.experiments.two_moons.measures import Arm
from mixreg.experiments.two_moons.picture import Picture
from mixreg.experiments.two_moons.settings import TwoMoonsSettings

FORMAT = 1


@dataclass(frozen=True)
class Curve:
    """One metric of one model over the recorded epochs.

    Args:
        arm: method and prediction.
        metric: name of the metric.
        means: mean over repetitions with its 95% confidence interval, one for each epoch.
    """

    arm: Arm
    metric: str
    means: tuple[MeanInterval, ...]


@dataclass(frozen=True)
class Outcome:
    """What one method and prediction ended with.

    Args:
        arm: method and prediction.
        values: each metric, one value for each repetition.
        confidence_edges: edges of the bins of the confidence on test points, from ½ to 1.
        confidence_shares: share of the test points in each bin, over repetitions.
    """

    arm: Arm
    values: Mapping[str, tuple[float, ...]]
    confidence_edges: tuple[float, ...]
    confidence_shares: tuple[MeanInterval, ...]

    def mean(self, metric: str) -> MeanInterval:
        """A metric over the repetitions.

        Args:
            metric: its name.

        Returns:
            Mean with its 95% confidence interval.
        """
        return mean_interval(self.values[metric])


@dataclass(frozen=True)
class TwoMoonsResult:
    """Figures 1, 8 and 9 as numbers.

    Args:
        settings: how it was made.
        environment: versions and hardware.
        seconds: wall-clock time of setting up, training and measuring on the way, of all
            repetitions and methods.
        processor_seconds: processor time of the same, which other programs do not prolong.
        epochs: numbers of finished epochs at the points of the curves.
        curves: every metric over the epochs.
        outcomes: every metric at the end, and the confidence on test points.
        picture: decision boundaries of one repetition.
    """

    settings: TwoMoonsSettings
    environment: Mapping[str, Any]
    seconds: float
    processor_seconds: float
    epochs: tuple[int, ...]
    curves: tuple[Curve, ...]
    outcomes: tuple[Outcome, ...]
    picture: Picture

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The paper's claims with their measured differences."""
        values = {outcome.arm: outcome.values for outcome in self.outcomes}
        return tuple(judge(claim, values) for claim in CLAIMS)

    def curve(self, arm: Arm, metric: str) -> Curve:
        """One curve.

        Args:
            arm: method and prediction.
            metric: name of the metric.

        Returns:
            The curve.

        Raises:
            KeyError: there is none.
        """
        for curve in self.curves:
            if curve.arm == arm and curve.metric == metric:
                return curve
        raise KeyError((arm, metric))

    def outcome(self, arm: Arm) -> Outcome:
        """What one method and prediction ended with.

        Args:
            arm: method and prediction.

        Returns:
            The outcome.

        Raises:
            KeyError: there is none.
        """
        for outcome in self.outcomes:
            if outcome.arm == arm:
                return outcome
        raise KeyError(arm)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-safe values, with the means and findings that follow from them.

        Returns:
            Values by name, read back by `from_dict`.
        """
        return {
            "format": FORMAT,
            "settings": self.settings.to_dict(),
            "seeds": list(self.settings.seeds),
            "environment": dict(self.environment),
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "epochs": list(self.epochs),
            "findings": [finding.to_dict() for finding in self.findings],
            "outcomes": [_outcome_dict(outcome) for outcome in self.outcomes],
            "curves": [
                {"arm": list(c.arm), "metric": c.metric, **_columns(c.means)} for c in self.curves
            ],
            "picture": self.picture.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The result.

        Raises:
            CheckpointError: they were written by another version, or are incomplete.
        """
        if values.get("format") != FORMAT:
            raise CheckpointError(
                f"the two-moon result has format {values.get('format')!r}, this version reads "
                f"{FORMAT}; run the experiment again"
            )
        try:
            return cls(
                settings=TwoMoonsSettings.from_dict(values["settings"]),
                environment=values["environment"],
                seconds=values["seconds"],
                processor_seconds=values["processor_seconds"],
                epochs=tuple(values["epochs"]),
                curves=tuple(
                    Curve(_arm(c["arm"]), c["metric"], _intervals(c)) for c in values["curves"]
                ),
                outcomes=tuple(_outcome(o) for o in values["outcomes"]),
                picture=Picture.from_dict(values["picture"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the two-moon result is damaged ({error!r}); run the experiment again"
            ) from error

    def save(self, path: Path) -> None:
        """Write the result as JSON, whole or not at all.

        Args:
            path: the file; its folder exists.
        """
        write_bytes(path, json.dumps(self.to_dict(), allow_nan=False).encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a result that `save` wrote.

        Args:
            path: the file.

        Returns:
            The result.

        Raises:
            CheckpointError: it is not there, damaged, or of another version.
        """
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read a two-moon result from {path}: {error}") from error
        return cls.from_dict(values)


def _outcome_dict(outcome: Outcome) -> dict[str, Any]:
    return {
        "arm": list(outcome.arm),
        "means": {name: outcome.mean(name)._asdict() for name in outcome.values},
        "values": {name: list(values) for name, values in outcome.values.items()},
        "confidence_edges": list(outcome.confidence_edges),
        "confidence_shares": _columns(outcome.confidence_shares),
    }


def _outcome(values: Mapping[str, Any]) -> Outcome:
    return Outcome(
        arm=_arm(values["arm"]),
        values={name: tuple(listed) for name, listed in values["values"].items()},
        confidence_edges=tuple(values["confidence_edges"]),
        confidence_shares=_intervals(values["confidence_shares"]),
    )


def _columns(means: tuple[MeanInterval, ...]) -> dict[str, Any]:
    return {
        "mean": [m.mean for m in means],
        "half_width": [m.half_width for m in means],
        "n": means[0].n,
    }


def _intervals(columns: Mapping[str, Any]) -> tuple[MeanInterval, ...]:
    pairs = zip(columns["mean"], columns["half_width"], strict=True)
    return tuple(MeanInterval(mean, half, columns["n"]) for mean, half in pairs)


def _arm(values: list[Any]) -> Arm:
    method, prediction = values
    return method, prediction
