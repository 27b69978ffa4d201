"""Tuning: the laws that are proposed, which go on, and what the new seeds say."""

import sys

import pytest

from mixreg import Beta, ConfigurationError, MixregError, law_from_dict
from mixreg.evaluation import Metrics
from mixreg.experiments import tune as module
from mixreg.experiments.tune import USUAL, Confirmed, Tried, law_at, tune
from mixreg.report import read_document
from mixreg.settings import TuneOptions
from mixreg.training import RunDirectory, TrainConfig

SMALL = {"epochs": 4, "rungs": 2, "reduction": 2, "trials": 4, "seeds": 2}
DATA = {"training_fraction": 0.1, "batch_size": 256, "milestones": [3], "jobs": 1}


def options(folder, **others):
    return TuneOptions(**SMALL | DATA | others, output=folder)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    chosen = options(tmp_path_factory.mktemp("tune"))
    return chosen, *tune(chosen)


def test_one_law_in_so_many_goes_on_and_new_seeds_confirm_it(tuned):
    chosen, text, page = tuned
    document = read_document(chosen.output / "tune.json")
    assert page.is_file()
    assert document.text() == text
    confirmed, tried = document.tables
    assert {law.name for law in USUAL} <= {name for name, _ in tried.rows}
    assert {law.name for law in USUAL} <= {name for name, _ in confirmed.rows}
    assert len(tried.rows) == chosen.trials
    (best, cells), *_ = tried.rows
    assert (confirmed.rows[0][0], cells[0].text) == (best, "4")
    assert any(cells[0].text == "2" for _, cells in tried.rows)
    runs = [RunDirectory(path) for path in (chosen.output / "runs").glob("*-seed*")]
    settings = [run.read_config() for run in runs]
    assert {(c.epochs, c.milestones[0]) for c in settings} == {(2, 2), (4, 3)}
    assert {c.seed for c in settings if c.epochs == 2} == {0, 1}
    assert {record["seed"] for record in document.settings} == {2, 3}


def test_the_same_command_trains_nothing_again(tuned):
    chosen, text, _ = tuned
    before = {f: f.stat().st_mtime_ns for f in chosen.output.rglob("model.safetensors")}
    assert tune(chosen)[0] == text
    assert {f: f.stat().st_mtime_ns for f in chosen.output.rglob("model.safetensors")} == before


def test_values_are_those_of_the_stored_evaluations(tuned):
    chosen, _, _ = tuned
    law = USUAL[1]
    _, runs, correction, values = module._confirm(chosen, law, range(2, 4))
    for run in runs:
        stored = RunDirectory(run.directory).read_evaluation()
        assert values[run.seed] == stored.results[correction].metrics.nll


@pytest.mark.parametrize(("law", "beta"), [(USUAL[1], Beta(1.0)), (USUAL[2], Beta(0.2))])
def test_usual_laws_lie_where_they_should(law, beta):
    assert law_at(law.a1, law.level) == law
    a2 = (1 - law.level) * law.a1**2 + law.level * law.a1 / 2
    assert (law.a1, a2) == pytest.approx((beta.shrinkage, beta.gamma_squared))
    assert TrainConfig(**law.changes).law == beta


@pytest.mark.parametrize("a1", [1e-6, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_every_point_of_the_feasible_set_is_a_law(a1, level):
    law = TrainConfig(**law_at(a1, level).changes).law
    assert law.shrinkage == pytest.approx(a1)
    assert law.gamma_squared == pytest.approx((1 - level) * a1**2 + level * a1 / 2)
    assert law_from_dict(law.to_dict()) == law


def metrics(nll):
    return Metrics(accuracy=0.5, nll=nll, ece=0.1, brier=0.5, entropy=1.0, confidence=0.5)


def test_the_best_correction_is_that_of_the_best_mean(tmp_path):
    held = [{"raw": metrics(a), "rescaled": metrics(b)} for a, b in ((1.0, 1.3), (1.4, 0.9))]
    assert module.best_of(options(tmp_path), held) == (pytest.approx(1.1), "rescaled")
    tied = module.best_of(options(tmp_path, metric="accuracy"), held)
    assert tied == (0.5, "raw")


@pytest.mark.parametrize(
    ("gain", "said", "advice"),
    [
        (0.2, "new with raw is better than ERM with raw", "Train with --alpha 0.4 and predict"),
        (-0.2, "new with raw is worse than ERM with raw", "Nothing is shown"),
        (0.0, "new with raw is not shown to be better or worse than ERM", "Nothing is shown"),
    ],
)
def test_it_says_what_is_shown(gain, said, advice, tmp_path):
    law = module.Law("new", 0.2, 0.5, {"method": "mixup", "alpha": 0.4})
    erm = Confirmed(USUAL[0], [], "raw", {3: 1.0, 4: 1.01, 5: 0.99})
    new = Confirmed(law, [], "raw", {3: 1.0 - gain, 4: 1.0 - gain, 5: 1.0 - gain})
    made = module.document(options(tmp_path), [Tried(law, 4, "raw", 1.0)], [new, erm])
    assert made.findings[0].text.startswith(said)
    assert made.advice[0].startswith(advice)


def test_a_law_that_is_worse_than_a_usual_one_is_not_recommended(tmp_path):
    law = module.Law("new", 0.2, 0.5, {"method": "mixup", "alpha": 0.4})
    all_of = [
        Confirmed(of, [], "raw", {3: nll, 4: nll, 5: nll + shift})
        for of, nll, shift in ((law, 1.0, 0.0), (USUAL[0], 1.5, 0.01), (USUAL[1], 0.5, 0.01))
    ]
    made = module.document(options(tmp_path), [Tried(law, 4, "raw", 1.0)], all_of)
    assert [finding.judgement for finding in made.findings] == ["better", "worse"]
    assert made.advice[0].startswith("Nothing is shown")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 8, "reduction": 3, "rungs": 3}, "8 epochs are too few .* of at least 9"),
        ({"trials": 3}, "trials must be at least 4"),
        ({"trials": 6, "reduction": 7, "epochs": 50}, "trials must be at least 4 and `reduction`"),
        ({"reduction": 1}, "reduction must be at least 2"),
        ({"rungs": 1}, "rungs must be from 2 to 10, for at least one halving"),
        ({"seeds": 1}, "seeds must be at least 2, for intervals"),
        ({"validation_fraction": 0.0}, "validation_fraction must be above 0, to choose on"),
        ({"devices": 2}, "devices must be 1"),
        ({"alpha": 0.5}, "tune chooses the law; leave out alpha"),
        ({"theta_mean": 0.75, "gamma_squared": 0.1}, "tune chooses the law"),
        ({"metric": "f1"}, "metric must be 'nll' or 'ece' or 'accuracy', got 'f1'"),
    ],
)
def test_refusals(settings, message, tmp_path):
    with pytest.raises(ConfigurationError, match=message):
        options(tmp_path, **settings)


def test_without_optuna(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MixregError, match=r"needs the package optuna, .*'mixreg\[tune\]'"):
        tune(options(tmp_path))
