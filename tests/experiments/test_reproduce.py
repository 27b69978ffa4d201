import pytest

from mixreg import ConfigurationError
from mixreg.experiments.reproduce import NAMES, ReproduceOptions, reproduce


@pytest.mark.parametrize("name", ["fig8", "table1"])
def test_smoke_writes_numbers_and_pictures(tmp_path, name):
    text, shown = reproduce(ReproduceOptions(name=name, scale="smoke", jobs=1, output=tmp_path))
    assert "mixup" in text
    assert shown.is_file()
    assert list(tmp_path.rglob("*.json"))
    assert list(tmp_path.rglob("*.svg"))


def test_figures_of_one_experiment_share_a_directory():
    directories = {ReproduceOptions(name=name).directory for name in ("fig1", "fig8", "fig9")}
    assert len(directories) == 1
    assert ReproduceOptions(name="table1").directory not in directories


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "fig88"}, "unknown figure or table 'fig88'; did you mean 'fig8'"),
        ({"name": NAMES[0], "scale": "huge"}, "unknown scale 'huge'"),
        ({"name": "fig4", "seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ReproduceOptions(**settings)
