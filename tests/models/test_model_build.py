import sys

import pytest
import timm
import torch
import transformers
from torch import nn

from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.models import MODELS, build

SHAPES = {
    "mlp": (1, 8, 8),
    "lenet": (3, 32, 32),
    "random-fourier-features": (2,),
    "resnet20": (3, 32, 32),
    "resnet34": (3, 8, 8),
    "resnet50": (3, 32, 32),
    "timm/test_resnet": (3, 32, 32),
    "torchvision/shufflenet_v2_x0_5": (3, 32, 32),
}


def test_names():
    own = [name for name in SHAPES if "/" not in name]
    assert list(MODELS) == own


@pytest.mark.parametrize("name", SHAPES)
def test_outputs_have_the_asked_shape(name):
    model = build(name, input_shape=SHAPES[name], num_outputs=7)
    assert model.training
    assert model(torch.randn(2, *SHAPES[name])).shape == (2, 7)


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("resnet34", "resnet50")])
def test_weights_depend_on_the_seed_only(name):
    shape = SHAPES[name]
    torch.manual_seed(5)
    first = build(name, input_shape=shape, num_outputs=3, seed=1).state_dict()
    torch.manual_seed(6)
    state = torch.get_rng_state()
    again = build(name, input_shape=shape, num_outputs=3, seed=1).state_dict()
    assert state.equal(torch.get_rng_state())
    other = build(name, input_shape=shape, num_outputs=3, seed=2).state_dict()
    assert all(first[key].equal(again[key]) for key in first)
    drawn = [key for key in first if first[key].ndim > 1 and first[key].any()]
    assert drawn
    assert not any(first[key].equal(other[key]) for key in drawn)


@pytest.mark.parametrize("name", ["mlp", "lenet", "random-fourier-features", "resnet20"])
def test_dropout_acts_in_training_only(name):
    model = build(name, input_shape=SHAPES[name], num_outputs=3, dropout=0.5)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.ones_(parameter)
    x = torch.randn(4, *SHAPES[name])
    assert not model(x).equal(model(x))
    plain = build(name, input_shape=SHAPES[name], num_outputs=3)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mlp", "lenet", "resnet20"])
def test_channels_last_inputs_give_the_same_outputs(name):
    model = build(name, input_shape=SHAPES[name], num_outputs=3).eval().double()
    x = torch.randn(2, *SHAPES[name], dtype=torch.float64)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(last), model(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet2", "unknown model 'resnet2'; did you mean 'resnet20'"),
        ("LeNet", "did you mean 'lenet'? Known: mlp, .*timm/NAME"),
        ("keras/resnet50", "unknown model 'keras/resnet50'"),
        ("timm/resnet19", "unknown timm model 'resnet19'; did you mean 'resnet18'"),
        ("timm/hf-hub:someone/something", "unknown timm model 'hf-hub:someone/something'"),
        ("torchvision/resnet19", "unknown torchvision model 'resnet19'; did you mean 'resnet1"),
        ("torchvision/googlenet", "unknown torchvision model 'googlenet'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as error:
        build(name, input_shape=(3, 32, 32), num_outputs=2)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("name", "module", "what", "extra"),
    [
        ("timm/resnet18", "timm", "model timm/resnet18", "timm"),
        ("torchvision/resnet18", "torchvision.models", "model torchvision/resnet18", "cli"),
        ("resnet20", "torchvision.models.resnet", "a ResNet", "cli"),
    ],
)
def test_a_missing_library_names_the_extra(name, module, what, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"{what} needs.*'mixreg\[{extra}\]'"):
        build(name, input_shape=(3, 32, 32), num_outputs=2)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_outputs": 0}, "num_outputs must be at least 1, got 0"),
        ({"dropout": 1.0}, "0 <= dropout < 1, got 1.0"),
        ({"dropout": -0.5}, "0 <= dropout < 1"),
        ({"input_shape": ()}, "input_shape must be sizes of at least 1"),
        ({"input_shape": (3, 0, 32)}, "input_shape must be sizes of at least 1"),
        ({"seed": -1}, "at least 0, got -1"),
    ],
)
def test_bad_sizes(name, options, message):
    arguments = {"input_shape": SHAPES[name], "num_outputs": 2, **options}
    with pytest.raises(ValueError, match=message):
        build(name, **arguments)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet", (2,), r"lenet needs images.*got \(2,\)"),
        ("lenet", (3, 24, 24), "at least 28"),
        ("lenet", (3, 30, 30), "32×32 or 28×28, got 30×30"),
        ("lenet", (3, 32, 28), "got 32×28"),
        ("resnet20", (3, 4, 32), "resnet20 needs images.*at least 8"),
        ("resnet34", (32, 32), "resnet34 needs images"),
        ("resnet50", (3, 16, 16), "resnet50 needs images.*at least 32"),
        ("timm/vit_tiny_patch16_224", (3, 32, 32), r"takes no inputs of shape \(3, 32, 32\)"),
        ("torchvision/resnet18", (1, 32, 32), r"takes no inputs of shape \(1, 32, 32\)"),
        ("timm/resnet18", (7,), r"takes no inputs of shape \(7,\)"),
    ],
)
def test_input_shapes_that_do_not_fit(name, shape, message):
    with pytest.raises(ValueError, match=message):
        build(name, input_shape=shape, num_outputs=2)


