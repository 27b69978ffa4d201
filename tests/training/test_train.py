"""Training: every method learns, the seed decides everything, and what cannot be is refused."""

import csv

import pytest
import torch
from safetensors.torch import load_file

from mixreg import ConfigurationError, MixregError
from mixreg.training import METHODS, RunDirectory, load_run, train
from mixreg.training.fit import CheckpointFiles


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(small, method):
    run = train(small(method=method, epochs=4, batch_size=64))
    history = run.read_result().history
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert history[-1]["objective"] < history[0]["objective"]
    assert history[-1]["test_accuracy"] > 0.8


def test_the_seed_decides_everything_and_the_global_one_nothing(small):
    histories = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(histories))
        run = train(small(name, method="dropout", seed=seed))
        histories.append(run.read_result().history)
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "logistic"}, "needs two classes, digits has 10"),
        ({"method": "approximate", "batch_size": 605}, "1211 training samples .* 605 leave 1"),
        ({"method": "gaussian", "batch_size": 2}, "needs 3 in each"),
        ({"accelerator": "tpu"}, "torch_xla"),
        ({"accelerator": "quantum"}, "accelerator='quantum'"),
        ({"precision": "transformer-engine"}, "transformer_engine"),
        ({"precision": "half"}, "Precision 'half' is invalid"),
        ({"precision": "16-mixed"}, "needs a GPU; on a CPU use 'bf16-mixed' or '32-true'"),
        ({"precision": "16"}, "needs a GPU"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(small, settings, message):
    config = small(**settings)
    with pytest.raises(ConfigurationError, match=message) as error:
        train(config)
    assert "\n" not in str(error.value)
    assert not config.output.exists()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"learning_rate": 1e30, "epochs": 30}, "objective"),
        ({"learning_rate": 1e30, "epochs": 1, "batch_size": 2000}, "validation_nll"),
    ],
)
def test_divergence_is_named(small, settings, name):
    config = small(method="erm", **settings)
    with pytest.raises(MixregError, match=rf"{name} became nan in epoch \d.*--learning-rate"):
        train(config)
    assert not RunDirectory(config.output).finished


def test_a_finished_run_is_not_trained_again(finished):
    before = {file: file.stat().st_mtime_ns for file in finished.path.rglob("*")}
    train(
        finished.read_config().__class__(**vars(finished.read_config()) | {"output": finished.path})
    )
    assert {file: file.stat().st_mtime_ns for file in finished.path.rglob("*")} == before


def test_a_part_of_the_training_set_may_be_used(small):
    part = load_run(train(small(training_fraction=0.25, epochs=1)).path)
    assert part.stats.count == part.data.size("train") == pytest.approx(1211 / 4, abs=10)


class TestSnapshots:
    """Models kept on the way."""

    def test_they_are_the_models_of_shorter_trainings(self, small):
        run = train(small("long", method="erm", epochs=3, snapshots=[1, 3]))
        short = train(small("short", method="erm", epochs=1))
        for epoch, weights in ((1, short.weights), (3, run.weights)):
            kept, expected = load_file(run.snapshot(epoch)), load_file(weights)
            assert kept.keys() == expected.keys()
            assert all(torch.equal(kept[name], expected[name]) for name in expected)
        assert not run.snapshot(2).exists()

    def test_keeping_them_is_no_other_run(self, small):
        assert small(snapshots=[1]).identity() == small().identity()

    def test_a_finished_run_cannot_keep_them_afterwards(self, small):
        train(small(snapshots=[1]))
        train(small(snapshots=[1]))
        with pytest.raises(
            ConfigurationError, match=r"did not keep its weights after the epochs \[2\]"
        ):
            train(small(snapshots=[1, 2]))


class InterruptedRunError(Exception):
    """Stands for the end of the process."""


def _interrupt(monkeypatch, config, *, epoch, stored):
    """Train until an epoch's checkpoint is written, and stop just before or after."""
    count = 0
    save = CheckpointFiles.save_checkpoint

    def save_or_stop(self, *arguments, **options):
        nonlocal count
        count += 1
        if stored or count < epoch:
            save(self, *arguments, **options)
        if count == epoch:
            raise InterruptedRunError

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFiles, "save_checkpoint", save_or_stop)
        with pytest.raises(InterruptedRunError):
            train(config)


class TestTable:
    """The history as a CSV file, interrupted or not."""

    @pytest.fixture
    def whole(self, small):
        return train(small("whole", method="dropout", epochs=3, loggers=["csv", "tensorboard"]))

    def test_it_is_the_history(self, whole):
        rows = list(csv.DictReader((whole.path / "metrics.csv").read_text().splitlines()))
        values = [{name: float(value) for name, value in row.items()} for row in rows]
        assert values == list(whole.read_result().history)
        assert list((whole.path / "tensorboard").glob("events.out.tfevents.*"))

    @pytest.mark.parametrize("epoch", [1, 3])
    @pytest.mark.parametrize("stored", [False, True])
    def test_an_interrupted_run_has_the_table_of_a_whole_one(
        self, small, monkeypatch, whole, epoch, stored
    ):
        config = small("stopped", method="dropout", epochs=3, loggers=["csv"])
        _interrupt(monkeypatch, config, epoch=epoch, stored=stored)
        run = train(config)
        assert run.read_result().history == whole.read_result().history
        assert _table(run) == _table(whole)

    def test_a_damaged_table_is_written_anew(self, small, monkeypatch, whole):
        config = small("stopped", method="dropout", epochs=3, loggers=["csv"])
        _interrupt(monkeypatch, config, epoch=1, stored=True)
        (config.output / "metrics.csv").write_bytes(b"\x00\xff")
        assert _table(train(config)) == _table(whole)

    def test_a_run_resumed_in_a_moved_directory_warns_of_nothing(self, small, monkeypatch, whole):
        there, here = (small(name, method="dropout", epochs=3) for name in ("there", "here"))
        _interrupt(monkeypatch, there, epoch=1, stored=True)
        there.output.rename(here.output)
        assert train(here).read_result().history == whole.read_result().history


def _table(run):
    return (run.path / "metrics.csv").read_bytes()
