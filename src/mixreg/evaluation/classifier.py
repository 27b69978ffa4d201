"""Every correction and every metric of one trained classifier, from the same logits."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mixreg._checks import PROBABILITIES, are_probabilities
from mixreg.calibration import TemperatureFit, describe_limit, search_in_parts
from mixreg.evaluation.corrections import (
    CORRECTIONS,
    UNTEMPERED,
    Choice,
    Correction,
    choose,
    correct,
)
from mixreg.evaluation.intervals import (
    RESAMPLED,
    RESAMPLES,
    ExampleSums,
    MeanInterval,
    check_resamples,
    differences,
)
from mixreg.evaluation.metrics import (
    Histogram,
    Measurement,
    MetricName,
    Metrics,
    ReliabilityCurve,
    Tally,
    scores,
)
from mixreg.evaluation.predictions import Predictions
from mixreg.laws import MixingLaw

_Gaps = dict[tuple[Correction, Correction], dict[MetricName, MeanInterval]]


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
        effects: metrics less those of the raw prediction, with intervals by test examples; None
            for the raw prediction, and where none were asked for.
        held_out: metrics on the validation examples, None without any.

    Raises:
        ValueError: effects on other metrics than accuracy, nll, brier and ece.
    """

    metrics: Metrics
    temperature: float | None
    reliability: ReliabilityCurve
    confidence: Histogram
    entropy: Histogram
    remark: str | None = None
    effects: dict[MetricName, MeanInterval] | None = None
    held_out: Metrics | None = None

    def __post_init__(self) -> None:
        if self.effects is not None and self.effects.keys() != {*RESAMPLED}:
            raise ValueError(
                f"effects must be those on {', '.join(RESAMPLED)}, got {', '.join(self.effects)}"
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
        choice: the correction to use for this model; None where no intervals were asked for.
        resamples: number of sets of examples behind each interval, likewise.

    Raises:
        ValueError: no result for the raw predictions, or a number outside its range.
    """

    results: dict[Correction, CorrectedResult]
    absent: dict[Correction, str]
    count: int
    num_classes: int
    theta_mean: float
    choice: Choice | None = None
    resamples: int | None = None

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
    resamples: int = RESAMPLES,
    generator: torch.Generator | None = None,
) -> Evaluation:
    """Evaluate every correction on the same test logits, and choose one for this model.

    Memory does not grow with the number of examples. Intervals are those of `paired_bootstrap`,
    the choice is that of `choose`: on the validation examples, or without any on the test examples.

    Args:
        validation: predictions for held-out examples, to fit the temperatures; without them the
            two corrections that need one are absent.
        test: predictions for the test examples.
        y_mean: ȳ, the class means of the training labels, shape (c,); for two classes also the
            mean of one 0/1 label.
        law: law of λ that sets θ̄, the one of the predictions.
        resamples: number of sets of examples behind each interval, at least 100.
        generator: of their draws, on the CPU; without one there are no intervals and no choice.

    Returns:
        Metrics, temperature, reliability curve and histograms of each correction, its effects on
        the metrics with intervals, and the choice.

    Raises:
        ValueError: validation and test predictions with different numbers of classes, means that
            do not fit them, or too few resamples.

    Example:
        >>> import torch
        >>> from mixreg import Beta
        >>> logits, labels = torch.eye(2) * 3, torch.tensor([0, 0])
        >>> test = Predictions(logits, logits, labels)
        >>> evaluation = evaluate(None, test, y_mean=torch.tensor([0.5, 0.5]), law=Beta(1.0))
        >>> evaluation.results["rescaled"].metrics.accuracy
        0.5
    """
    check_resamples(resamples)
    if validation is not None and validation.num_classes != test.num_classes:
        raise ValueError(
            "validation and test predictions must have the same number of classes, got "
            f"{validation.num_classes} and {test.num_classes}"
        )
    if all(are_probabilities(part.raw) for part in test.parts()):
        warnings.warn(PROBABILITIES, stacklevel=2)
    absent: dict[Correction, str] = {}
    fits: dict[Correction, TemperatureFit | None] = {}
    for name in CORRECTIONS:
        if name not in UNTEMPERED:
            fits[name] = None
        elif validation is None:
            absent[name] = "needs held-out examples to fit its temperature, and none were given"
        else:
            fits[name] = _fit(validation, UNTEMPERED[name], y_mean, law)

    how = (fits, y_mean, law, resamples, generator)
    tested, test_gaps = _measure(test, *how)
    held_out, gaps = (None, test_gaps) if validation is None else _measure(validation, *how)
    results = {
        name: CorrectedResult(
            tested[name].metrics,
            None if fit is None else fit.temperature,
            tested[name].reliability,
            tested[name].confidence,
            tested[name].entropy,
            None if fit is None or fit.limit is None else describe_limit(fit.limit),
            test_gaps.get((name, "raw")),
            None if held_out is None else held_out[name].metrics,
        )
        for name, fit in fits.items()
    }
    evaluation = Evaluation(results, absent, test.count, test.num_classes, law.theta_mean)
    if generator is None:
        return evaluation
    choice = choose(
        fits,
        lambda first, second: gaps[first, second]["nll"],
        "test" if validation is None else "validation",
    )
    return replace(evaluation, choice=choice, resamples=resamples)


def _measure(
    predictions: Predictions,
    fits: Mapping[Correction, TemperatureFit | None],
    y_mean: Tensor,
    law: MixingLaw,
    resamples: int,
    generator: torch.Generator | None,
) -> tuple[dict[Correction, Measurement], _Gaps]:
    """Every correction on one split, and the differences of every two of them."""
    names = list(fits)
    tallies = [Tally(predictions.num_classes) for _ in names]
    sums = generator and ExampleSums(predictions.count, len(names), generator)
    for part in predictions.parts():
        scored = []
        for name, fit in fits.items():
            temperature = None if fit is None else fit.temperature
            logits = correct(part, name, y_mean=y_mean, law=law, temperature=temperature)
            scored.append(scores(logits, part.labels))
        for tally, scores_of in zip(tallies, scored, strict=True):
            tally.add(scores_of)
        if sums:
            sums.add(scored)
    of = {name: tally.result() for name, tally in zip(names, tallies, strict=True)}
    gaps = differences(*sums.resample(resamples), predictions.count) if sums else {}
    return of, {(names[a], names[b]): gap for (a, b), gap in gaps.items()}


def _fit(
    validation: Predictions, correction: Correction, y_mean: Tensor, law: MixingLaw
) -> TemperatureFit:
    def parts() -> Iterator[tuple[Tensor, Tensor]]:
        for part in validation.parts():
            yield correct(part, correction, y_mean=y_mean, law=law), part.labels

    return search_in_parts(parts)
