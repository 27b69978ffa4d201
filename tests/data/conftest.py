import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def same_draws_in_every_run() -> None:
    torch.manual_seed(0)


@pytest.fixture
def python2_pickle() -> Callable[[object], bytes]:
    """Pickles as the CIFAR releases have them: NumPy's functions under their old module name."""

    def dump(values: object) -> bytes:
        return pickle.dumps(values, protocol=3).replace(b"cnumpy._core.", b"cnumpy.core.")

    return dump


@pytest.fixture
def planar_images() -> Callable[[int, int], np.ndarray]:
    """n rows of 3072 bytes, red, green and blue planes one after the other."""

    def make(n: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)

    return make


@pytest.fixture
def no_data_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and no environment variable that names a data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXREG_DATA", raising=False)
    return tmp_path
