"""Hooks and post-processing against `RescaledModel`, in the frameworks that they are for."""

import copy

import lightning
import pytest
import torch
from torch import nn

from mixreg import (
    Beta,
    ConfigurationError,
    PostProcessing,
    RescaledModel,
    TrainingStatistics,
    rescale_,
)
from mixreg.recipes import Recipe

C, SHAPE, LAW = 4, (3, 16, 16), Recipe(Beta(1.0), Beta(0.5), 0.1)


@pytest.fixture
def images():
    g = torch.Generator().manual_seed(0)
    return torch.randn(12, *SHAPE, generator=g), torch.arange(12) % C


@pytest.fixture
def stats(images):
    return TrainingStatistics.from_tensors(*images, C)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, C)).eval()


def vit():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=C,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config).eval()


@pytest.mark.parametrize("options", [{}, {"inputs": "keep"}, {"outputs": "keep"}], ids=str)
def test_hooks_predict_what_the_rescaled_model_does(options, images, stats):
    net, x = network(), images[0]
    keys, raw = list(net.state_dict()), net(x)
    expected = RescaledModel(copy.deepcopy(net), stats, LAW, **options)(x)
    hooks = rescale_(net, stats, LAW, **options)
    for one in (net, copy.deepcopy(net)):
        torch.testing.assert_close(one(x), expected)
        torch.testing.assert_close(one.train()(x), raw)
    assert list(net.eval().state_dict()) == keys
    hooks.remove()
    torch.testing.assert_close(net(x), raw)


def test_a_transformer_of_hugging_face(images, stats, tmp_path):
    net, x = vit(), images[0]
    expected = RescaledModel(copy.deepcopy(net), stats, LAW)
    torch.testing.assert_close(expected.fold()(x).logits, expected(x))
    rescale_(net, stats, LAW)
    output = net(pixel_values=x)
    assert type(output).__name__ == "ImageClassifierOutput"
    assert output["logits"] is output.logits
    torch.testing.assert_close(output.logits, expected(x))
    net.save_pretrained(tmp_path)
    again = type(net).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(x).logits, expected.net(x).logits)
    with pytest.raises(ValueError, match="takes the loss of its own logits"):
        net(pixel_values=x, labels=images[1])
    with pytest.raises(TypeError, match=r"found none of pixel_values.* arguments input_ids"):
        net(input_ids=images[1])


def test_a_network_is_rescaled_once(stats):
    net = network()
    hooks = rescale_(net, stats, LAW)
    for again in (rescale_, RescaledModel):
        for inner in (net, nn.Sequential(net)):
            with pytest.raises(ValueError, match=r"is rescaled already.* first, by remove\(\)"):
                again(inner, stats, LAW)
    hooks.remove()
    rescale_(net, stats, LAW)


def test_two_views_take_two_passes(stats):
    with pytest.raises(ValueError, match="hooks take one pass"):
        rescale_(network(), stats, LAW, inputs="both")


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()


def test_a_lightning_module_keeps_its_keys(stats):
    """With the wrapper as an attribute they double; in a tuple, or by hooks, they do not."""
    plain, wrapped, apart, hooked = (Classifier() for _ in range(4))
    wrapped.rescaled = RescaledModel(wrapped.net, stats, LAW)
    apart.rescaled = (RescaledModel(apart.net, stats, LAW),)
    rescale_(hooked.net, stats, LAW)
    keys = set(plain.state_dict())
    assert set(apart.state_dict()) == set(hooked.state_dict()) == keys
    assert {f"rescaled.{key}" for key in keys} < set(wrapped.state_dict())


@pytest.mark.parametrize("given", [True, False])
def test_post_processing(given, images, stats):
    net, (x, y) = network(), images
    post = PostProcessing(LAW, stats if given else None, num_classes=C, inputs="keep")
    assert post.trained == given
    with pytest.raises(ConfigurationError, match=r"needs set_model\(net\) first"):
        post(x)
    post.set_model(net)
    if not given:
        with pytest.raises(ConfigurationError, match=r"needs fit\(loader\) first"):
            post(x)
    post.fit([(x[:5], y[:5]), (x[5:], y[5:])], progress=False)
    expected = RescaledModel(net, stats, LAW, inputs="keep")(x)
    torch.testing.assert_close(post(x), expected)
    assert post.model is net
    assert not post.state_dict()
    post.fit([(x + 1, y)], progress=False)
    torch.testing.assert_close(post.stats.x_mean, stats.x_mean + (not given))


def test_post_processing_in_a_routine_of_torch_uncertainty(images, stats):
    routines = pytest.importorskip("torch_uncertainty.routines")
    net, (x, y) = network(), images
    post = PostProcessing(LAW, num_classes=C)
    routine = routines.ClassificationRoutine(net, C, nn.CrossEntropyLoss(), post_processing=post)
    post.fit([(x, y)], progress=False)
    assert not any(key.startswith("post_processing") for key in routine.state_dict())
    torch.testing.assert_close(routine.post_processing(x), RescaledModel(net, stats, LAW)(x))
