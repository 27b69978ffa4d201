"""The evaluation as a whole: consistent with its parts, stored and read back strictly."""

import json

import pytest
import torch

from mixreg import Beta, CheckpointError, _stored
from mixreg._random import generator
from mixreg.calibration import fit_temperature
from mixreg.evaluation import (
    CORRECTIONS,
    Evaluation,
    Predictions,
    correct,
    evaluate,
    metrics,
    paired_bootstrap,
)

LAW = Beta(1.0)
MEAN = torch.tensor([0.2, 0.3, 0.5])


def predictions(name, n=300, c=3):
    """Logits at θ̄ times the sureness that fits their labels, as mixup leaves them."""
    g = generator("evaluate", name)
    raw = 2 * torch.randn(n, c, generator=g)
    labels = torch.multinomial((raw / 0.75).softmax(1), 1, generator=g).squeeze(1)
    return Predictions(raw, raw + 0.1 * torch.randn(n, c, generator=g), labels)


VALIDATION, TEST = predictions("validation"), predictions("test")


def evaluated(validation):
    about = {"y_mean": MEAN, "law": LAW, "resamples": 200, "generator": generator("draws")}
    return evaluate(validation, TEST, **about)


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
def test_effects_are_paired_bootstraps_and_the_choice_is_made_where_nothing_is_reported(validation):
    found = evaluated(validation)
    sets = {"test": TEST} if validation is None else {"validation": VALIDATION, "test": TEST}
    nll = {split: {} for split in sets}
    for name, result in found.results.items():
        about = {"y_mean": MEAN, "law": LAW, "temperature": result.temperature}
        for split, of in sets.items():
            logits, raw = correct(of, name, **about), of.raw.double()
            pair = paired_bootstrap(logits, raw, of.labels, generator=generator(split))
            nll[split][name] = pair["nll"].mean
            if split == "test" and name != "raw":
                assert result.effects.keys() == pair.keys()
                for metric, effect in result.effects.items():
                    assert effect.mean == pytest.approx(pair[metric].mean, abs=1e-12)
                    if pair[metric].half_width > 1e-9:  # 4 standard errors of 200 resamples
                        assert effect.half_width == pytest.approx(pair[metric].half_width, rel=0.25)
            elif split == "validation":
                assert result.held_out == metrics(logits, of.labels)
    assert found.results["raw"].effects is None
    assert found.choice.split == next(iter(sets))
    for name, effect in found.choice.effects.items():
        assert effect.mean == pytest.approx(nll[found.choice.split][name], abs=1e-12)
    assert found.resamples == 200


def test_parts_of_any_size_give_the_same_evaluation(monkeypatch):
    whole = evaluated(VALIDATION)
    monkeypatch.setattr("mixreg.calibration._NUMBERS", 21)
    parts = evaluated(VALIDATION)
    assert parts.choice.correction == whole.choice.correction
    for name, result in whole.results.items():
        other = parts.results[name]
        for metric, value in vars(result.metrics).items():
            assert getattr(other.metrics, metric) == pytest.approx(value, abs=1e-12)
        if result.temperature is not None:
            assert other.temperature == pytest.approx(result.temperature, rel=1e-10)


@pytest.mark.parametrize("validation", [VALIDATION, None])
def test_stored_and_read_back(tmp_path, validation):
    evaluation = evaluated(validation)
    _stored.write(tmp_path / "e.json", evaluation)
    assert _stored.decode(tmp_path / "e.json", Evaluation, remedy="again") == evaluation


def test_an_evaluation_stored_without_what_is_new_is_still_read():
    evaluation = evaluate(None, TEST, y_mean=MEAN, law=LAW)
    stored = json.loads(_stored.encode(evaluation))
    del stored["choice"], stored["resamples"], stored["results"]["two-views"]
    for result in stored["results"].values():
        del result["effects"], result["held_out"]
    data = json.dumps(stored).encode()
    found = _stored.decode_bytes(data, Evaluation, name="e.json", remedy="again")
    assert found.results["rescaled"] == evaluation.results["rescaled"]
    assert "two-views" not in found.results | found.absent


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
