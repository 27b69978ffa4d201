"""Mixup where users train; run as a script, this file trains with two processes for a test."""

import json
import sys
import warnings
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.utils.estimator_checks import check_estimator
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from mixreg import Beta, Constant, MixregError, Mixup, RescaledModel, mixed_accuracy
from mixreg.evaluation import metrics
from mixreg.integrations import MixedAccuracy, MixupCallback, MixupClassifier

LAW = Beta(0.7)
LIGHTNING = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:`isinstance.treespec, LeafSpec"
)


def data(n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=g), torch.randint(4, (n,), generator=g)


TRAIN, VALIDATION = data(37, 0), data(24, 1)


class Module(lightning.LightningModule):
    """As people write it: nothing in it knows of mixup, and it augments on the device."""

    def __init__(self, fails=False):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
        self.accuracy, self.steps, self.fails = MulticlassAccuracy(4), [], fails

    def forward(self, x):
        return self.net(x)

    def on_after_batch_transfer(self, batch, _):
        return batch[0] + 5, batch[1]

    def training_step(self, batch, _):
        x, y = batch
        if self.fails:
            raise RuntimeError("as a step may")
        logits = self(x)
        self.steps.append((x, y, logits.detach()))
        return functional.cross_entropy(logits, y)

    def validation_step(self, batch, _, dataloader_idx=0):
        del dataloader_idx  # Lightning gives it where there are several loaders
        x, y = batch
        self.accuracy(self(x), y)
        self.log("val_accuracy", self.accuracy)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(tensors):
    return DataLoader(TensorDataset(*tensors), 10)


def fit(callback, module, path, epochs=2, resume=None, validation=None, **options):
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False} | options
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[callback],
        enable_model_summary=False,
        enable_progress_bar=False,
        **settings,
    )
    trainer.fit(module, loader(TRAIN), validation or loader(VALIDATION), ckpt_path=resume)
    if path is not None:
        trainer.save_checkpoint(path)
    return trainer


@LIGHTNING
@pytest.mark.parametrize("net", ["", "net"])
def test_a_callback_mixes_any_module_and_logs_both_predictions(net, tmp_path):
    module, callback = Module(), MixupCallback(LAW, 4, net=net, seed=3)
    logged = fit(callback, module, tmp_path / "a.ckpt").callback_metrics
    assert "training_step" not in vars(module)
    assert [len(x) for x, *_ in module.steps] == [10, 10, 10, 7] * 2
    torch.testing.assert_close(callback.stats.x_mean, TRAIN[0].double().mean(0) + 5)
    assert callback.stats.count == 37
    assert not any("rescaled" in key for key in module.state_dict())

    right = [(y[range(len(y)), u.argmax(1)].sum(), len(y)) for _, y, u in module.steps[4:]]
    mixed = sum(part.item() for part, _ in right) / 37
    assert logged["train_mixed_accuracy"].item() == pytest.approx(mixed, abs=1e-6)
    x, y = VALIDATION[0] + 5, VALIDATION[1]
    module.eval()
    model = RescaledModel(module.net, callback.stats, callback.recipe).eval()
    for name, f in (("raw", module.net), ("rescaled", model)):
        expected = metrics(f(x).detach(), y)
        for metric in ("accuracy", "nll", "ece"):
            value = logged[f"val_{name}_{metric}"].item()
            assert value == pytest.approx(getattr(expected, metric), abs=1e-5)
    assert logged["val_raw_accuracy"].item() != logged["val_rescaled_nll"].item()


@LIGHTNING
def test_a_resumed_training_ends_with_the_same_bits(tmp_path):
    def law(epoch):
        return Beta(1.0) if epoch < 2 else Constant(1.0)

    def run(epochs, path, resume=None):
        module, callback = Module(), MixupCallback(law, 4, net="net")
        fit(callback, module, tmp_path / path, epochs, resume, num_sanity_val_steps=0)
        return module, callback

    whole, callback = run(3, "whole.ckpt")
    run(1, "half.ckpt")
    torch.manual_seed(5)
    resumed, again = run(3, "rest.ckpt", tmp_path / "half.ckpt")
    assert again.seed == callback.seed
    assert torch.equal(again.stats.x_mean, callback.stats.x_mean)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
    mixed = [bool((step[1].max(1).values < 1).any()) for step in resumed.steps]
    assert any(mixed[:4])
    assert not any(mixed[4:])
    with pytest.warns(UserWarning, match="in the last 1 of 3 epochs"):
        assert again.recipe.label_law == Beta(1.0)


@LIGHTNING
def test_every_validation_set_has_metrics_of_its_own():
    def at_last(*sets):
        callback, loaders = MixupCallback(LAW, 4, seed=0), [loader(each) for each in sets]
        logged = fit(callback, Module(), None, validation=loaders).callback_metrics
        return {name: value.item() for name, value in logged.items() if "val_r" in name}

    both = at_last(VALIDATION, TRAIN)
    for k, alone in enumerate((at_last(VALIDATION), at_last(TRAIN))):
        assert len(alone) == 6
        assert {
            f"{n}/dataloader_idx_{k}": value for n, value in alone.items()
        }.items() <= both.items()


@LIGHTNING
def test_a_failed_step_leaves_the_module_as_it_was():
    module = Module(fails=True)
    with pytest.raises(RuntimeError, match="as a step may"):
        fit(MixupCallback(LAW, 4), module, None)
    assert "training_step" not in vars(module)
    with pytest.raises(MixregError, match="no submodule 'body'; net= names the one"):
        fit(MixupCallback(LAW, 4, net="body"), Module(), None)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        MixupCallback(LAW, 0)


def test_accuracy_of_soft_labels_as_a_metric(generator):
    x, y = torch.randn(9, 2), torch.randint(4, (9,), generator=generator)
    metric, logits = MixedAccuracy(), torch.randn(2, 9, 4, generator=generator)
    mixup = Mixup(LAW, 4, generator=generator)
    batches = [mixup(x, y) for _ in logits]
    expected = [mixed_accuracy(u, y, batch) for u, batch in zip(logits, batches, strict=True)]
    for u, batch in zip(logits, batches, strict=True):
        metric.update(u, batch.targets)
    torch.testing.assert_close(metric.compute(), torch.stack(expected).mean())
    torch.testing.assert_close(metric(logits[0], y), (logits[0].argmax(1) == y).float().mean())
    with pytest.raises(ValueError, match=r"got \(9, 4\) and \(9, 2\)"):
        metric.update(logits[0], x)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_classifier_is_one_of_scikit_learn():
    check_estimator(MixupClassifier(epochs=10))


def test_the_classifier_predicts_by_equation_22():
    x, y = load_wine(return_X_y=True)
    names = np.array(["red", "rosé", "white"])[y]
    fitted = [
        MixupClassifier(0.7, correction=kind, epochs=5, random_state=1).fit(x, names)
        for kind in ("raw", "scale-only", "rescaled")
    ]
    law, stats, net = Beta(0.7), fitted[0].statistics_, fitted[0].model_.net
    z = torch.as_tensor((x - x.mean(0)) / x.std(0))
    torch.testing.assert_close(stats.y_mean.numpy(), np.bincount(y) / len(y))
    models = [net, RescaledModel(net, stats, law, inputs="keep"), RescaledModel(net, stats, law)]
    for classifier, model in zip(fitted, models, strict=True):
        expected = torch.softmax(model(z), 1).detach().numpy()
        np.testing.assert_allclose(classifier.predict_proba(x), expected, rtol=1e-12)
    assert classifier.score(x, names) > 0.9
    with pytest.raises(ValueError, match="unknown correction 'none'"):
        MixupClassifier(correction="none").fit(x, y)


def test_the_classifier_leaves_a_constant_feature_as_it_is():
    """Rounding gives the column a deviation of 1e-17."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    fixed = np.column_stack([x, np.full(60, 0.1)])
    classifier = MixupClassifier(epochs=2, random_state=0).fit(fixed, x[:, 0] > 0)
    moved = fixed + np.array([0, 0, 1e-6])
    near, far = classifier.predict_proba(fixed), classifier.predict_proba(moved)
    np.testing.assert_allclose(near, far, atol=1e-5)


def test_two_processes_share_means_and_have_draws_of_their_own(tmp_path, start):
    done = start(Path(__file__), tmp_path)
    assert done.status() == 0, done.shown()
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["count"] == 38  # one of 37 examples is repeated for equal parts
    for name in ("x_mean", "seed", "logged"):
        assert first[name] == second[name]
    assert first["weights"] != second["weights"]
    assert set(first["logged"]) >= {"train_mixed_accuracy", "val_raw_ece", "val_rescaled_nll"}


def two_processes(folder):
    warnings.simplefilter("ignore")
    module, callback = Module(), MixupCallback(LAW, 4)
    trainer = fit(callback, module, None, strategy="ddp", devices=2)
    record = {
        "count": callback.stats.count,
        "x_mean": callback.stats.x_mean.tolist(),
        "seed": callback.seed,
        "weights": [y.max(1).values.tolist() for _, y, _ in module.steps],
        "logged": {name: value.item() for name, value in trainer.callback_metrics.items()},
    }
    (folder / f"{trainer.global_rank}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    two_processes(Path(sys.argv[1]))
