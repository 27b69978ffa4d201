"""Batched training against one network at a time, made of the library's ordinary parts."""

import pytest
import torch

from mixreg import Beta, RescaledModel, TrainingStatistics, mix
from mixreg._errors import MixregError
from mixreg._random import generator
from mixreg.curvature import directional_curvature
from mixreg.data import load
from mixreg.data.shuffling import epoch_order
from mixreg.evaluation import metrics
from mixreg.experiments.two_moons import methods
from mixreg.experiments.two_moons.features import draw_features
from mixreg.experiments.two_moons.measures import RISKS, Measures
from mixreg.experiments.two_moons.methods import (
    METHODS,
    FixedPoints,
    fixed_mixup_risk,
    make_trainable,
)
from mixreg.experiments.two_moons.problem import draw_epoch, make_problem
from mixreg.experiments.two_moons.training import train
from mixreg.losses import logistic, two_class_logits
from mixreg.models import RandomFourierFeatures
from mixreg.perturbation import modified
from mixreg.risk import approximate_mixup_risk, empirical_risk, modified_risk
from mixreg.risk.mixup import mixup_risk, mixup_risk_estimate

LAW = Beta(0.7)
SEEDS = (3, 5)
WIDTH = 40
EPOCHS = 2
BATCH = 60  # does not divide the 150 points
STEP = 5.0


def setting(seeds, dtype=torch.float64):
    problem = make_problem(seeds, label_noise=0.2, dtype=dtype)
    features = draw_features(seeds, num_features=WIDTH, scale=4.0, dtype=dtype)
    return problem, features


def trained(seeds, names=METHODS, *, epochs=EPOCHS, dtype=torch.float64):
    problem, features = setting(seeds, dtype)
    trainables = {m: make_trainable(m, problem, features, LAW) for m in names}
    return train(trainables, problem, LAW, epochs=epochs, batch_size=BATCH, learning_rate=STEP)


def network(features, k):
    net = RandomFourierFeatures((2,), 1, num_features=WIDTH).double()
    net.S.copy_(features.frequencies[k].T)
    net.B.copy_(features.phases[k, 0])
    return net


def network_with(features, k, weights):
    net = network(features, k)
    with torch.no_grad():
        net.output.weight.copy_(weights[k])
    return net


def data(problem, k):
    return problem.train.inputs[k], problem.train.targets[k].unsqueeze(1)


def mixed_points(x, y, seed, epoch):
    source = generator(seed, "mixing", epoch)
    partner = torch.randint(len(x), (len(x),), generator=source)
    return mix(x, y, LAW.sample(len(x), generator=source), partner)


def loop_loss(method, net, x, y, rows, seed, epoch):
    """The loss of one batch, as one would write it for a single network."""
    if method == "erm":
        return logistic(y[rows], net(x[rows])).mean()
    if method == "mixup":
        mixed = mixed_points(x, y, seed, epoch)
        return logistic(mixed.targets[rows], net(mixed.inputs[rows])).mean()
    shrunk = modified(x, y, x.mean(0), y.mean(0), LAW)
    inputs, targets = shrunk.inputs[rows], shrunk.targets[rows]
    base = logistic(targets, net(inputs)).mean()
    if method == "modified":
        return base
    d, e = x - x.mean(0), y - y.mean(0)

    def mean_q(inputs, targets, d, e):
        q = directional_curvature(net, inputs, targets, d, e, "logistic", second_order=False)
        return q.total.mean()

    own = mean_q(inputs, targets, d[rows], e[rows])
    pairs = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(len(x)))
    i, j = pairs.unbind(1)
    others = mean_q(inputs[i], targets[i], d[j], e[j])
    return base + LAW.theta_variance * own + LAW.gamma_squared * others


