"""The predictor for shifted inputs: against a slow reference, its limits, export, refusals."""

import copy
import io

import numpy as np
import pytest
import torch
from scipy import fft
from torch import nn

from mixreg import (
    Beta,
    Constant,
    PowerMatchedModel,
    PowerMatching,
    RescaledModel,
    TrainingStatistics,
)
from mixreg.recipes import CutMix, PixelLaw, Recipe

LAW = Beta(1.0)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()


@pytest.fixture(scope="module")
def images():
    g = torch.Generator().manual_seed(0)
    return torch.randn(200, 2, 8, 8, generator=g) * (1 + torch.rand(200, 1, 1, 1, generator=g))


@pytest.fixture(scope="module")
def stats(images):
    labels = torch.arange(200) % 3
    return TrainingStatistics.from_tensors(images, labels, 3, second_moments="spectral")


@pytest.fixture
def model(stats):
    return PowerMatchedModel(network(), stats, LAW)


def matched_by_hand(x, stats, law):
    """One input and one ring of SciPy's cosines after the other."""
    mean, deviation = (part.numpy() for part in stats.second_moments.of_mixes(law))
    ring = np.floor(np.hypot(*np.meshgrid(np.arange(8.0), np.arange(8.0)))).clip(max=7)
    results = []
    for one in (x.double() - stats.x_mean).numpy():
        coordinates = fft.dctn(one, axes=(1, 2), norm="ortho")
        for band in range(8):
            level = np.log((coordinates[:, ring == band] ** 2).mean())
            low, high = mean[band] - deviation[band], mean[band] + deviation[band]
            gain = np.exp((np.clip(level, low, high) - level) / 2)
            coordinates[:, ring == band] *= min(gain, 2.0)
        results.append(stats.x_mean.numpy() + fft.idctn(coordinates, axes=(1, 2), norm="ortho"))
    return torch.from_numpy(np.stack(results))


@pytest.mark.parametrize("law", [LAW, Beta(0.2), Constant(1.0)], ids=str)
def test_matching_is_scipys(law, stats, images):
    x = images.double() * torch.logspace(-2, 1, 200, dtype=torch.float64)[:, None, None, None]
    matching = PowerMatching(stats, law).double()
    for name, part in PowerMatching(stats, law).named_buffers():
        assert part.dtype == torch.float32, name
    expected = matched_by_hand(x, stats, law)
    torch.testing.assert_close(matching(x), expected, rtol=0, atol=2e-5)


def test_the_model_is_equation_22_around_the_matching(model, stats, images):
    shrunk = stats.x_mean.float() + 0.75 * (images - stats.x_mean.float())
    outputs = network()(PowerMatching(stats, LAW)(shrunk))
    expected = (outputs - 0.25 * stats.y_mean.float()) / 0.75
    torch.testing.assert_close(model(images), expected)


def test_inputs_like_mixes_are_left_as_they_are(stats):
    """All bands at the mean of mixes: the prediction is that of `RescaledModel`."""
    matching = PowerMatching(stats, LAW)
    mean, _ = stats.second_moments.of_mixes(LAW)
    signs = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1)).sign().double()
    bands = stats.second_moments.bands(stats.x_mean.shape)
    roots = (mean / 2).exp().expand(4, -1)
    seen = (stats.x_mean + bands.scaled(signs, roots)).float()
    torch.testing.assert_close(matching(seen), seen, rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-2, 0.5, 3.0, 30.0])
def test_power_ends_in_the_range_or_is_doubled_in_size(factor, stats, images):
    mean, deviation = stats.second_moments.of_mixes(LAW)
    bands = stats.second_moments.bands(stats.x_mean.shape)

    def level(x):
        return bands.log_power(bands.coordinates(x.double() - stats.x_mean))

    x = stats.x_mean + factor * (images.double() - stats.x_mean)
    after = level(PowerMatching(stats, LAW).double()(x))
    inside = (after - mean).abs() <= deviation + 1e-4
    doubled = torch.isclose(after, level(x) + 2 * np.log(2), atol=1e-4)
    assert (inside | (doubled & (after < mean))).all()
    assert factor > 0.1 or doubled.all()


def test_components_of_features():
    g = torch.Generator().manual_seed(2)
    x = torch.randn(300, 20, generator=g) @ torch.randn(20, 24, generator=g)
    stats = TrainingStatistics.from_tensors(x, torch.zeros(300), second_moments="components")
    matching = PowerMatching(stats, LAW)
    noisy, faint = x + 9 * torch.randn(300, 24, generator=g), 0.1 * x
    assert (matching(noisy) - stats.x_mean).norm() < 0.8 * (noisy - stats.x_mean).norm()
    torch.testing.assert_close(
        matching(faint).double(),
        stats.x_mean + 2 * (faint - stats.x_mean),
        rtol=0,
        atol=0.3,
    )


def test_state_dict_round_trips(model, stats, images):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = TrainingStatistics.from_tensors(
        3 * images, torch.zeros(200, dtype=torch.long), 3, second_moments="spectral"
    )
    loaded = PowerMatchedModel(network(), other, Constant(1.0))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert loaded.law == LAW
    assert torch.equal(loaded(images), model(images))


def test_half_precision_empty_batches_and_vmap(model, stats, images):
    half = copy.deepcopy(model).to(torch.bfloat16)(images.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), model(images), rtol=0.1, atol=0.1)
    assert model(images[:0]).shape == (0, 3)
    rows = torch.vmap(lambda row: model(row.unsqueeze(0)).squeeze(0))(images)
    torch.testing.assert_close(rows, model(images), rtol=1e-4, atol=1e-5)
    assert model(images.requires_grad_()).sum().backward() is None
    images.requires_grad_(False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_export_with_a_free_batch_size(model, images):
    sizes = ({0: torch.export.Dim("n", min=2)},)
    exported = torch.export.export(model, (images[:5],), dynamic_shapes=sizes).module()
    torch.testing.assert_close(exported(images), model(images))


@pytest.mark.filterwarnings("ignore")
def test_onnx(model, images, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file = str(tmp_path / "model.onnx")
    sizes = ({0: torch.export.Dim("n", min=2)},)
    torch.onnx.export(model, (images[:5],), file, dynamic_shapes=sizes, dynamo=True, verbose=False)
    session = runtime.InferenceSession(file)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(outputs), model(images), rtol=1e-4, atol=1e-5)


def test_a_recipe_gives_both_laws(stats, images):
    recipe = Recipe(Beta(1.0), Beta(0.2), label_smoothing=0.1)
    model = PowerMatchedModel(network(), stats, recipe)
    plain = RescaledModel(nn.Sequential(PowerMatching(stats, Beta(1.0)), network()), stats, recipe)
    assert torch.equal(model(images), plain(images))


def test_refusals(model, stats, images):
    bare = TrainingStatistics.from_tensors(images, torch.zeros(200, dtype=torch.long), 3)
    with pytest.raises(ValueError, match=r'no second moments; .*second_moments="spectral"'):
        PowerMatchedModel(network(), bare, LAW)
    boxes = Recipe(PixelLaw(((0.5, LAW), (0.5, CutMix(8, 8)))), LAW)
    with pytest.raises(TypeError, match="mixes of whole inputs"):
        PowerMatchedModel(network(), stats, boxes)
    with pytest.raises(TypeError, match="mixes of whole inputs"):
        PowerMatching(stats, 0.75)
    with pytest.raises(ValueError, match="cannot fold equation 22"):
        model.fold()
    with pytest.raises(ValueError, match="the statistics describe inputs of shape"):
        model(images[:, :1])
