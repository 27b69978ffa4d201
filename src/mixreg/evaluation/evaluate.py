"""Every correction and every metric of one trained classifier, from the same logits."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from mixreg.calibration import TemperatureFit, describe_limit, search_temperature
from mixreg.evaluation.corrections import CORRECTIONS, UNTEMPERED, Correction, correct
from mixreg.evaluation.metrics import Metrics, metrics
from mixreg.evaluation.predictions import Predictions
from mixreg.evaluation.reliability import (
    Histogram,
    ReliabilityCurve,
    confidence_histogram,
    entropy_histogram,
    reliability_curve,
)
from mixreg.laws import MixingLaw


@dataclass(frozen=True)
class CorrectedResult:
    """What one correction gives on the test set.

    Args:
        metrics: means over the test examples.
        temperature: fitted to the validation examples, None for corrections without one.
        reliability: accuracy by confidence.
        confidence: histogram of the top probabilities.
        entropy: histogram of the entropies of the predictions.
        remark: why the temperature is a bound and not a minimum, if it is.
    """

    metrics: Metrics
    temperature: float | None
    reliability: ReliabilityCurve
    confidence: Histogram
    entropy: Histogram
    remark: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-safe values.

        Returns:
            Values by name.
        """
        return dataclasses.asdict(self) | {
            name: getattr(self, name).to_dict() for name in ("reliability", "confidence", "entropy")
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The result.
        """
        return cls(
            metrics=Metrics(**values["metrics"]),
            temperature=values["temperature"],
            reliability=ReliabilityCurve.from_dict(values["reliability"]),
            confidence=Histogram.from_dict(values["confidence"]),
            entropy=Histogram.from_dict(values["entropy"]),
            remark=values["remark"],
        )


@dataclass(frozen=True)
class Evaluation:
    """All corrections of one trained classifier.

    Args:
        results: by correction, in the order of `CORRECTIONS`.
        absent: corrections that could not be computed, each with the reason.
        count: number of test examples.
        num_classes: number of classes.
        theta_mean: θ̄ of the law that the corrections use.
    """

    results: dict[Correction, CorrectedResult]
    absent: dict[Correction, str]
    count: int
    num_classes: int
    theta_mean: float

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON-safe values.

        Returns:
            Values by name.
        """
        results = {name: result.to_dict() for name, result in self.results.items()}
        return vars(self) | {"results": results, "absent": dict(self.absent)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The evaluation.
        """
        stored = values["results"]
        results = {name: CorrectedResult.from_dict(result) for name, result in stored.items()}
        return cls(**(values | {"results": results, "absent": dict(values["absent"])}))


def evaluate(
    validation: Predictions | None,
    test: Predictions,
    *,
    y_mean: Tensor,
    law: MixingLaw,
) -> Evaluation:
    """Evaluate raw, rescaled and temperature-scaled predictions on the same test logits.

    Args:
        validation: predictions for held-out examples, to fit the temperatures; without them the
            two corrections that need one are absent.
        test: predictions for the test examples.
        y_mean: ȳ, the class means of the training labels, shape (c,); for two classes also the
            mean of one 0/1 label.
        law: law of λ that sets θ̄, the one of the predictions.

    Returns:
        Metrics, temperature, reliability curve and histograms of each correction.

    Raises:
        ValueError: validation and test predictions with different numbers of classes, or means
            that do not fit them.

    Example:
        >>> import torch
        >>> from mixreg import Beta
        >>> logits, labels = torch.eye(2), torch.tensor([0, 0])
        >>> test = Predictions(logits, logits, labels)
        >>> found = evaluate(None, test, y_mean=torch.tensor([0.5, 0.5]), law=Beta(1.0))
        >>> found.results["rescaled"].metrics.accuracy
        0.5
    """
    if validation is not None and validation.num_classes != test.num_classes:
        raise ValueError(
            "validation and test predictions must have the same number of classes, got "
            f"{validation.num_classes} and {test.num_classes}"
        )
    results: dict[Correction, CorrectedResult] = {}
    absent: dict[Correction, str] = {}
    for name in CORRECTIONS:
        fit = None
        if name in UNTEMPERED:
            if validation is None:
                absent[name] = "needs held-out examples to fit its temperature, and none were given"
                continue
            held_out = correct(validation, UNTEMPERED[name], y_mean=y_mean, law=law)
            fit = search_temperature(held_out, validation.labels)
        temperature = None if fit is None else fit.temperature
        logits = correct(test, name, y_mean=y_mean, law=law, temperature=temperature)
        results[name] = _result(logits, test.labels, fit)
    return Evaluation(results, absent, test.count, test.num_classes, law.theta_mean)


def _result(logits: Tensor, labels: Tensor, fit: TemperatureFit | None) -> CorrectedResult:
    return CorrectedResult(
        metrics=metrics(logits, labels),
        temperature=None if fit is None else fit.temperature,
        reliability=reliability_curve(logits, labels),
        confidence=confidence_histogram(logits),
        entropy=entropy_histogram(logits),
        remark=None if fit is None or fit.limit is None else describe_limit(fit.limit),
    )
