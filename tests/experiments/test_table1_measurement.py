import pytest
import torch

from mixreg import CheckpointError, RescaledModel
from mixreg._random import generator
from mixreg.calibration import fit_temperature
from mixreg.diagnostics import jacobian_norms, roughness
from mixreg.evaluation import metrics
from mixreg.experiments.table1.measurement import (
    MeasurementSettings,
    measure,
    measure_run,
    read_measurements,
)
from mixreg.training import TrainConfig, load_run, train

SETTINGS = MeasurementSettings((0.5, 1.5), 40, 50)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = {"data": "digits", "epochs": 2, "progress": False}
    return {
        method: load_run(
            train(TrainConfig(**small, method=method, output=folder / method)).path, {}
        )
        for method in ("erm", "mixup")
    }


def everything(trained, split):
    x, y = zip(*trained.data.batches(split, 1000), strict=True)
    return torch.cat(x), torch.cat(y)


@torch.no_grad()
def test_the_raw_prediction(runs):
    found = measure(runs["mixup"], SETTINGS)["raw"]
    net, mean = runs["mixup"].net, runs["mixup"].stats.x_mean.float()
    x, y = everything(runs["mixup"], "test")
    expected = metrics(net(x), y)
    assert found.accuracy == expected.accuracy
    assert found.ece == pytest.approx(expected.ece, rel=1e-5)
    scaled = [metrics(net(mean + s * (x - mean)), y) for s in (0.5, 1.5)]
    assert found.scaled_nll == pytest.approx([m.nll for m in scaled], rel=1e-5)
    assert found.scaled_accuracy == tuple(m.accuracy for m in scaled)
    assert found.temperature is None


def test_the_rescaled_prediction_has_the_slopes_of_equation_22(runs):
    trained = runs["mixup"]
    all_samples = SETTINGS._replace(jacobian_samples=10_000)
    found = measure(trained, all_samples)["rescaled"]
    model = RescaledModel(trained.net, trained.stats, trained.law)
    x, y = everything(trained, "test")
    assert found.nll == pytest.approx(metrics(model(x), y).nll, rel=1e-5)
    shrunk = trained.stats.x_mean.float() + 0.75 * (x - trained.stats.x_mean.float())
    norms = jacobian_norms(trained.net, shrunk)
    assert found.jacobian == pytest.approx(float(norms.outputs.mean()), rel=1e-4)
    rough = roughness(trained.net, shrunk, generator=generator("table 1", "pairs"), pairs=50)
    assert found.roughness == pytest.approx(rough.value, rel=1e-4)


def test_temperature_scaling_is_measured_for_erm_alone(runs):
    assert set(measure(runs["mixup"], SETTINGS)) == {"raw", "rescaled"}
    found = measure(runs["erm"], SETTINGS)
    assert set(found) == {"raw", "temperature"}
    raw, cooled = found["raw"], found["temperature"]
    held_out = everything(runs["erm"], "validation")
    with torch.no_grad():
        temperature = fit_temperature(runs["erm"].net(held_out[0]), held_out[1])
    assert cooled.temperature == pytest.approx(temperature, rel=1e-5)
    assert cooled.jacobian == pytest.approx(raw.jacobian / temperature, rel=1e-5)
    assert cooled.roughness == raw.roughness
    assert cooled.accuracy == raw.accuracy
    assert cooled.scaled_accuracy == raw.scaled_accuracy
    assert cooled.nll != raw.nll
    assert cooled.scaled_nll != raw.scaled_nll
    assert cooled.probability_jacobian != raw.probability_jacobian


def test_jacobians_are_taken_at_the_same_samples_for_all(runs):
    again = measure(runs["erm"], SETTINGS)["raw"]
    assert again == measure(runs["erm"], SETTINGS)["raw"]
    other = measure(runs["erm"], SETTINGS._replace(jacobian_samples=41))["raw"]
    assert other.jacobian != again.jacobian
    assert other.nll == again.nll


def test_stored_and_read_back(runs):
    run = runs["mixup"].run
    measure_run(SETTINGS, run, runs["mixup"].config)
    assert read_measurements(run) == measure(runs["mixup"], SETTINGS)


def test_a_damaged_file_is_named_and_measured_again(runs):
    run = runs["erm"].run
    (run.path / "table1.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"table1\.json is missing or damaged"):
        read_measurements(run)
    measure_run(SETTINGS, run, runs["erm"].config)
    assert read_measurements(run)["raw"].accuracy > 0.5


def test_one_logit_and_two_classes(tmp_path):
    config = TrainConfig(
        data="two-moons", loss="logistic", epochs=2, progress=False, output=tmp_path
    )
    trained = load_run(train(config).path, {})
    found = measure(trained, SETTINGS)
    x, y = everything(trained, "test")
    with torch.no_grad():
        u = RescaledModel(trained.net, trained.stats, trained.law, "sigmoid")(x)
    expected = metrics(torch.cat([0 * u, u], 1), y)
    assert found["rescaled"].nll == pytest.approx(expected.nll, rel=1e-5)
