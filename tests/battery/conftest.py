"""One finished run, evaluated, compared and diagnosed, shared by the battery."""

import shutil
from pathlib import Path

import pytest
from tests.battery.command import COMPARED, SETTINGS, call


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """A run in a comparison, evaluated and diagnosed, and a page of it; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mixreg.report.charts.draw", lambda _: "<svg/>")
        place = tmp_path_factory.mktemp("battery")
        run = place / "compare" / "runs" / "mixup-seed0"
        for words in (
            ["train", *SETTINGS, "--method", "mixup", "--output", run],
            ["evaluate", run],
            ["diagnose", run, "--samples", 4, "--draws", 8, "--pairs", 8, "--progress", "false"],
            ["compare", *SETTINGS, *COMPARED, "--output", place / "compare"],
            ["report", place / "compare", "--output", place / "page"],
        ):
            assert call(words)[0] is not None, call(words)
    return place


@pytest.fixture
def copied(original, tmp_path, monkeypatch):
    """A copy of these files that may be damaged, in the working directory; nothing is drawn."""
    monkeypatch.setattr("mixreg.report.charts.draw", lambda _: "<svg/>")
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(original, tmp_path / "b"))