def test_timm_takes_other_channels_and_dropout_and_torchvision_does_not():
    model = build("timm/test_resnet", input_shape=(1, 32, 32), num_outputs=3, dropout=0.4)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 3)
    assert model.drop_rate == 0.4
    with pytest.raises(ValueError, match=r"torchvision/resnet18 takes no dropout .* got 0\.1"):
        build("torchvision/resnet18", input_shape=(3, 32, 32), num_outputs=3, dropout=0.1)


def test_the_trial_input_leaves_running_statistics_alone():
    model = build("timm/test_resnet", input_shape=(3, 32, 32), num_outputs=3)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(not m.running_mean.any() for m in norms)
    assert all(m.num_batches_tracked == 0 for m in norms)


@pytest.mark.parametrize(
    ("model", "found"), [(nn.Flatten(), r"\(1, 12\)"), (nn.GRU(2, 3), "<class 'tuple'>")]
)
def test_a_model_with_other_outputs_is_refused(monkeypatch, model, found):
    monkeypatch.setattr(timm, "create_model", lambda *_args, **_options: model)
    message = rf"timm/resnet18 gives {found} for one input, expected shape \(1, 3\)"
    with pytest.raises(ValueError, match=message):
        build("timm/resnet18", input_shape=(6, 2), num_outputs=3)


OWN = """
from torch import nn
def plain(): return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
def sized(num_outputs, input_shape): return nn.Sequential(nn.Flatten(), nn.Linear(12, num_outputs))
def number(): return 3
def needy(width): return nn.Flatten()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "nets_here.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("nets_here", None)


@pytest.mark.usefixtures("own")
def test_a_function_of_a_user():
    for name in ("plain", "sized"):
        first, second = (
            build(f"nets_here:{name}", input_shape=(3, 2, 2), num_outputs=3, seed=4) for _ in "ab"
        )
        x = torch.randn(2, 3, 2, 2)
        assert first(x).shape == (2, 3)
        assert first(x).equal(second(x))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "nets_here:number returned int, expected a torch.nn.Module"),
        ("needy", "calling nets_here:needy failed: TypeError: .* 'width'"),
        ("plain", r"nets_here:plain gives \(1, 3\) for one input, expected shape \(1, 4\)"),
        ("none", "calling nets_here:none failed: AttributeError"),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_function_that_returns_something_else(name, message):
    with pytest.raises((ConfigurationError, ValueError), match=message) as error:
        build(f"nets_here:{name}", input_shape=(3, 2, 2), num_outputs=4)
    assert "\n" not in str(error.value)


def test_a_configuration_of_hugging_face(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.ViTConfig(**sizes, intermediate_size=8, image_size=32).save_pretrained(tmp_path)
    model = build(f"hf:{tmp_path}", input_shape=(3, 32, 32), num_outputs=5, seed=1)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    with pytest.raises(CheckpointError, match="holds no image classifier of Hugging Face"):
        build(f"hf:{tmp_path / 'none'}", input_shape=(3, 32, 32), num_outputs=5)
    with pytest.raises(ValueError, match="takes no inputs of shape"):
        build(f"hf:{tmp_path}", input_shape=(3, 16, 16), num_outputs=5)
