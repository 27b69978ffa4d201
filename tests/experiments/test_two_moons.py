"""Two moons: batched training against one network at a time, and from settings to the document."""

import dataclasses
import json
import math

import pytest
import torch

from mixreg import RescaledModel, TrainingStatistics, mix
from mixreg._errors import ConfigurationError, MixregError
from mixreg._random import generator
from mixreg.curvature import directional_curvature
from mixreg.data import load
from mixreg.evaluation import MeanInterval, metrics
from mixreg.experiments import two_moons
from mixreg.experiments.two_moons import (
    ARMS,
    ERM,
    METHODS,
    MIXUP,
    PRESETS,
    Curves,
    Measures,
    Plane,
    Settings,
    arm_name,
    by_seed,
    epoch_order,
    fixed_points,
    make_problem,
    train,
)
from mixreg.losses import logistic, two_class_logits
from mixreg.models import RandomFourierFeatures
from mixreg.perturbation import modified
from mixreg.report import Record, Records, read_document
from mixreg.risk import (
    approximate_mixup_risk,
    empirical_risk,
    mixup_risk,
    mixup_risk_estimate,
    modified_risk,
)
from mixreg.settings import ReproduceOptions

SEEDS = (3, 5)
EXACT = Settings(  # batches of 60 do not divide the 150 points
    epochs=2,
    batch_size=60,
    alpha=0.7,
    num_features=40,
    feature_scale=4.0,
    records=1,
    precision="float64",
)
SINGLE = dataclasses.replace(EXACT, precision="float32")
TINY = dataclasses.replace(PRESETS["smoke"], epochs=4, num_features=30, picture_steps=3)


def trained(seeds, methods=tuple(METHODS), s=EXACT):
    return train(s, make_problem(s, seeds), methods)


def network(problem, k, weights=None):
    net = RandomFourierFeatures((2,), 1, num_features=EXACT.num_features).double()
    net.S.copy_(problem.phi.frequencies[k].T)
    net.B.copy_(problem.phi.phases[k, 0])
    if weights is not None:
        with torch.no_grad():
            net.output.weight.copy_(weights[k])
    return net


def data(problem, k):
    return problem.x[k], problem.y[k].unsqueeze(1)


def loop_loss(method, net, x, y, rows, seed, epoch, law):
    """The loss of one batch, as one would write it for a single network."""
    if method == "erm":
        return logistic(y[rows], net(x[rows])).mean()
    if method == "mixup":
        source = generator(seed, "mixing", epoch)
        partner = torch.randint(len(x), (len(x),), generator=source)
        mixed = mix(x, y, law.sample(len(x), generator=source), partner)
        return logistic(mixed.targets[rows], net(mixed.inputs[rows])).mean()
    shrunk = modified(x, y, x.mean(0), y.mean(0), law)
    inputs, targets = shrunk.inputs[rows], shrunk.targets[rows]
    base = logistic(targets, net(inputs)).mean()
    if method == "modified":
        return base
    d, e = x - x.mean(0), y - y.mean(0)

    def mean_q(inputs, targets, d, e):
        q = directional_curvature(net, inputs, targets, d, e, "logistic", second_order=False)
        return q.total.mean()

    own = mean_q(inputs, targets, d[rows], e[rows])
    i, j = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(len(x))).unbind(1)
    others = mean_q(inputs[i], targets[i], d[j], e[j])
    return base + law.theta_variance * own + law.gamma_squared * others


