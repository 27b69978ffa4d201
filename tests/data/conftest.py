from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def same_draws_in_every_run() -> None:
    torch.manual_seed(0)


@pytest.fixture
def no_data_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and no environment variable that names a data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXREG_DATA", raising=False)
    return tmp_path
