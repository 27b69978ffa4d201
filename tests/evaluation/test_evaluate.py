"""The evaluation as a whole: consistent with its parts, stored and read back strictly."""

import json

import pytest
import torch

from mixreg import Beta, CheckpointError, _stored
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
    assert tuple(found.results) == CORRECTIONS[:5]
    assert set(found.absent) == {"temperature", "rescaled+temperature"}
    assert all("held-out" in reason for reason in found.absent.values())


def test_a_temperature_at_its_bound_is_remarked_on_and_does_not_warn():
    separable = Predictions(TEST.raw, TEST.raw, TEST.raw.argmax(1))
    found = evaluate(separable, TEST, y_mean=MEAN, law=LAW)
    assert "without error" in found.results["temperature"].remark


@pytest.mark.parametrize("validation", [VALIDATION, None])
def test_stored_and_read_back(tmp_path, validation):
    evaluation = evaluate(validation, TEST, y_mean=MEAN, law=LAW)
    _stored.write(tmp_path / "e.json", evaluation)
    assert _stored.decode(tmp_path / "e.json", Evaluation, remedy="again") == evaluation


RAW = ("results", "raw")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("results",), {}, "raw predictions"),
        (("results",), [], r"Expected `object`, got `array` - at `\$\.results`"),
        (("theta_mean",), "x", r"Expected `float`, got `str` - at `\$\.theta_mean`"),
        (("theta_mean",), 1.5, "theta_mean in"),
        (("count",), 0, "count >= 1"),
        (("colour",), "blue", "unknown field 'colour'"),
        (("results", "rescale"), {}, "rescale"),
        ((*RAW, "metrics", "accuracy"), None, r"Expected `float`, got `null`.*metrics\.accuracy"),
        ((*RAW, "metrics", "accuracy"), 3, "accuracy must lie in"),
        ((*RAW, "metrics"), {"accuracy": 1.0}, "missing required field"),
        ((*RAW, "reliability", "counts"), [0] * 15, "not all of them 0|needs its means"),
        ((*RAW, "confidence", "counts"), [0] * 20, "not all of them 0"),
        ((*RAW, "confidence", "counts"), [1.5] * 20, "Expected `int`"),
        ((*RAW, "entropy"), None, "Expected `object`, got `null`"),
    ],
)
def test_a_stored_evaluation_that_is_none_is_one_line(place, value, message):
    stored = json.loads(_stored.encode(evaluate(None, TEST, y_mean=MEAN, law=LAW)))
    inner = stored
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(
        CheckpointError, match=rf"e\.json is damaged: .*({message}).*; again"
    ) as error:
        _stored.decode_bytes(json.dumps(stored).encode(), Evaluation, name="e.json", remedy="again")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"count": NaN}', '{"count": ' + 5000 * "9" + "}", 2000 * "["]
)
def test_damaged_text_is_one_line(text):
    with pytest.raises(CheckpointError, match=r"e\.json is damaged: .*; again") as error:
        _stored.decode_bytes(text.encode(), Evaluation, name="e.json", remedy="again")
    assert "\n" not in str(error.value)


def test_probabilities_in_the_place_of_logits_are_warned_of_once():
    p = TEST.raw.softmax(1)
    with pytest.warns(UserWarning, match="needs logits") as record:
        evaluate(None, Predictions(p, p, TEST.labels), y_mean=MEAN, law=LAW)
    assert len(record) == 1


def test_refuses_other_classes_in_validation():
    with pytest.raises(ValueError, match="same number of classes, got 4 and 3"):
        evaluate(predictions("validation", c=4), TEST, y_mean=MEAN, law=LAW)
