"""The evaluation as a whole: consistent with its parts, and JSON-safe."""

import json

import pytest
import torch

from mixreg import Beta
from mixreg._random import generator
from mixreg.calibration import fit_temperature
from mixreg.evaluation import CORRECTIONS, Evaluation, Predictions, correct, evaluate, metrics

LAW = Beta(1.0)
MEAN = torch.tensor([0.2, 0.3, 0.5])


def predictions(name, n=300, c=3):
    """Logits at θ̄ times the sureness that fits their labels, as mixup leaves them."""
    g = generator("evaluate", name)
    raw = 2 * torch.randn(n, c, generator=g)
    labels = torch.multinomial((raw / 0.75).softmax(1), 1, generator=g).squeeze(1)
    return Predictions(raw, raw + 0.1 * torch.randn(n, c, generator=g), labels)


VALIDATION, TEST = predictions("validation"), predictions("test")


def test_every_correction_is_evaluated_on_its_logits():
    found = evaluate(VALIDATION, TEST, y_mean=MEAN, law=LAW)
    assert tuple(found.results) == CORRECTIONS
    assert (found.absent, found.count, found.num_classes) == ({}, 300, 3)
    assert found.theta_mean == 0.75
    for name, result in found.results.items():
        logits = correct(TEST, name, y_mean=MEAN, law=LAW, temperature=result.temperature)
        assert result.metrics == metrics(logits, TEST.labels)
        assert result.reliability.expected_error == pytest.approx(result.metrics.ece, abs=1e-12)
        assert sum(result.confidence.counts) == sum(result.entropy.counts) == 300
        assert result.remark is None


def test_temperatures_are_fitted_to_the_validation_logits_they_divide():
    found = evaluate(VALIDATION, TEST, y_mean=MEAN, law=LAW)
    for name, inner in (("temperature", "raw"), ("rescaled+temperature", "rescaled")):
        held_out = correct(VALIDATION, inner, y_mean=MEAN, law=LAW)
        assert found.results[name].temperature == fit_temperature(held_out, VALIDATION.labels)
        assert found.results[inner].temperature is None


def test_without_validation_the_temperatures_are_absent_and_it_says_why():
    found = evaluate(None, TEST, y_mean=MEAN, law=LAW)
    assert tuple(found.results) == CORRECTIONS[:4]
    assert set(found.absent) == {"temperature", "rescaled+temperature"}
    assert all("held-out" in reason for reason in found.absent.values())


def test_a_temperature_at_its_bound_is_remarked_on_and_does_not_warn():
    separable = Predictions(TEST.raw, TEST.raw, TEST.raw.argmax(1))
    found = evaluate(separable, TEST, y_mean=MEAN, law=LAW)
    assert "without error" in found.results["temperature"].remark


@pytest.mark.parametrize("validation", [VALIDATION, None])
def test_json_round_trip(validation):
    found = evaluate(validation, TEST, y_mean=MEAN, law=LAW)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(text)) == found


def test_refuses_other_classes_in_validation():
    with pytest.raises(ValueError, match="same number of classes, got 4 and 3"):
        evaluate(predictions("validation", c=4), TEST, y_mean=MEAN, law=LAW)
