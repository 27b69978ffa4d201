import pytest
import timm
import torch
from torch import nn

from mixreg.models import build, build_external


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/shufflenet_v2_x0_5"])
def test_outputs_have_the_asked_shape(name):
    model = build(name, input_shape=(3, 32, 32), num_outputs=7)
    assert model.training
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_timm_takes_other_channels_and_dropout():
    model = build("timm/test_resnet", input_shape=(1, 32, 32), num_outputs=3, dropout=0.4)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 3)
    assert model.drop_rate == 0.4


def test_the_trial_input_leaves_running_statistics_alone():
    model = build("timm/test_resnet", input_shape=(3, 32, 32), num_outputs=3)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(not m.running_mean.any() for m in norms)
    assert all(m.num_batches_tracked == 0 for m in norms)


def test_torchvision_refuses_dropout():
    with pytest.raises(ValueError, match=r"torchvision/resnet18 takes no dropout .* got 0\.1"):
        build("torchvision/resnet18", input_shape=(3, 32, 32), num_outputs=3, dropout=0.1)


def test_an_unknown_library_is_refused():
    with pytest.raises(ValueError, match="unknown library of models 'tim'; did you mean 'timm'"):
        build_external("tim", "resnet18", (3, 32, 32), 3)


@pytest.mark.parametrize(
    ("model", "found"), [(nn.Flatten(), r"\(1, 12\)"), (nn.GRU(2, 3), "<class 'tuple'>")]
)
def test_a_model_with_other_outputs_is_refused(monkeypatch, model, found):
    monkeypatch.setattr(timm, "create_model", lambda *_args, **_options: model)
    message = rf"timm/resnet18 gives {found} for one input, expected shape \(1, 3\)"
    with pytest.raises(ValueError, match=message):
        build("timm/resnet18", input_shape=(6, 2), num_outputs=3)
