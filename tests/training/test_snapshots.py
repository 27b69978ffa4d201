"""Weights kept on the way."""

import pytest
import torch
from safetensors.torch import load_file

from mixreg import ConfigurationError
from mixreg.training import TrainConfig, train


def _config(path, **settings):
    small = {"data": "digits", "method": "erm", "batch_size": 256, "progress": False}
    return TrainConfig(**(small | settings), output=path)


def test_snapshots_are_the_weights_of_shorter_trainings(tmp_path):
    run = train(_config(tmp_path / "long", epochs=3, snapshots=[1, 3]))
    short = train(_config(tmp_path / "short", epochs=1))
    for epoch, weights in ((1, short.weights), (3, run.weights)):
        kept, expected = load_file(run.snapshot(epoch)), load_file(weights)
        assert kept.keys() == expected.keys()
        assert all(torch.equal(kept[name], expected[name]) for name in expected)
    assert not run.snapshot(2).exists()


def test_keeping_snapshots_is_no_other_run(tmp_path):
    plain, kept = _config(tmp_path, epochs=2), _config(tmp_path, epochs=2, snapshots=[1])
    assert plain.identity() == kept.identity()


def test_a_finished_run_cannot_keep_snapshots_afterwards(tmp_path):
    train(_config(tmp_path / "run", epochs=2, snapshots=[1]))
    train(_config(tmp_path / "run", epochs=2, snapshots=[1]))
    with pytest.raises(
        ConfigurationError, match=r"did not keep its weights after the epochs \[2\]"
    ):
        train(_config(tmp_path / "run", epochs=2, snapshots=[1, 2]))


@pytest.mark.parametrize("epochs", [[0], [3]])
def test_refuses_epochs_that_do_not_come(tmp_path, epochs):
    with pytest.raises(ConfigurationError, match="snapshots must be epochs from 1 to 2"):
        _config(tmp_path, epochs=2, snapshots=epochs)
