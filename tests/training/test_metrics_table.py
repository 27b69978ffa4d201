"""The CSV log of a run, interrupted or not, and what resuming says."""

import csv

import pytest

from mixreg.training import TrainConfig, train
from mixreg.training.checkpoints import AtomicCheckpointIO
from mixreg.training.metrics_table import MetricsTable


class InterruptedRunError(Exception):
    """Stands for the end of the process."""


def _config(output, **settings):
    small = {"data": "digits", "method": "erm", "epochs": 3, "batch_size": 256, "progress": False}
    return TrainConfig(**(small | settings), output=output)


def _interrupt(monkeypatch, config, *, epoch, stored):
    """Train until an epoch's checkpoint is written, and stop just before or after."""
    count = 0
    save = AtomicCheckpointIO.save_checkpoint

    def save_or_stop(self, *arguments, **options):
        nonlocal count
        count += 1
        if stored or count < epoch:
            save(self, *arguments, **options)
        if count == epoch:
            raise InterruptedRunError

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_or_stop)
        with pytest.raises(InterruptedRunError):
            train(config)


def _table(path):
    return (path / "csv" / "metrics.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(_config(tmp_path_factory.mktemp("whole"), loggers=["csv"]))


def test_the_table_is_the_history(whole):
    rows = list(csv.DictReader(_table(whole.path).decode().splitlines()))
    history = whole.read_result().history
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    steps = [int(row["step"]) for row in rows]
    assert steps == [5 * (epoch + 1) - 1 for epoch in range(3)]  # 1211 samples: 5 batches
    for row, entry in zip(rows, history, strict=True):
        assert row.keys() == entry.keys() | {"step"}
        assert all(float(row[name]) == entry[name] for name in entry if name != "epoch")


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("stored", [False, True])
def test_an_interrupted_run_has_the_table_of_a_whole_one(
    tmp_path, monkeypatch, whole, epoch, stored
):
    config = _config(tmp_path, loggers=["csv"])
    _interrupt(monkeypatch, config, epoch=epoch, stored=stored)
    train(config)
    assert _table(tmp_path) == _table(whole.path)


def test_resuming_in_a_moved_directory_warns_of_nothing(tmp_path, monkeypatch, whole):
    _interrupt(monkeypatch, _config(tmp_path / "there"), epoch=1, stored=True)
    (tmp_path / "there").rename(tmp_path / "here")
    run = train(_config(tmp_path / "here"))
    assert run.read_result().history == whole.read_result().history


def test_rows_of_the_same_and_later_steps_are_replaced(tmp_path):
    table = MetricsTable(tmp_path / "csv")
    for step, loss in ((4, 1.0), (9, 0.5), (14, 0.25), (9, 0.75)):
        table.log_metrics({"loss": loss}, step)
    assert _table(tmp_path) == b"loss,step\r\n1.0,4\r\n0.75,9\r\n"


def test_a_metric_that_comes_later_gets_a_column(tmp_path):
    table = MetricsTable(tmp_path / "csv")
    table.log_metrics({"loss": 1.0}, 4)
    table.log_metrics({"loss": 0.5, "accuracy": 0.25}, 9)
    assert _table(tmp_path) == b"accuracy,loss,step\r\n,1.0,4\r\n0.25,0.5,9\r\n"
