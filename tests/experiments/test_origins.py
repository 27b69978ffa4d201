"""Trainings of other programs, evaluated on a user's own data with nothing else said."""

import json
import shutil
import sys
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import transformers
import yaml
from PIL import Image

from mixreg import CheckpointError, ConfigurationError
from mixreg.experiments._foreign import find_origin
from mixreg.experiments.diagnose import diagnose_checkpoint
from mixreg.experiments.evaluate import evaluate_checkpoint, load_checkpoint
from mixreg.models import huggingface
from mixreg.recipes import from_timm
from mixreg.settings import DiagnoseOptions, EvaluateOptions
from mixreg.training import TrainConfig, train

pytestmark = pytest.mark.usefixtures("no_pictures")

MODEL = "test_resnet"
ARGS = {
    "model": MODEL,
    "num_classes": None,
    "img_size": 32,
    "in_chans": None,
    "gp": None,
    "val_split": "validation",
    "train_split": "train",
    "class_map": "",
    "data_dir": "x",
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "crop_pct": 0.8,
    "crop_mode": None,
    "interpolation": "bicubic",
    "input_size": None,
    "model_kwargs": {},
    "epochs": 10,
    "mixup": 0.8,
    "cutmix": 0.0,
    "cutmix_minmax": None,
    "mixup_prob": 1.0,
    "smoothing": 0.1,
    "mixup_switch_prob": 0.5,
    "mixup_mode": "batch",
    "mixup_off_epoch": 0,
}
CLASSES = ("1", "2", "10")  # timm numbers them so, torchvision otherwise


def images(root, split, classes=CLASSES, n=4):
    rng = np.random.default_rng(len(split))
    for k, name in enumerate(classes):
        (root / split / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = rng.integers(0, 60, (40, 50, 3), dtype=np.uint8)
            pixels[..., k] += 150
            Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    images(root, "train")
    return images(root, "validation")


def net(seed):
    torch.manual_seed(seed)
    return timm.create_model(MODEL, num_classes=3).eval()


def timm_output(path, name="model_best.pth.tar", **args):
    """What timm's script leaves: args.yaml, and checkpoints with the arguments in them."""
    path.mkdir(exist_ok=True)
    (path / "args.yaml").write_text(yaml.safe_dump(ARGS | args, default_flow_style=False))
    state = {
        "epoch": 3,
        "arch": MODEL,
        "optimizer": {"state": {}, "param_groups": []},
        "version": 2,
        "args": Namespace(**ARGS | {"num_classes": 3} | args),
        "metric": 55.0,
        "state_dict": net(0).state_dict(),
        "state_dict_ema": net(1).state_dict(),
    }
    torch.save(state, path / name)
    return path


def options(path, data, **more):
    return EvaluateOptions(checkpoint=path, data=str(data), **more)


def test_the_output_of_timm_says_all_but_the_data(tmp_path, folder):
    output = timm_output(tmp_path / "run")
    torch.save({"state_dict": net(5).state_dict()}, output / "last.pth.tar")
    trained = load_checkpoint(options(output, folder))
    config = timm.data.resolve_data_config(ARGS, model=net(0))
    transform = timm.data.create_transform(**config, is_training=False)
    files = [folder / "validation" / name / f"{i}.png" for name in CLASSES for i in range(4)]
    expected = torch.stack([transform(Image.open(file)) for file in files])
    x, y = next(iter(trained.data.batches("test", 20)))
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-5)
    assert y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert trained.data.class_names == CLASSES
    with torch.no_grad():
        torch.testing.assert_close(trained.net(x), net(1)(expected), rtol=0, atol=1e-5)
    assert trained.recipe == from_timm(ARGS)
    text, page = evaluate_checkpoint(options(output, folder))
    words = " ".join(text.split())
    for said in (
        "shorter side resized to 40 (bicubic), the middle 32×32 cut out",
        "those of state_dict_ema were taken",
        f"1 − θ̄ = {trained.recipe.label_law.shrinkage:.4g}, and they were smoothed by 0.1",
        "The validation part",
    ):
        assert said in words
    assert page.parent == output / "evaluation"


def test_labels_smoothed_besides_are_unshrunk_by_both(tmp_path, folder):
    trained = load_checkpoint(options(timm_output(tmp_path / "run"), folder))
    kept, ȳ = trained.law.theta_mean * 0.9, torch.tensor([0.5, 0.3, 0.2]).double()
    trained.stats.y_mean.copy_(ȳ)
    moved = (1 - trained.law.theta_mean) * 0.9 * ȳ + 0.1 / 3
    assert trained.output_law.theta_mean == pytest.approx(kept)
    shift = (1 - trained.output_law.theta_mean) * trained.class_means
    torch.testing.assert_close(shift, moved)
    assert float(trained.class_means.sum()) == pytest.approx(1)


