"""Settings: typed, in range, and read strictly from files."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixreg import Beta, ConfigurationError
from mixreg.settings import DESIGN, CheckpointOptions, command_of
from mixreg.training import (
    METHODS,
    Recipe,
    RunDirectory,
    TrainConfig,
    check_method,
    read_settings,
    recipe,
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, "alpha must be a positive finite number, got 0.0"),
        ({"alpha": float("nan")}, "alpha must be finite, got nan"),
        ({"alpha": float("inf")}, "alpha must be finite, got inf"),
        ({"mixing_probability": 1.5}, r"mixing_probability must be in \[0, 1\], got 1.5"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\)"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"training_fraction": 0.0}, r"training_fraction must be in \(0, 1\], got 0.0"),
        ({"label_noise": 1.5}, r"label_noise must be in \[0, 1\], got 1.5"),
        ({"workers": -1}, "workers must be at least 0 and at most 10,000, got -1"),
        ({"decay": -1.0}, r"decay must be in \[0, 1\]"),
        ({"directions": 3}, "directions must be 1 or 2, got 3"),
        ({"momentum": 0.0, "nesterov": True}, "momentum must be positive for nesterov, got 0.0"),
        ({"epochs": 0}, "epochs must be at least 1 and at most a million, got 0"),
        ({"epochs": 10**30}, "epochs must be at least 1 and at most a million"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("inf")}, "learning_rate must be finite, got inf"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay must be at least 0"),
        ({"weight_decay": float("inf")}, "weight_decay must be finite"),
        ({"milestones": [10, 0]}, "milestones must be epochs of at least 1"),
        ({"milestones": [1] * 1001}, "milestones must have at most 1000 entries"),
        ({"devices": 0}, "devices must be at least 1"),
        ({"batch_size": 3, "devices": 2}, "batch_size must be a multiple of devices"),
        ({"data": "cifar"}, "unknown data set 'cifar'; did you mean 'cifar10'"),
        ({"model": "lenett"}, "unknown model 'lenett'; did you mean 'lenet'"),
        ({"method": "mixupp"}, "unknown method 'mixupp'; did you mean 'mixup'"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 10**30}, r"seed must be at least 0 and below 2\^63"),
        ({"epochs": 2, "snapshots": [3]}, "snapshots must be epochs from 1 to 2"),
        ({"theta_mean": 0.75}, "given by both theta_mean and gamma_squared.*gamma_squared=None"),
        ({"gamma_squared": 0.1}, "given by both theta_mean and gamma_squared.*theta_mean=None"),
        (
            {"theta_mean": 0.75, "gamma_squared": 0.1, "alpha": 0.5},
            "by no alpha or mixing_probability, got .* with alpha=0.5 and mixing_probability=1",
        ),
        ({"theta_mean": 0.75, "gamma_squared": 0.2}, "nearest that one has are theta_mean=0.72"),
        ({"theta_mean": 1.5, "gamma_squared": 0.0}, "nearest that one has are theta_mean=1 "),
        ({"theta_mean": 0.75, "gamma_squared": float("nan")}, "gamma_squared must be finite"),
        ({"output": Path("a\0b")}, r"output must be a path without NUL, got 'a\\x00b'"),
    ],
)
def test_refuses_values_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainConfig(**settings)


def test_a_folder_is_told_from_a_name_elsewhere_too(tmp_path, monkeypatch):
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path)
    stored = TrainConfig(data="pets").identity()
    monkeypatch.chdir("/")
    assert TrainConfig(**stored).data == "./pets"
    assert TrainConfig(**stored).directory.name.startswith("pets-mlp")
    with pytest.raises(ConfigurationError, match=r"unknown data set 'pets'; .*FOLDER"):
        TrainConfig(data="pets")


OPTIONAL = {"class_order", "data_root", "label_noise", "smoothing", "output", "label"}
OPTIONAL |= {"interpolation", "theta_mean", "gamma_squared"}
OTHER_TYPES = [
    (field.name, value)
    for field in dataclasses.fields(TrainConfig)
    for value in (None, {}, object(), b"a", [None], 1.5, "0x10")
    if not (value is None and field.name in OPTIONAL)
    and not (isinstance(value, float) and "float" in str(field.type))
    and not (isinstance(value, str) and field.type in (str, str | None))
    and not (isinstance(value, str) and "Path" in str(field.type))
]


@pytest.mark.parametrize(("name", "value"), OTHER_TYPES)
def test_refuses_values_of_another_type(name, value):
    with pytest.raises(ConfigurationError, match=rf"^{name} must be .*, got ") as error:
        TrainConfig(**{name: value})
    assert "\n" not in str(error.value)


def test_integers_pass_as_numbers():
    assert isinstance(TrainConfig(alpha=1).alpha, float)
    assert TrainConfig(alpha=1) == TrainConfig(alpha=1.0)


def test_the_law_is_beta_mixed_with_no_mixing():
    assert Recipe(alpha=0.4).law == Beta(0.4)
    assert Recipe(alpha=1.0, mixing_probability=0.5).law.theta_mean == pytest.approx(0.875)


def test_a_law_by_design():
    designed = TrainConfig(theta_mean=0.9, gamma_squared=0.03)
    assert (designed.law.theta_mean, designed.law.gamma_squared) == pytest.approx((0.9, 0.03))
    assert designed.law_text == "θ̄ = 0.9, γ² = 0.03"
    assert TrainConfig(alpha=0.5).law_text == "α = 0.5"
    assert designed.directory.name == "digits-mlp-mixup-theta0.9-gamma0.03-seed0"


def test_runs_from_before_there_were_laws_by_design(tmp_path):
    config = TrainConfig(alpha=0.5, output=tmp_path)
    RunDirectory(tmp_path).prepare(config)
    stored = json.loads((tmp_path / "config.json").read_text())
    for name in DESIGN:
        del stored["config"][name]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert RunDirectory(tmp_path).begun(config)


def test_alpha_takes_the_place_of_a_law_by_design(tmp_path):
    designed = TrainConfig(theta_mean=0.9, gamma_squared=0.03)
    for options in (CheckpointOptions(checkpoint=tmp_path, alpha=a) for a in (None, 0.2)):
        law = dataclasses.replace(designed, **options.given()).law
        assert law == (designed.law if options.alpha is None else Beta(0.2))


def test_identity_ignores_where_files_lie_and_what_is_printed(tmp_path):
    config = TrainConfig(data="two-moons", seed=3)
    elsewhere = dataclasses.replace(
        config, data_root=tmp_path, output=tmp_path, progress=False, loggers=["csv"]
    )
    assert config.identity() == elsewhere.identity()
    assert config.identity() != dataclasses.replace(config, seed=4).identity()
    assert json.loads(json.dumps(config.identity())) == config.identity()


def test_default_directories_of_different_runs_differ():
    configs = [
        TrainConfig(method=method, seed=seed, alpha=alpha)
        for method in METHODS
        for seed in (0, 1)
        for alpha in (0.5, 1.0)
    ]
    assert len({config.directory for config in configs}) == len(configs)
    for method in METHODS:
        check_method(method)


def test_the_command_of_a_run_names_what_is_not_the_default():
    config = TrainConfig(alpha=0.5, milestones=[3, 4], epochs=9, loggers=["csv"])
    assert command_of(config.identity() | {"gone": 3}, Path("my runs/a")) == (
        "mixreg train --alpha 0.5 --epochs 9 --milestones 3,4 --output 'my runs/a'"
    )


@pytest.mark.parametrize(
    "name", ["cifar-lenet", "cifar-resnet34", "imagenet-resnet50", "two-moons"]
)
def test_recipes_are_settings(name):
    assert set(recipe(name)) <= {field.name for field in dataclasses.fields(Recipe)}
    Recipe(**recipe(name))


def test_an_unknown_recipe_is_named():
    with pytest.raises(ValueError, match="unknown recipe 'cifar'; "):
        recipe("cifar")


def _read(tmp_path, text):
    file = tmp_path / "settings.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_settings(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("3", 3), ("-3", -3), ("1e-3", 0.001), ("5.0e-4", 5e-4), (".5", 0.5)),
        *(("true", True), ("null", None), ("''", ""), ("[1, 2]", [1, 2]), ("[]", [])),
        *((text, text) for text in ("ab", "1:01", "1_0", "0x10", "010", "yes", "on", ".nan")),
        *((text, text) for text in ("2020-01-01", "1.2.3")),
    ],
)
def test_plain_values_are_what_they_look_like(tmp_path, text, value):
    read = _read(tmp_path, f"x: {text}\n")["x"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("augment:\n", "augment has no value"),
        ("milestones:\n  - 1\n  -\n", "milestones has no value"),
        ("alpha: 1\nalpha: 2\n", "alpha is there twice"),
        ("alpha: {a: 1}\n", "one value or a list"),
        ("a: &a [1]\nb: *a\n", r"the alias \*a is not understood"),
        ("- 1\n", "expected lines `name: value`"),
        ("3: 4\n", "expected lines `name: value`"),
        ("", "expected lines `name: value`"),
        ("? [a]\n: 3\n", "is no file of settings"),
        ("a: [1\n", "is no file of settings"),
        ("a: !!python/object:os.system 1\n", "is no file of settings"),
        ("a: !!int x\n", "is no file of settings"),
        ("a: " + "[" * 1500, "is no file of settings"),
        ("a: [" + "1, " * 1001 + "1]", "more than 1000 entries"),
        ("a: " + "9" * 5000, "is no file of settings"),
        (b"\xff\xfe\x00", "is no file of settings"),
        (b"a: \x00", "is no file of settings"),
        (b"a" * (2**20 + 1), "too large"),
    ],
)
def test_files_of_something_else_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        _read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [1, 2]"] + [f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 60)]
    with pytest.raises(ConfigurationError, match="alias"):
        _read(tmp_path, "\n".join(lines))


@given(st.text(alphabet="ab:[]{}-&*!,'\"0x1.e \n#|>?%@", max_size=60))
def test_any_text_is_settings_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "settings.yaml"
    file.write_text(text)
    try:
        result = read_settings(file)
    except ConfigurationError as error:
        result = {} if "\n" not in str(error) else None
    assert isinstance(result, dict)