@pytest.mark.parametrize("method", METHODS)
def test_the_batch_trains_each_repetition_as_a_plain_loop_would(method):
    problem, weights = make_problem(EXACT, SEEDS), trained(SEEDS, [method])[method]
    for k, seed in enumerate(SEEDS):
        net, (x, y) = network(problem, k), data(problem, k)
        optimizer = torch.optim.SGD(net.parameters(), lr=EXACT.learning_rate)
        for epoch in range(EXACT.epochs):
            for rows in epoch_order(len(x), seed=seed, epoch=epoch).split(EXACT.batch_size):
                optimizer.zero_grad()
                loop_loss(method, net, x, y, rows, seed, epoch, problem.law).backward()
                optimizer.step()
        expected = net.output.weight.detach()[0]
        assert expected.norm() > 0.1
        torch.testing.assert_close(weights[k], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_does_not_depend_on_those_trained_beside_it(method, monkeypatch):
    monkeypatch.setattr(two_moons, "BLOCK", 2)
    together, alone = trained((0, 7, 2))[method], trained((7,), [method])[method]
    torch.testing.assert_close(together[1], alone[0], rtol=1e-11, atol=1e-11)
    assert (together[0] - together[1]).abs().max() > 1e-3
    assert torch.equal(trained((0, 7, 2), [method])[method], together)


def test_single_precision_follows_double():
    double, single = trained(SEEDS), trained(SEEDS, s=SINGLE)
    for method, w in double.items():
        assert (single[method] - w).abs().max() < 1e-4 * w.abs().max()


def test_divergence_is_named():
    wild = dataclasses.replace(SINGLE, epochs=3, learning_rate=1e30)
    with pytest.raises(MixregError, match=r"'approximate' diverged within . epochs; lower the"):
        trained(SEEDS[:1], ["approximate"], wild)


def test_risks_are_those_of_the_library():
    problem, law = make_problem(EXACT, SEEDS), make_problem(EXACT, SEEDS).law
    for w in trained(SEEDS).values():
        risks = {m: fixed_points(m, problem).risk(w) for m in METHODS if m != "mixup"}
        for k in range(len(SEEDS)):
            net, (x, y) = network(problem, k, w), data(problem, k)
            approximate = approximate_mixup_risk(net, x, y, "logistic", law, second_order=False)
            expected = {
                "erm": empirical_risk(net, x, y, "logistic"),
                "modified": modified_risk(net, x, y, "logistic", law),
                "approximate": approximate.total,
            }
            for name, risk in risks.items():
                assert float(risk[k]) == pytest.approx(expected[name], rel=1e-9)


def test_the_mixup_risk_is_estimated_without_bias():
    problem, models, draws = make_problem(EXACT, SEEDS[:1]), trained(SEEDS[:1], ["mixup"]), 100
    estimate = Measures(problem, draws).mixup_risk(models)["mixup"]
    net, (x, y) = network(problem, 0, models["mixup"]), data(problem, 0)
    exact = mixup_risk(net, x, y, "logistic", problem.law, order=32)
    samples = {"samples": draws * len(x), "generator": generator(0)}
    error = mixup_risk_estimate(net, x, y, "logistic", problem.law, **samples).standard_error
    assert abs(float(estimate) - exact) < 4 * error


def test_points_labels_and_draws_are_those_of_the_data_set_and_the_law():
    problem = make_problem(dataclasses.replace(SINGLE, label_noise=0.2), SEEDS)
    x, y = problem.mixed(4)
    for k, seed in enumerate(SEEDS):
        dataset = load("two-moons", seed=seed, validation_fraction=0)
        ((inputs, labels),) = dataset.batches("train", 150)
        assert torch.equal(problem.x[k], inputs)
        assert torch.equal(problem.y[k].long(), labels)
        ((test_inputs, test_labels),) = dataset.batches("test", dataset.size("test"))
        assert torch.equal(problem.test_x[k], test_inputs)
        assert torch.equal(problem.test_y[k].long(), test_labels)
        assert int((problem.true_y[k] != problem.y[k]).sum()) == 30
        source = generator(seed, "mixing", 4)
        partner = torch.randint(150, (150,), generator=source)
        mixed = mix(inputs, labels.float(), problem.law.sample(150, generator=source), partner)
        torch.testing.assert_close(x[k], mixed.inputs)
        torch.testing.assert_close(y[k], mixed.targets)


def test_predictions_and_measurements_are_those_of_the_library():
    problem, models = make_problem(EXACT, SEEDS), trained(SEEDS)
    measures = Measures(problem, 2)
    measured = measures.at_the_end(models)
    risks = {"empirical_risk", "mixup_risk", "approximate_risk", "modified_risk", "regularizers"}
    for (method, prediction), k in ((arm, k) for arm in ARMS for k in range(len(SEEDS))):
        values, net = measured[method, prediction], network(problem, k, models[method])
        stats = TrainingStatistics.from_tensors(*data(problem, k))
        rescaled = RescaledModel(net, stats, problem.law, link="sigmoid").double()
        for split, x, y in (
            ("train", problem.x[k], problem.y[k]),
            ("test", problem.test_x[k], problem.test_y[k]),
        ):
            logits = measures.logits(models[method], split, prediction)[k]
            model = net if prediction == "raw" else rescaled
            torch.testing.assert_close(logits, model(x)[:, 0].detach())
            expected = metrics(two_class_logits(logits), y.long())
            names = ("nll", "accuracy") if split == "train" else ("nll", "ece", "brier")
            for name in names:
                value = float(values[f"{split}_{name}"][k])
                assert value == pytest.approx(getattr(expected, name))
        assert (risks <= values.keys()) == (prediction == "raw")
        if prediction == "raw":
            assert float(values["empirical_risk"][k]) == pytest.approx(
                float(values["train_nll"][k])
            )
    edges, shares = measures.confidences(models["erm"], "raw")
    assert (edges[0], edges[-1]) == pytest.approx((0.5, 1.0))
    torch.testing.assert_close(shares.sum(1), torch.ones(len(SEEDS), dtype=torch.float64))


# -- from settings to the document -----------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return two_moons.run(TINY)


def test_every_arm_and_repetition_has_finite_numbers_on_which_the_curves_end(result):
    records, curves = result
    assert all(math.isfinite(record.value) for record in records)
    assert {(r.method, r.prediction) for r in records} == set(ARMS)
    assert curves.epochs[-1] == TINY.epochs
    for arm in ARMS:
        for metric, means in curves.course[arm_name(arm)].items():
            assert len(means) == len(curves.epochs)
            assert len(by_seed(records, metric, arm)) == TINY.repetitions
            assert means[-1] == pytest.approx(two_moons.mean(records, metric, arm))
    own = {"erm": "empirical_risk", "mixup": "mixup_risk", "modified": "modified_risk"}
    for method, risk in own.items():
        means = curves.course[method][risk]
        assert means[-1].mean < means[0].mean < math.log(2)


def test_the_same_settings_give_the_same_result(result):
    assert two_moons.run(TINY) == result


WORDS = {
    "fig1": ["original data", "Mixup", "modified data", "between the moons"],
    "fig8": ["ERM", "Mixup (rescaled)", "approximate Mixup (rescaled)", "test accuracy (%)"],
    "fig9": ["ERM", "Mixup", "approximate Mixup", "ERM on modified data", "confidence"],
}


def test_the_document_is_the_same_every_time_and_says_what_was_measured(result):
    records, curves = result
    made = two_moons.document(TINY, records, curves, {})
    assert made == two_moons.document(TINY, records, curves, {})
    assert [picture.name for picture in made.pictures] == list(WORDS)
    for picture in made.pictures:
        assert all(word in picture.svg for word in WORDS[picture.name])
    mean = two_moons.mean(records, "test_accuracy", ("mixup", "rescaled"))
    assert f"{mean.mean:.4f} ± {mean.half_width:.4f}" in made.text()
    assert len(made.claims) == 25
    assert made.claims[1].statement == "Rescaling improves models trained with Mixup."
    assert made.claims[1].measured == "test_nll: mixup, rescaled − mixup, paired by seed"
    assert made.claims[1].setting == "two moons, random features, σ = 10, α = 1"


def test_one_repetition_has_figures_but_no_verdicts():
    s = dataclasses.replace(TINY, repetitions=1)
    made = two_moons.document(s, *two_moons.run(s), {})
    assert {claim.verdict for claim in made.claims} == {"undecided"}
    assert "one repetition" in made.caveats[0]


def test_claims_are_judged_by_paired_differences(monkeypatch):
    values = {("mixup", "rescaled"): [2.0, 3.1, 3.9], MIXUP: [1.0, 2.0, 3.0], ERM: [3.0, 0.0, 3.5]}
    records = Records(
        Record("", arm[0], 1.0, seed, arm[1], "m", value)
        for arm, listed in values.items()
        for seed, value in enumerate(listed)
    )
    said, rescaled = two_moons.Sentence("", ""), ("mixup", "rescaled")
    rows = [
        (said, "m", rescaled, MIXUP, "positive"),
        (two_moons.NEARER, "m", rescaled, ERM, "negative"),
        (said, "m", rescaled, MIXUP, "zero"),
    ]
    monkeypatch.setattr(two_moons, "tests", lambda: rows)
    side, nearer, equal = two_moons.claims(records, "")
    half = 0.1 * 4.302652729749 / 3**0.5
    assert side.effect == pytest.approx(MeanInterval(1.0, half, 3))
    assert side.verdict == "holds"
    assert nearer.effect.mean == pytest.approx(1.0 - 1.5)
    assert equal.margin == pytest.approx((6.5 / 3 - 2.0) / 2)
    assert equal.verdict == "does not hold"


def test_disagreement_is_counted_between_the_moons():
    side = (-1.0, 0.0, 1.0, 2.0)
    zeros, right = ((-1.0,) * 4,) * 4, (tuple(x - 0.5 for x in side),) * 4
    plane = Plane(side, side, {"erm": zeros, "modified": right}, {})
    assert plane.disagreement("erm", "modified") == 0.5  # of x = 0, 1 at y = 0


def test_presets():
    assert PRESETS["cpu"] == PRESETS["paper"] == Settings()
    assert PRESETS["smoke"].repetitions == 3


@pytest.mark.parametrize(
    ("epochs", "records", "expected"),
    [(1000, 4, (1, 10, 100, 1000)), (5, 40, (1, 2, 3, 4, 5)), (7, 1, (1, 7)), (1, 3, (1,))],
)
def test_recorded_epochs_are_distinct_and_end_with_the_last(epochs, records, expected):
    assert Settings(epochs=epochs, records=records).recorded_epochs == expected


def test_a_finished_experiment_is_kept_and_one_with_other_settings_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(two_moons, "PRESETS", {"smoke": TINY})
    options = ReproduceOptions(name="fig8", scale="smoke", output=tmp_path)
    text, page = two_moons.reproduce(options)
    stored = read_document(tmp_path / "two-moons.json")
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert figures == ["fig1.svg", "fig8.svg", "fig9.svg"]
    assert page == tmp_path / "two-moons.html"
    assert stored.environment[0]["seconds"] > 0
    assert json.loads(json.dumps(stored.numbers)).keys() == {
        f.name for f in dataclasses.fields(Curves)
    }
    monkeypatch.setattr(two_moons, "run", None)
    assert two_moons.reproduce(options) == (text, page)
    with pytest.raises(ConfigurationError, match=r"repetitions: 3 there, 2 here.*--output"):
        two_moons.reproduce(dataclasses.replace(options, seeds=2))
