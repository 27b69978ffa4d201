import json

import pytest

from mixreg import CheckpointError, ConfigurationError
from mixreg.experiments import two_moons
from mixreg.experiments.reproduce import ReproduceOptions, reproduce


def _smoke(name, folder, **settings):
    return ReproduceOptions(name=name, scale="smoke", jobs=1, output=folder, **settings)


def test_a_damaged_result_is_named_before_anything_is_trained(tmp_path, monkeypatch):
    reproduce(_smoke("fig1", tmp_path))
    stored = tmp_path / "two-moons.json"
    stored.write_bytes(stored.read_bytes()[:-9])
    monkeypatch.setattr(two_moons, "run", None)
    with pytest.raises(CheckpointError, match=r"two-moons\.json is damaged"):
        reproduce(_smoke("fig1", tmp_path))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fig8", "two-moons.json"),
        ("fig2", "fig2/fig2.json"),
        ("table1", "table1.json"),
        ("corollary3", "corollary3.json"),
    ],
)
@pytest.mark.parametrize("stored", [{"format": "mixreg.Future/99"}, {"format": 99}, {}, []])
def test_results_of_another_version_are_not_replaced(name, file, stored, tmp_path):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match=r"(?i)nothing was changed\. .*choose another"):
        reproduce(_smoke(name, tmp_path))
    assert json.loads((tmp_path / file).read_text()) == stored
    assert not list(tmp_path.rglob("config.json"))


def test_figures_of_one_experiment_share_a_directory():
    directories = {ReproduceOptions(name=name).directory for name in ("fig1", "fig8", "fig9")}
    assert len(directories) == 1
    assert ReproduceOptions(name="table1").directory not in directories


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "fig88"}, "unknown figure or table 'fig88'; did you mean 'fig8'"),
        ({"name": "fig1", "scale": "huge"}, "unknown scale 'huge'"),
        ({"name": "claims", "scale": "paper"}, "claims are read from all results below --output"),
        ({"name": "claims", "seeds": 2}, "leave out --scale and --seeds"),
        ({"name": "fig4", "seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ReproduceOptions(**settings)
