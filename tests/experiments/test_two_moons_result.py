"""The two-moon experiment from settings to figures, at its smallest scale."""

import dataclasses
import json
import math
import re

import pytest
import torch

from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.evaluation import MeanInterval
from mixreg.experiments import two_moons
from mixreg.experiments.two_moons import SCALES, SMOKE, TwoMoonsResult, TwoMoonsSettings
from mixreg.experiments.two_moons.claims import CLAIMS, MIXUP, Claim, Finding, judge
from mixreg.experiments.two_moons.picture import Picture

TINY = dataclasses.replace(SMOKE, epochs=4, num_features=30, picture_steps=3)
WORDS = {
    "fig1": ["original data", "Mixup", "modified data", "between the moons"],
    "fig8": ["ERM", "Mixup (rescaled)", "approximate Mixup (rescaled)", "test accuracy (%)"],
    "fig9": ["ERM", "Mixup", "approximate Mixup", "ERM on modified data", "confidence"],
}


@pytest.fixture(scope="module")
def result():
    return two_moons.run(TINY)


def numbers(values):
    if isinstance(values, dict):
        return [n for value in values.values() for n in numbers(value)]
    if isinstance(values, list):
        return [n for value in values for n in numbers(value)]
    return [values] if isinstance(values, float) else []


def test_a_run_gives_finite_numbers_for_every_arm_and_repetition(result):
    found = numbers(result.to_dict())
    assert len(found) > 1000
    assert all(map(math.isfinite, found))
    arms = {
        (m, p) for m in ("erm", "mixup", "approximate", "modified") for p in ("raw", "rescaled")
    }
    assert {outcome.arm for outcome in result.outcomes} == arms
    for outcome in result.outcomes:
        assert all(len(values) == TINY.repetitions for values in outcome.values.values())
    assert all(len(curve.means) == len(result.epochs) for curve in result.curves)
    assert result.epochs[-1] == TINY.epochs


def test_curves_end_where_the_outcomes_are(result):
    for curve in result.curves:
        assert curve.means[-1] == pytest.approx(result.outcome(curve.arm).mean(curve.metric))


def test_training_lowers_what_each_method_minimises(result):
    own = {"erm": "empirical_risk", "mixup": "mixup_risk", "modified": "modified_risk"}
    for method, risk in own.items():
        means = result.curve((method, "raw"), risk).means
        assert means[-1].mean < means[0].mean < math.log(2)


def test_the_same_settings_give_the_same_result(result):
    again = two_moons.run(TINY)
    assert again.outcomes == result.outcomes
    assert again.picture == result.picture


def test_a_saved_result_is_read_back(result, tmp_path):
    result.save(tmp_path / "result.json")
    assert TwoMoonsResult.load(tmp_path / "result.json") == result
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["seeds"] == [0, 1, 2]
    assert stored["findings"][0]["difference"]["n"] == 3
    assert "torch" in stored["environment"]["packages"]


def test_all_files_are_written(result, tmp_path):
    two_moons.write(result, tmp_path / "new" / "folder")
    files = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    figures = ["fig1.svg", "fig8.svg", "fig9.svg"]
    assert files == [*figures, "findings.md", "result.json", "two-moons.html"]
    text = (tmp_path / "new" / "folder" / "findings.md").read_text()
    mean = result.outcome(("mixup", "rescaled")).mean("test_accuracy")
    assert f"{mean.mean:.4f} ± {mean.half_width:.4f}" in text
    assert text.count("| test_nll: ") == 5
    assert all(finding.verdict in text for finding in result.findings)


def test_unreadable_results_are_named(result, tmp_path):
    with pytest.raises(CheckpointError, match="cannot read a two-moon result from"):
        TwoMoonsResult.load(tmp_path / "missing.json")
    (tmp_path / "half.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot read"):
        TwoMoonsResult.load(tmp_path / "half.json")
    values = result.to_dict()
    with pytest.raises(CheckpointError, match="has format 0, this version reads 1"):
        TwoMoonsResult.from_dict({**values, "format": 0})
    del values["curves"]
    with pytest.raises(CheckpointError, match=r"damaged \(KeyError\('curves'\)\)"):
        TwoMoonsResult.from_dict(values)


def test_what_was_not_measured_is_not_found(result):
    with pytest.raises(KeyError, match="mixup_risk"):
        result.curve(("erm", "rescaled"), "mixup_risk")
    with pytest.raises(KeyError, match="dropout"):
        result.outcome(("dropout", "raw"))


def test_figures_are_svg_and_the_same_every_time(result):
    study, again = two_moons.two_moons_study(result), two_moons.two_moons_study(result)
    assert study == again
    assert [picture.name for picture in study.pictures] == list(WORDS)
    for picture in study.pictures:
        assert picture.svg.startswith("<?xml")
        assert picture.svg.rstrip().endswith("</svg>")
        assert all(word in picture.svg for word in WORDS[picture.name])


