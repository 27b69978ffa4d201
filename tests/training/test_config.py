import dataclasses
import json

import pytest

from mixreg import Beta, ConfigurationError
from mixreg.training import METHODS, Recipe, TrainConfig
from mixreg.training.config import check_method


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, "alpha must be a positive finite number, got 0.0"),
        ({"alpha": float("nan")}, "alpha must be a positive finite number"),
        ({"alpha": float("inf")}, "alpha must be a positive finite number"),
        ({"mixing_probability": 1.5}, r"mixing_probability must be in \[0, 1\], got 1.5"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\)"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"label_noise": 1.5}, r"label_noise must be in \[0, 1\], got 1.5"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"decay": -1.0}, r"decay must be in \[0, 1\]"),
        ({"momentum": 0.0, "nesterov": True}, "momentum must be positive for nesterov, got 0.0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay must be at least 0"),
        ({"milestones": [10, 0]}, "milestones must be epochs of at least 1"),
        ({"devices": 0}, "devices must be at least 1"),
        ({"batch_size": 3, "devices": 2}, "batch_size must be a multiple of devices"),
        ({"data": "cifar"}, "unknown data set 'cifar'; did you mean 'cifar10'"),
        ({"model": "lenett"}, "unknown model 'lenett'; did you mean 'lenet'"),
        ({"method": "mixupp"}, "unknown method 'mixupp'; did you mean 'mixup'"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_refuses_values_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainConfig(**settings)


def test_the_law_is_beta_mixed_with_no_mixing():
    assert Recipe(alpha=0.4).law == Beta(0.4)
    assert Recipe(alpha=1.0, mixing_probability=0.5).law.theta_mean == pytest.approx(0.875)


def test_identity_ignores_where_files_lie_and_what_is_shown(tmp_path):
    config = TrainConfig(data="two-moons", seed=3)
    elsewhere = dataclasses.replace(
        config, data_root=tmp_path, output=tmp_path, progress=False, loggers=["csv"]
    )
    assert config.identity() == elsewhere.identity()
    assert config.identity() != dataclasses.replace(config, seed=4).identity()


def test_identity_survives_json():
    identity = TrainConfig(milestones=[1, 2]).identity()
    assert json.loads(json.dumps(identity)) == identity


def test_default_directories_of_different_runs_differ():
    configs = [
        TrainConfig(method=method, seed=seed, alpha=alpha)
        for method in METHODS
        for seed in (0, 1)
        for alpha in (0.5, 1.0)
    ]
    assert len({config.directory for config in configs}) == len(configs)


def test_every_method_is_known():
    for method in METHODS:
        check_method(method)
