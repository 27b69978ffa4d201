"""Every correction and every metric of one trained classifier, from the same logits."""

import warnings
from dataclasses import dataclass

from torch import Tensor

from mixreg._checks import PROBABILITIES, are_probabilities
from mixreg.calibration import describe_limit, search_temperature
from mixreg.evaluation.corrections import CORRECTIONS, UNTEMPERED, Correction, correct
from mixreg.evaluation.metrics import Histogram, Metrics, ReliabilityCurve, measure
from mixreg.evaluation.predictions import Predictions
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


@dataclass(frozen=True)
class Evaluation:
    """All corrections of one trained classifier.

    Args:
        results: by correction, in the order of `CORRECTIONS`.
        absent: corrections that could not be computed, each with the reason.
        count: number of test examples.
        num_classes: number of classes.
        theta_mean: θ̄ of the law that the corrections use.

    Raises:
        ValueError: no result for the raw predictions, or a number outside its range.
    """

    results: dict[Correction, CorrectedResult]
    absent: dict[Correction, str]
    count: int
    num_classes: int
    theta_mean: float

    def __post_init__(self) -> None:
        if "raw" not in self.results:
            raise ValueError("results must hold those of the raw predictions")
        if self.count < 1 or self.num_classes < 2 or not 0.5 <= self.theta_mean <= 1:
            raise ValueError(
                "need count >= 1, num_classes >= 2 and theta_mean in [1/2, 1], got "
                f"{self.count}, {self.num_classes} and {self.theta_mean}"
            )


def evaluate(
    validation: Predictions | None,
    test: Predictions,
    *,
    y_mean: Tensor,
    law: MixingLaw,
) -> Evaluation:
    """Evaluate raw, rescaled and temperature-scaled predictions on the same test logits.

    Memory does not grow with the number of test examples.

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
        >>> logits, labels = torch.eye(2) * 3, torch.tensor([0, 0])
        >>> test = Predictions(logits, logits, labels)
        >>> evaluation = evaluate(None, test, y_mean=torch.tensor([0.5, 0.5]), law=Beta(1.0))
        >>> evaluation.results["rescaled"].metrics.accuracy
        0.5
    """
    if validation is not None and validation.num_classes != test.num_classes:
        raise ValueError(
            "validation and test predictions must have the same number of classes, got "
            f"{validation.num_classes} and {test.num_classes}"
        )
    if all(are_probabilities(part.raw) for part in test.parts()):
        warnings.warn(PROBABILITIES, stacklevel=2)
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
        corrected = (
            (correct(part, name, y_mean=y_mean, law=law, temperature=temperature), part.labels)
            for part in test.parts()
        )
        measured = measure(corrected, test.num_classes)
        remark = None if fit is None or fit.limit is None else describe_limit(fit.limit)
        results[name] = CorrectedResult(
            measured.metrics,
            temperature,
            measured.reliability,
            measured.confidence,
            measured.entropy,
            remark,
        )
    return Evaluation(results, absent, test.count, test.num_classes, law.theta_mean)
