from pathlib import Path

import pytest


@pytest.fixture
def no_data_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and no environment variable that names a data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXREG_DATA", raising=False)
    return tmp_path