def test_one_repetition_has_no_intervals_but_figures():
    alone = two_moons.run(dataclasses.replace(TINY, repetitions=1))
    assert all(finding.verdict == "undecided" for finding in alone.findings)
    study = two_moons.two_moons_study(alone)
    assert all(claim.verdict == "undecided" for claim in study.claims)
    assert "one repetition" in study.caveats[0]


def test_the_study_tests_the_same_claims_with_the_same_verdicts(result):
    study = two_moons.two_moons_study(result)
    assert [claim.verdict for claim in study.claims] == [f.verdict for f in result.findings]
    assert [claim.effect for claim in study.claims] == [f.difference for f in result.findings]
    assert all(claim.place.startswith("section 5, figure") for claim in study.claims)
    nll = study.claims[1]
    assert nll.statement == "Rescaling improves models trained with Mixup."
    assert nll.measured == "test_nll: mixup, rescaled − mixup, paired by repetition"
    assert nll.setting == "two moons, random features, σ = 10, α = 1"


def test_claims_are_judged_by_paired_differences():
    outcomes = {
        ("mixup", "raw"): {"m": [1.0, 2.0, 3.0]},
        ("mixup", "rescaled"): {"m": [2.0, 3.1, 3.9]},
        ("erm", "raw"): {"m": [3.0, 0.0, 3.5]},
    }
    claim = Claim("", "", "m", ("mixup", "rescaled"), MIXUP, "positive")
    finding = judge(claim, outcomes)
    assert finding.difference.mean == pytest.approx(1.0)
    assert finding.difference.half_width == pytest.approx(0.1 * 4.302652729749 / 3**0.5)
    assert finding.verdict == "holds"
    nearer = Claim("", "", "m", ("mixup", "rescaled"), ("erm", "raw"), "negative", MIXUP)
    assert judge(nearer, outcomes).difference.mean == pytest.approx(1.0 - 1.5)
    equal = judge(claim._replace(expected="zero"), outcomes)
    assert equal.margin == pytest.approx((6.5 / 3 - 2.0) / 2)
    assert equal.verdict == "does not hold"


@pytest.mark.parametrize(
    ("mean", "expected", "verdict"),
    [
        (2.0, "positive", "holds"),
        (-2.0, "positive", "does not hold"),
        (-2.0, "negative", "holds"),
        (0.5, "positive", "undecided"),
        (0.5, "zero", "holds"),
        (1.5, "zero", "undecided"),
        (4.0, "zero", "does not hold"),
    ],
)
def test_verdicts(mean, expected, verdict):
    claim = CLAIMS[0]._replace(expected=expected)
    margin = 2.0 if expected == "zero" else None
    assert Finding(claim, MeanInterval(mean, 1.0, 5), margin).verdict == verdict


def test_disagreement_is_counted_between_the_moons():
    side = (-1.0, 0.0, 1.0, 2.0)
    zeros = tuple((-1.0,) * 4 for _ in side)
    right = tuple(tuple(x - 0.5 for x in side) for _ in side)
    picture = Picture(side, side, {"erm": zeros, "modified": right}, {})
    assert picture.disagreement("erm", "modified") == 0.5  # of x = 0, 1 at y = 0


def test_scales():
    assert SCALES["paper"] == TwoMoonsSettings()
    assert SCALES["paper"].seeds == tuple(range(30))
    assert SCALES["cpu"] == SCALES["paper"]
    assert TwoMoonsSettings.from_dict(json.loads(json.dumps(SMOKE.to_dict()))) == SMOKE
    assert dataclasses.replace(SMOKE, precision="float64").dtype == torch.float64


@pytest.mark.parametrize(
    ("epochs", "records", "expected"),
    [(1000, 4, (1, 10, 100, 1000)), (5, 40, (1, 2, 3, 4, 5)), (7, 1, (1, 7)), (1, 3, (1,))],
)
def test_recorded_epochs_are_distinct_and_end_with_the_last(epochs, records, expected):
    settings = TwoMoonsSettings(epochs=epochs, records=records)
    assert settings.recorded_epochs == expected


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"repetitions": 0}, ConfigurationError, "repetitions must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer"),
        ({"alpha": 0.0}, ConfigurationError, "alpha must be finite and positive, got 0.0"),
        ({"learning_rate": math.nan}, ConfigurationError, "learning_rate must be finite"),
        ({"feature_scale": "wide"}, TypeError, "feature_scale must be a number, got 'wide'"),
        ({"label_noise": -0.1}, ConfigurationError, "label_noise must be finite and at least 0"),
        ({"label_noise": 1.1}, ConfigurationError, "label_noise must be at most 1, got 1.1"),
        ({"precision": "float16"}, ConfigurationError, "float32, float64; got 'float16'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        TwoMoonsSettings(**changes)
