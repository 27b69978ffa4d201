"""What Table 1 measures of one trained classifier, for each way of predicting with it."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from mixreg._errors import CheckpointError
from mixreg._files import write_json
from mixreg._random import generator
from mixreg.calibration import describe_limit, search_temperature
from mixreg.diagnostics import JacobianNorms, jacobian_norms, roughness
from mixreg.evaluation import metrics
from mixreg.losses import two_class_logits
from mixreg.prediction import Link, RescaledModel
from mixreg.training import METHODS, RunDirectory, TrainConfig, TrainedClassifier, load_run

_FILE = "table1.json"
_BATCH = 500

Prediction = Literal["raw", "temperature", "rescaled"]
Predictor = Callable[[Tensor], Tensor]


class MeasurementSettings(NamedTuple):
    """Factors of the scaled test inputs, and numbers of samples and pairs for Jacobians."""

    input_scales: tuple[float, ...]
    jacobian_samples: int
    pairs: int


@dataclass(frozen=True)
class Measurement:
    """One way of predicting with one trained classifier, on the test set.

    Args:
        accuracy: share of right predictions.
        nll: negative log-likelihood, nats.
        ece: expected calibration error in 15 bins.
        roughness: slope of the logits between test samples over that of straight lines, or None.
        jacobian: mean ‖∇f(x)‖_F of the logits.
        probability_jacobian: mean ‖∇p(x)‖_F of the predicted probabilities.
        scaled_accuracy: accuracy at x̄ + s(x − x̄), for each of the scales s.
        scaled_nll: NLL there.
        temperature: fitted to held-out samples, for the prediction that divides by one.
        remark: why that temperature is a bound and not a minimum, if it is.
    """

    accuracy: float
    nll: float
    ece: float
    roughness: float | None
    jacobian: float
    probability_jacobian: float
    scaled_accuracy: tuple[float, ...]
    scaled_nll: tuple[float, ...]
    temperature: float | None = None
    remark: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `dataclasses.asdict` gave.

        Args:
            values: values by name.

        Returns:
            The measurement.
        """
        lists = ("scaled_accuracy", "scaled_nll")
        return cls(**(values | {name: tuple(values[name]) for name in lists}))


def measure_run(settings: MeasurementSettings, run: RunDirectory, config: TrainConfig) -> None:
    """Measure a finished run and store the result in its directory; once for the same settings.

    Args:
        settings: what to measure.
        run: the run.
        config: its configuration, which says where the data lie.
    """
    if _stored_settings(run) == _plain(settings):
        return
    trained = load_run(run.path, {"data_root": config.data_root})
    found = {name: asdict(value) for name, value in measure(trained, settings).items()}
    write_json(run.path / _FILE, {"settings": _plain(settings), "predictions": found})


def read_measurements(run: RunDirectory) -> dict[Prediction, Measurement]:
    """What `measure_run` stored.

    Args:
        run: the run.

    Returns:
        Measurements by way of predicting.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    file = run.path / _FILE
    try:
        stored = json.loads(file.read_text())["predictions"]
        return {name: Measurement.from_dict(values) for name, values in stored.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is missing or damaged ({error}); delete it and run the same command again"
        ) from error


def measure(
    trained: TrainedClassifier, settings: MeasurementSettings
) -> dict[Prediction, Measurement]:
    """Measure a trained classifier on its test set.

    The raw prediction is always measured; temperature scaling for ERM, where there are held-out
    samples to fit it to; the rescaled prediction (22) for methods that shrink their data.

    Args:
        trained: the classifier.
        settings: what to measure.

    Returns:
        Measurements by way of predicting.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = trained.net.to(device)

    def raw(x: Tensor) -> Tensor:
        return two_class_logits(net(x.to(device)))

    logits, labels = _test_logits(raw, trained, settings.input_scales)
    x = _jacobian_inputs(trained, settings.jacobian_samples).to(device)
    norms = jacobian_norms(raw, x)
    rough = _roughness(raw, x, settings)
    found: dict[Prediction, Measurement] = {"raw": _measurement(logits, labels, norms, rough)}
    if trained.config.method == "erm" and trained.data.size("validation") > 0:
        fit = search_temperature(*_logits(raw, trained.data.batches("validation", _BATCH)))
        cooled = jacobian_norms(lambda x: raw(x) / fit.temperature, x)
        cooled_logits = [u / fit.temperature for u in logits]
        found["temperature"] = dataclasses.replace(
            # The same roughness by definition; computed anew it would differ by rounding.
            _measurement(cooled_logits, labels, cooled, rough),
            temperature=fit.temperature,
            remark=None if fit.limit is None else describe_limit(fit.limit),
        )
    if METHODS[trained.config.method].mixes:
        link: Link = "sigmoid" if trained.config.loss == "logistic" else "softmax"
        model = RescaledModel(net, trained.stats, trained.law, link).eval()

        def rescaled(x: Tensor) -> Tensor:
            return two_class_logits(model(x.to(device)))

        logits, labels = _test_logits(rescaled, trained, settings.input_scales)
        rough = _roughness(rescaled, x, settings)
        found["rescaled"] = _measurement(logits, labels, jacobian_norms(rescaled, x), rough)
    return found