def test_a_checkpoint_of_timm_says_the_same_as_its_folder(tmp_path, folder):
    output = timm_output(tmp_path / "run")
    alone = load_checkpoint(options(output / "model_best.pth.tar", folder))
    whole = load_checkpoint(options(output, folder, weights="state_dict"))
    assert alone.config.identity() == whole.config.identity()
    assert alone.recipe == whole.recipe
    key = "fc.weight"
    assert alone.net.state_dict()[key].equal(net(1).state_dict()[key])
    assert whole.net.state_dict()[key].equal(net(0).state_dict()[key])


def test_boxes_and_an_early_end_are_told(tmp_path, folder):
    output = timm_output(tmp_path / "run", "last.pth.tar", cutmix=1.0, mixup_off_epoch=8)
    trained = load_checkpoint(options(output, folder))
    assert trained.recipe.input_law.shrinkage.shape == (32, 32)
    text = " ".join(evaluate_checkpoint(options(output, folder))[0].split())
    assert "CutMix replaces pixels" in text
    assert "switched off after epoch 8: in the last 2 of 10 epochs" in text


def test_what_is_said_goes_before_the_settings(tmp_path, folder):
    output = timm_output(tmp_path / "run")
    trained = load_checkpoint(options(output, folder, alpha=1.0, mean=[0.1], std=[0.9]))
    assert trained.recipe.label_law.theta_mean == 0.75
    assert trained.data.normalisation.mean == (0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_classes": 10}, r"args\.yaml says 10 classes, and .* has 3"),
        ({"class_map": "map.txt"}, "numbers the classes by the file map.txt"),
        ({"in_chans": 1, "mean": [0.5], "std": [0.5]}, "images of 1 channels"),
        ({"model": "resnet_of_mine"}, "timm makes no resnet_of_mine"),
        ({"mixup_mode": "row"}, "modes batch, pair"),
        ({"model": "hf-hub:someone/else"}, "names no network of timm's own, but 'hf-hub:"),
        ({"model": 3}, "names no network of timm's own, but 3"),
        ({"model_kwargs": {"checkpoint_path": "w.pth"}}, "that fetch weights from elsewhere"),
        ({"input_size": [3, 32]}, "gives no size and normalisation of images"),
        ({"mixup": "0.8"}, "says of no mixing what timm knows"),
        ({"mixup_prob": 2.0}, r"what timm knows: the probability of mixing must lie in \[0, 1\]"),
    ],
)
def test_what_is_beyond_a_training_with_timm(tmp_path, folder, args, message):
    with pytest.raises((CheckpointError, ConfigurationError), match=message) as error:
        load_checkpoint(options(timm_output(tmp_path / "run", **args), folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: detect\nmode: train\nmixup: 0.0\n", "none of timm's .* it has task, mode, mixup"),
        ("- 1\n", r"none of timm's .* it has \[1\]"),
        ("a: [", "is damaged or no YAML"),
    ],
)
def test_the_args_of_another_tool(tmp_path, folder, text, message):
    output = timm_output(tmp_path / "run")
    (output / "args.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as error:
        load_checkpoint(options(output, folder))
    assert "\n" not in str(error.value)


def test_a_folder_without_checkpoints_and_args_of_another_script(tmp_path, folder):
    output = timm_output(tmp_path / "run")
    (output / "model_best.pth.tar").unlink()
    with pytest.raises(CheckpointError, match=r"neither model_best\.pth\.tar nor last"):
        load_checkpoint(options(output, folder))
    torch.save({"model": net(0).state_dict(), "args": Namespace(lr=0.1)}, output / "w.pth")
    assert find_origin(output / "w.pth").recipe is None
    with pytest.raises(ConfigurationError, match=r"is a file of weights; say .* --model, --alpha"):
        load_checkpoint(options(output / "w.pth", folder))


# --- Hugging Face ---


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A tiny Vision Transformer as `save_pretrained` leaves it, with its processor."""
    path = tmp_path_factory.mktemp("hf")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ViTConfig(
        **sizes, intermediate_size=8, image_size=32, id2label=dict(enumerate(("1", "10", "2")))
    )
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(path)
    transformers.ViTImageProcessorPil(
        size={"height": 32, "width": 32}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4]
    ).save_pretrained(path)
    return path


def test_a_folder_of_hugging_face_says_all_but_the_law(classifier, folder, tmp_path):
    with pytest.raises(ConfigurationError, match=r"is a folder of a network; say .* --alpha$"):
        load_checkpoint(options(classifier, folder))
    trained = load_checkpoint(options(classifier, folder, alpha=0.2))
    assert trained.data.class_names == ("1", "10", "2")
    files = [folder / "validation" / "1" / f"{i}.png" for i in range(4)]
    processor = transformers.AutoImageProcessor.from_pretrained(classifier, use_fast=False)
    expected = processor([Image.open(f) for f in files], return_tensors="pt")["pixel_values"]
    x, _ = next(iter(trained.data.batches("test", 4)))
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-5)
    plain = transformers.AutoModelForImageClassification.from_pretrained(classifier)
    with torch.no_grad():
        torch.testing.assert_close(trained.net(x), plain(expected).logits, rtol=0, atol=1e-5)
    text, _ = evaluate_checkpoint(options(classifier, folder, alpha=0.2, output=tmp_path))
    assert "The classes 1, 10, 2 of " in " ".join(text.split())


@pytest.mark.parametrize(
    ("names", "message"),
    [(("2", "10", "1"), "numbers the classes 2, 10, 1, and"), (("a", "b"), "has 2 classes, and")],
)
def test_classes_that_are_not_those_of_the_data(classifier, folder, tmp_path, names, message):
    net = transformers.AutoModelForImageClassification.from_pretrained(
        classifier,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        ignore_mismatched_sizes=True,
    )
    net.save_pretrained(tmp_path)
    shutil.copy(classifier / "preprocessor_config.json", tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(options(tmp_path, folder, alpha=0.2))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": 32}, ((32, 32), (32, 32))),
        (
            {"size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": 32},
            ((32, 32), (36,)),
        ),
        ({"size": {"shortest_edge": 28}, "crop_pct": 0.875}, ((28, 28), (32,))),
        ({"size": {"shortest_edge": 384}, "crop_pct": 1.0}, ((384, 384), (384, 384))),
        ({"size": {"shortest_edge": 36}}, "no fixed size"),
        ({"size": 32, "rescale_factor": 1.0}, "scales pixels by 1.0"),
        ({"size": "ten"}, r"config.json is damaged: Expected `int . object . null`, got `str`"),
        (
            {"size": 32, "rescale_factor": [1]},
            r"Expected `float . null`, .*\$.rescale_factor`",
        ),
        ({"size": 32, "resample": 9}, r"is damaged: Expected `int` .*`\$.resample`"),
        ({"size": 32, "image_mean": None}, "lacks image_mean or image_std"),
    ],
)
def test_how_processors_resize(tmp_path, settings, expected):
    normal = {"image_mean": [0.5], "image_std": [0.5], "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(normal | settings))
    if isinstance(expected, str):
        with pytest.raises(ConfigurationError, match=expected):
            huggingface.preprocessing(tmp_path)
    else:
        found = huggingface.preprocessing(tmp_path)
        assert (found.image_size, found.resize) == expected
        assert found.interpolation == "bicubic"


def test_weights_that_would_be_random_are_refused(classifier, folder, tmp_path):
    net = transformers.AutoModelForImageClassification.from_pretrained(classifier)
    net.vit.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"lacks 2 weights .* random: classifier\.bias"):
        load_checkpoint(options(tmp_path, folder, alpha=0.2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_labels": "ten", "id2label": None},
        {"id2label": 3},
        {"hidden_size": "8"},
        {"hidden_size": None},
        {"num_attention_heads": [2]},
        {"patch_size": "16"},
        {"model_type": ["vit"]},
    ],
    ids=str,
)
def test_a_setting_of_another_type_is_refused_in_one_line(classifier, folder, tmp_path, wrong):
    shutil.copytree(classifier, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | wrong))
    with pytest.raises(CheckpointError, match="holds no image classifier") as error:
        load_checkpoint(options(tmp_path, folder, alpha=0.2))
    assert "\n" not in str(error.value)
    if "hidden_size" in wrong:
        with pytest.raises(CheckpointError, match="holds no image classifier"):
            huggingface.build(tmp_path, 3)


def test_without_transformers_the_extra_is_named(classifier, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'mixreg\[huggingface\]'"):
        load_checkpoint(options(classifier, folder, alpha=0.2))


def test_a_folder_without_weights(classifier, folder, tmp_path):
    shutil.copy(classifier / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        load_checkpoint(options(tmp_path, folder, alpha=0.2))


# --- a user's own network and data ---

HERE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def net():
    return nn.Linear(2, 3)

def loaders():
    g = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    data = TensorDataset(torch.randn(60, 2, generator=g) + y[:, None], y)
    return DataLoader(data, batch_size=16), DataLoader(data, batch_size=16)
"""


def test_own_network_on_own_data(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text(HERE)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    torch.save({"net": torch.nn.Linear(2, 3).state_dict(), "acc": 0.3}, tmp_path / "w.pt")
    bare = {"model": "mine_here:net", "alpha": 1.0}
    text, page = evaluate_checkpoint(options(tmp_path / "w.pt", "mine_here:loaders", **bare))
    assert "60 test examples, 3 classes" in text
    assert page.is_file()
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    table.assign(kind=["u", "v", "w"] * 20).to_csv(tmp_path / "t.csv", index=False)
    diagnosis, _ = diagnose_checkpoint(
        DiagnoseOptions(
            checkpoint=tmp_path / "w.pt", data="t.csv", label="kind", samples=20, draws=100, **bare
        )
    )
    assert "is not split: a quarter of each class" in " ".join(diagnosis.split())
    with pytest.raises(ConfigurationError, match="they are for evaluate and diagnose"):
        train(TrainConfig(data="mine_here:loaders"))
    settings = {"epochs": 1, "standardise": True, "label": "kind", "progress": False}
    run = train(TrainConfig(data="t.csv", **settings, output=tmp_path / "run"))
    assert run.read_config().label == "kind"
    assert load_checkpoint(EvaluateOptions(checkpoint=run.path)).data.size("test") == 15
    sys.modules.pop("mine_here")