@pytest.mark.parametrize("method", METHODS)
def test_the_batch_trains_each_repetition_as_a_plain_loop_would(method):
    problem, features = setting(SEEDS)
    weights = trained(SEEDS, [method])[method]
    for k, seed in enumerate(SEEDS):
        net = network(features, k)
        optimizer = torch.optim.SGD(net.parameters(), lr=STEP)
        x, y = data(problem, k)
        for epoch in range(EPOCHS):
            for rows in epoch_order(len(x), seed=seed, epoch=epoch).split(BATCH):
                optimizer.zero_grad()
                loop_loss(method, net, x, y, rows, seed, epoch).backward()
                optimizer.step()
        expected = net.output.weight.detach()[0]
        assert expected.norm() > 0.1
        torch.testing.assert_close(weights[k], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_a_repetition_does_not_depend_on_those_trained_beside_it(method, monkeypatch):
    monkeypatch.setattr(methods, "_BLOCK", 2)
    together, alone = trained((0, 7, 2), [method])[method], trained((7,), [method])[method]
    torch.testing.assert_close(together[1], alone[0], rtol=1e-11, atol=1e-11)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_method_does_not_depend_on_those_trained_beside_it():
    together = trained(SEEDS)
    for method in METHODS:
        assert torch.equal(together[method], trained(SEEDS, [method])[method])


def test_single_precision_follows_double():
    double, single = trained(SEEDS), trained(SEEDS, dtype=torch.float32)
    for method in METHODS:
        scale = double[method].abs().max()
        assert (single[method] - double[method]).abs().max() < 1e-4 * scale


def test_risks_are_those_of_the_library():
    problem, features = setting(SEEDS)
    models = trained(SEEDS)
    objectives = {m: make_trainable(m, problem, features, LAW) for m in METHODS if m != "mixup"}
    for method, w in models.items():
        for k in range(len(SEEDS)):
            net, (x, y) = network_with(features, k, w), data(problem, k)
            approximate = approximate_mixup_risk(net, x, y, "logistic", LAW, second_order=False)
            expected = {
                "erm": empirical_risk(net, x, y, "logistic"),
                "modified": modified_risk(net, x, y, "logistic", LAW),
                "approximate": approximate.total,
            }
            for name, objective in objectives.items():
                found = objective.objective.risks({method: w}, chunk_size=47)[method][k]
                assert float(found) == pytest.approx(expected[name], rel=1e-9)


def test_the_mixup_risk_is_estimated_without_bias():
    problem, features = setting(SEEDS[:1])
    w = trained(SEEDS[:1], ["mixup"])["mixup"]
    draws = 100
    estimate = fixed_mixup_risk(problem, features, LAW, draws=draws).risks({"mixup": w})["mixup"]
    net, (x, y) = network_with(features, 0, w), data(problem, 0)
    exact = mixup_risk(net, x, y, "logistic", LAW, order=32)
    error = mixup_risk_estimate(
        net, x, y, "logistic", LAW, samples=draws * len(x), generator=generator(0)
    ).standard_error
    assert abs(float(estimate) - exact) < 4 * error


def test_points_and_labels_are_those_of_the_data_set():
    problem, _ = setting(SEEDS, torch.float32)
    for k, seed in enumerate(SEEDS):
        dataset = load("two-moons", seed=seed, validation_fraction=0)
        for split, points in (("train", problem.train), ("test", problem.test)):
            ((inputs, labels),) = dataset.batches(split, 150)
            assert torch.equal(points.inputs[k], inputs)
            assert torch.equal(points.targets[k].long(), labels)
        flipped = problem.true_labels[k] != problem.train.targets[k]
        assert int(flipped.sum()) == 30


def test_draws_are_the_laws_own_and_all_partners_occur():
    problem, _ = setting(SEEDS)
    draws = draw_epoch(problem, 4, LAW)
    for k, seed in enumerate(SEEDS):
        assert torch.equal(draws.order[k], epoch_order(150, seed=seed, epoch=4))
        source = generator(seed, "mixing", 4)
        assert torch.equal(draws.partner[k], torch.randint(150, (150,), generator=source))
        assert torch.equal(draws.weight[k], LAW.sample(150, generator=source))
    many = torch.cat([draw_epoch(problem, epoch, LAW).partner[0] for epoch in range(20)])
    assert many.unique().tolist() == list(range(150))


def test_predictions_are_those_of_the_rescaled_model():
    problem, features = setting(SEEDS)
    w = trained(SEEDS, ["mixup"])["mixup"]
    measures = Measures(problem, features, LAW, {})
    for k in range(len(SEEDS)):
        net, (x, y) = network_with(features, k, w), data(problem, k)
        stats = TrainingStatistics.from_tensors(x, y)
        rescaled = RescaledModel(net, stats, LAW, link="sigmoid").double()
        for split, inputs in (("train", x), ("test", problem.test.inputs[k])):
            for model, prediction in ((net, "raw"), (rescaled, "rescaled")):
                found = measures.logits(w, split, prediction)[k]
                torch.testing.assert_close(found, model(inputs)[:, 0].detach())


def test_measurements_are_those_of_the_evaluation():
    problem, features = setting(SEEDS)
    models = trained(SEEDS)
    trainables = {m: make_trainable(m, problem, features, LAW) for m in METHODS}
    risks = {n: t.objective for n, t in trainables.items() if isinstance(t, FixedPoints)}
    risks["mixup"] = fixed_mixup_risk(problem, features, LAW, draws=2)
    measures = Measures(problem, features, LAW, risks)
    found = measures.at_the_end(models)
    for (method, prediction), values in found.items():
        assert set(RISKS.values()) <= values.keys() or prediction == "rescaled"
        for k in range(len(SEEDS)):
            for split, points in (("train", problem.train), ("test", problem.test)):
                logits = two_class_logits(measures.logits(models[method], split, prediction)[k])
                expected = metrics(logits, points.targets[k].long())
                for name in ("nll", "accuracy"):
                    value = float(values[f"{split}_{name}"][k])
                    assert value == pytest.approx(getattr(expected, name))
        assert torch.equal(found[method, "raw"]["empirical_risk"], values["train_nll"]) or (
            prediction == "rescaled"
        )
    edges, shares = measures.confidences(models["erm"], "raw")
    assert edges[0] == pytest.approx(0.5)
    assert edges[-1] == pytest.approx(1.0)
    torch.testing.assert_close(shares.sum(1), torch.ones(len(SEEDS)))


def test_divergence_is_named():
    problem, features = setting(SEEDS[:1], torch.float32)
    trainables = {"approximate": make_trainable("approximate", problem, features, LAW)}
    with pytest.raises(MixregError, match="'approximate' diverged within 3 epochs; lower"):
        train(trainables, problem, LAW, epochs=3, batch_size=50, learning_rate=1e30)