def _roughness(predictor: Predictor, x: Tensor, settings: MeasurementSettings) -> float | None:
    """Between the same pairs for all runs."""
    source = generator("table 1", "pairs")
    return roughness(predictor, x, generator=source, pairs=settings.pairs).value


def _measurement(
    logits: list[Tensor], labels: Tensor, norms: JacobianNorms, rough: float | None
) -> Measurement:
    """From the logits at the test inputs, then at the scaled ones."""
    assert norms.probabilities is not None
    at_inputs, *at_scaled = (metrics(u, labels) for u in logits)
    return Measurement(
        accuracy=at_inputs.accuracy,
        nll=at_inputs.nll,
        ece=at_inputs.ece,
        roughness=rough,
        jacobian=float(norms.outputs.mean()),
        probability_jacobian=float(norms.probabilities.mean()),
        scaled_accuracy=tuple(found.accuracy for found in at_scaled),
        scaled_nll=tuple(found.nll for found in at_scaled),
    )


def _test_logits(
    predictor: Predictor, trained: TrainedClassifier, scales: tuple[float, ...]
) -> tuple[list[Tensor], Tensor]:
    """Logits at the test inputs and at each scaling of them about x̄, and the labels."""
    mean = trained.stats.x_mean.float()
    found = [
        _logits(predictor, ((mean + s * (x - mean), y) for x, y in _test_batches(trained)))
        for s in scales
    ]
    at_inputs = _logits(predictor, _test_batches(trained))
    return [at_inputs[0], *(u for u, _ in found)], at_inputs[1]


def _logits(
    predictor: Predictor, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Logits on the CPU in float64, and labels."""
    with torch.no_grad():
        parts = [(predictor(x).double().cpu(), y) for x, y in batches]
    logits, labels = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(labels)


def _jacobian_inputs(trained: TrainedClassifier, samples: int) -> Tensor:
    """Test inputs drawn once for all runs, in the order of the test set."""
    size = trained.data.size("test")
    drawn = torch.randperm(size, generator=generator("table 1"))[:samples]
    chosen = torch.zeros(size, dtype=torch.bool)
    chosen[drawn] = True
    parts, start = [], 0
    for x, _ in _test_batches(trained):
        parts.append(x[chosen[start : start + len(x)]])
        start += len(x)
    return torch.cat(parts)


def _test_batches(trained: TrainedClassifier) -> Iterable[tuple[Tensor, Tensor]]:
    return trained.data.batches("test", _BATCH)


def _stored_settings(run: RunDirectory) -> Any:
    """The settings a run was measured with, None if it was not, or its file is damaged."""
    try:
        return json.loads((run.path / _FILE).read_text())["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plain(settings: MeasurementSettings) -> dict[str, Any]:
    """The settings as JSON gives them back."""
    return settings._asdict() | {"input_scales": list(settings.input_scales)}
