import pytest
import torch
from torch import nn

from mixreg import CheckpointError, ConfigurationError, MixregError, TrainingStatistics
from mixreg.training import METHODS, TrainConfig, train
from mixreg.training.objectives import make_objective, training_targets
from mixreg.training.trained import load_run


def _config(path, **settings):
    small = {"data": "digits", "epochs": 2, "batch_size": 256, "progress": False}
    return TrainConfig(**(small | settings), output=path / "run")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(tmp_path, method):
    run = train(_config(tmp_path, method=method, epochs=4, batch_size=64))
    history = run.read_result().history
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert history[-1]["objective"] < history[0]["objective"]
    assert history[-1]["test_accuracy"] > 0.8


def test_the_stored_classifier_is_the_trained_one(tmp_path):
    run = train(_config(tmp_path, method="erm"))
    trained = load_run(run.path, {})
    right = total = 0
    for x, y in trained.data.batches("test", 100):
        right += int((trained.net(x).argmax(1) == y).sum())
        total += len(y)
    assert right / total == pytest.approx(run.read_result().history[-1]["test_accuracy"])
    assert trained.stats.count == trained.data.size("train")
    assert trained.class_means.sum() == pytest.approx(1)


def test_the_seed_decides_everything(tmp_path):
    first = train(_config(tmp_path / "a", seed=1)).read_result().history
    again = train(_config(tmp_path / "b", seed=1)).read_result().history
    other = train(_config(tmp_path / "c", seed=2)).read_result().history
    assert first == again
    assert first != other


def test_the_global_seed_decides_nothing(tmp_path):
    torch.manual_seed(1)
    first = train(_config(tmp_path / "a", method="dropout")).read_result().history
    torch.manual_seed(2)
    assert train(_config(tmp_path / "b", method="dropout")).read_result().history == first


def test_statistics_are_of_unmixed_training_inputs(tmp_path):
    trained = load_run(train(_config(tmp_path, method="mixup")).path, {})
    batches = trained.data.train_batches(64, seed=0, epoch=0)
    x = torch.cat([x for x, _ in batches]).double().mean(0)
    assert torch.allclose(trained.stats.x_mean, x, rtol=1e-12, atol=1e-12)


def test_one_logit_with_the_logistic_loss(tmp_path):
    run = train(_config(tmp_path, data="two-moons", loss="logistic", epochs=30, batch_size=50))
    trained = load_run(run.path, {})
    assert trained.net(next(iter(trained.data.batches("test", 5)))[0]).shape == (5, 1)
    assert trained.stats.y_mean.shape == (1,)
    assert trained.class_means.shape == (2,)
    assert trained.class_means[1] == trained.stats.y_mean
    assert run.read_result().history[-1]["test_accuracy"] > 0.7


def test_logistic_needs_two_classes(tmp_path):
    with pytest.raises(ConfigurationError, match="needs two classes, digits has 10"):
        train(_config(tmp_path, loss="logistic"))


def test_a_last_batch_too_small_to_pair_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="1211 training samples in batches of 605 leave 1"):
        train(_config(tmp_path, method="approximate", batch_size=605))


def test_divergence_is_named(tmp_path):
    with pytest.raises(MixregError, match=r"the objective became nan in epoch \d"):
        train(_config(tmp_path, method="erm", learning_rate=1e30, epochs=30))


def test_loggers_write_each_epoch(tmp_path):
    run = train(_config(tmp_path, loggers=["csv", "tensorboard"]))
    table = (run.path / "csv" / "metrics.csv").read_text()
    assert "test_accuracy" in table.splitlines()[0]
    assert list((run.path / "tensorboard").glob("events.out.tfevents.*"))


def test_an_unfinished_run_is_not_read_as_finished(tmp_path):
    run = train(_config(tmp_path))
    (run.path / "result.json").unlink()
    with pytest.raises(CheckpointError, match="not finished"):
        load_run(run.path, {})


def test_a_damaged_checkpoint_is_named(tmp_path):
    run = train(_config(tmp_path))
    (run.path / "result.json").unlink()
    whole = run.checkpoint.read_bytes()
    run.checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged"):
        train(_config(tmp_path))


class TestObjectives:
    """Each objective against the formula written out, on a fixed batch."""

    law_alpha = 0.7

    def _setting(self, **settings):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(16, 5, generator=generator, dtype=torch.float64)
        labels = torch.randint(3, (16,), generator=generator)
        y = torch.nn.functional.one_hot(labels, 3).double()
        net = nn.Linear(5, 3).double()
        stats = TrainingStatistics.from_tensors(x, labels, num_classes=3)
        config = TrainConfig(alpha=self.law_alpha, **settings)
        return config, net, x, y, stats

    def _value(self, config, net, x, y, stats):
        objective = make_objective(config, stats, torch.Generator().manual_seed(1))
        return objective(net, x, y).value

    @staticmethod
    def _cross_entropy(y, u):
        return -(y * (u - u.logsumexp(1, keepdim=True))).sum(1).mean()

    def test_erm(self):
        config, net, x, y, stats = self._setting(method="erm")
        expected = self._cross_entropy(y, net(x))
        assert torch.allclose(self._value(config, net, x, y, stats), expected)

    def test_modified(self):
        config, net, x, y, stats = self._setting(method="modified")
        t = config.law.theta_mean
        shrunk_x, shrunk_y = x.mean(0) + t * (x - x.mean(0)), y.mean(0) + t * (y - y.mean(0))
        expected = self._cross_entropy(shrunk_y, net(shrunk_x))
        assert torch.allclose(self._value(config, net, x, y, stats), expected)

    @pytest.mark.parametrize("smoothing", [None, 0.0, 0.3])
    def test_label_smoothing(self, smoothing):
        settings = {"method": "label-smoothing", "smoothing": smoothing}
        config, net, x, y, stats = self._setting(**settings)
        epsilon = 1 - config.law.theta_mean if smoothing is None else smoothing
        expected = self._cross_entropy((1 - epsilon) * y + epsilon * y.mean(0), net(x))
        assert torch.allclose(self._value(config, net, x, y, stats), expected)

    def test_mixup_is_unbiased_for_the_mixup_risk(self):
        config, net, x, y, stats = self._setting(method="mixup")
        objective = make_objective(config, stats, torch.Generator().manual_seed(1))
        with torch.no_grad():
            draws = torch.stack([objective(net, x, y).value for _ in range(4000)])
            rule = config.law.quadrature(40)
            exact = sum(
                w * self._cross_entropy(t * y[i] + (1 - t) * y, net(t * x[i] + (1 - t) * x))
                for i in range(len(x))
                for t, w in zip(rule.nodes, rule.weights, strict=True)
            ) / len(x)
        error = draws.std() / len(draws) ** 0.5
        assert abs(draws.mean() - exact) < 4 * error


def test_targets_of_one_logit_are_numbers():
    config = TrainConfig(data="two-moons", loss="logistic")
    assert training_targets(torch.tensor([0, 1]), config, 2).tolist() == [[0.0], [1.0]]
