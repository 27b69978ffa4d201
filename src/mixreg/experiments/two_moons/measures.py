"""What is measured of the models during training and at its end, for each repetition."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from mixreg.evaluation import METRICS, confidence_histogram, metrics
from mixreg.experiments.two_moons.designs import Features
from mixreg.experiments.two_moons.features import RandomFeatures
from mixreg.experiments.two_moons.methods import Method
from mixreg.experiments.two_moons.objectives import Objective
from mixreg.experiments.two_moons.problem import Points, Problem
from mixreg.laws import MixingLaw
from mixreg.losses import logistic, two_class_logits
from mixreg.prediction import unshrink

Prediction = Literal["raw", "rescaled"]
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)

RISKS: dict[Method, str] = {
    "erm": "empirical_risk",
    "mixup": "mixup_risk",
    "approximate": "approximate_risk",
    "modified": "modified_risk",
}
"""The risk that each method minimises."""

Arm = tuple[Method, Prediction]
Measured = dict[Arm, dict[str, Tensor]]
"""Metrics by name, each of shape (S,), of each method and prediction."""


class Measures:
    """Everything that is measured of models on one problem.

    Args:
        problem: the repetitions.
        features: their feature maps.
        law: law of λ.
        objectives: the risk of each method, for models with the parameters w.
    """

    def __init__(
        self,
        problem: Problem,
        features: RandomFeatures,
        law: MixingLaw,
        objectives: Mapping[Method, Objective],
    ) -> None:
        self._problem, self._law, self._objectives = problem, law, objectives
        sets = {"train": problem.train.inputs, "test": problem.test.inputs}
        self._points = {
            (name, prediction): Features(features.values(x))
            for name, inputs in sets.items()
            for prediction, x in (("raw", inputs), ("rescaled", problem.shrunk(inputs, law)))
        }

    def logits(self, weights: Tensor, split: str, prediction: Prediction) -> Tensor:
        """Predictions f(x), or those of equation 22 for one logit.

        Args:
            weights: w, shape (S, M).
            split: "train" or "test".
            prediction: "raw" or "rescaled".

        Returns:
            Shape (S, n), float64.
        """
        outputs = self._points[split, prediction].responses(weights).squeeze(2).double()
        if prediction == "raw":
            return outputs
        return unshrink(outputs.mT, self._problem.y_mean, self._law, link="sigmoid").mT

    def during(self, models: Mapping[Method, Tensor]) -> Measured:
        """Loss and accuracy of both predictions on both splits, and the risks of each model.

        Args:
            models: w of each method, shape (S, M).

        Returns:
            The metrics; risks stand with the raw prediction.
        """
        found: Measured = {}
        for method, w in models.items():
            for prediction in PREDICTIONS:
                train = self.logits(w, "train", prediction)
                test = self.logits(w, "test", prediction)
                found[method, prediction] = {
                    "train_nll": _nll(self._problem.train, train),
                    "train_accuracy": _accuracy(self._problem.train.targets, train),
                    "train_accuracy_true_labels": _accuracy(self._problem.true_labels, train),
                    "test_nll": _nll(self._problem.test, test),
                    "test_accuracy": _accuracy(self._problem.test.targets, test),
                }
        for objective, name in RISKS.items():
            for method, risk in self._objectives[objective].risks(models).items():
                found[method, "raw"][name] = risk
        return found

    def at_the_end(self, models: Mapping[Method, Tensor]) -> Measured:
        """What is measured during training, and calibration on the test points.

        `regularizers` are R1 + R3, by which the approximate risk exceeds that of the modified data.

        Args:
            models: w of each method, shape (S, M).

        Returns:
            The metrics.
        """
        found = self.during(models)
        for (method, prediction), values in found.items():
            logits = self.logits(models[method], "test", prediction)
            each = [
                metrics(two_class_logits(u), y.long())
                for u, y in zip(logits, self._problem.test.targets, strict=True)
            ]
            for name in METRICS:
                values[f"test_{name}"] = torch.tensor(
                    [getattr(m, name) for m in each], dtype=torch.float64
                )
            if prediction == "raw":
                values["regularizers"] = values["approximate_risk"] - values["modified_risk"]
        return found

    def confidences(self, weights: Tensor, prediction: Prediction) -> tuple[list[float], Tensor]:
        """Histograms of the confidence of predictions on the test points (Figure 9).

        Args:
            weights: w, shape (S, M).
            prediction: "raw" or "rescaled".

        Returns:
            The edges of the bins from ½ to 1, and the shares of the points in them, (S, bins).
        """
        logits = self.logits(weights, "test", prediction)
        histograms = [confidence_histogram(two_class_logits(u)) for u in logits]
        possible = len(histograms[0].counts) // 2
        shares = torch.tensor([h.counts[possible:] for h in histograms]) / logits.shape[1]
        return list(histograms[0].edges[possible:]), shares


def _nll(points: Points, logits: Tensor) -> Tensor:
    losses = logistic(points.targets.flatten().to(logits.dtype), logits.flatten())
    return losses.view_as(logits).mean(1)


def _accuracy(targets: Tensor, logits: Tensor) -> Tensor:
    return ((logits > 0) == (targets > 0.5)).double().mean(1)
