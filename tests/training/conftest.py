"""Small runs for the tests of training."""

import pytest

from mixreg.training import TrainConfig, train


@pytest.fixture
def small(tmp_path):
    """A configuration of a short training on digits, with any settings."""

    def make(name="run", **settings):
        default = {"data": "digits", "epochs": 2, "batch_size": 256, "progress": False}
        return TrainConfig(**(default | settings), output=tmp_path / name)

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished mixup run, not to be changed."""
    output = tmp_path_factory.mktemp("finished") / "run"
    return train(
        TrainConfig(data="two-moons", epochs=2, batch_size=100, progress=False, output=output)
    )
