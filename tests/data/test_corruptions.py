"""Corruptions: as strong as published, and the same for a seed."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_images

from mixreg.data.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    corrupted,
    kinds,
    weather,
)
from mixreg.data.corruptions.corrupted import PARAMETERS

DRAWN = {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur"} | {
    "motion_blur", "snow", "frost", "fog", "spatter", "elastic_transform"
}  # fmt: skip

# Where the published strengths do less damage than at the severity before.
WEAKER = {
    "glass_blur": {2, 3, 5},
    "motion_blur": {4},
    "frost": {4, 5},
    "spatter": {4},
    "saturate": {3},
    "elastic_transform": {2, 3, 4, 5},
}


def photographs(side: int, n: int, stride: int) -> np.ndarray:
    """Crops of scikit-learn's two photographs, every `stride`-th pixel of them."""
    scenes = [scene[::stride, ::stride] for scene in load_sample_images().images]
    draw = np.random.default_rng(0)
    corners = [
        (k % 2, *draw.integers(0, np.array(scenes[0].shape[:2]) - side + 1)) for k in range(n)
    ]
    return np.stack([scenes[s][y : y + side, x : x + side] for s, y, x in corners])


@pytest.fixture(scope="module")
def images():
    return photographs(32, 270, 4)  # more than one block


def flat(value: int, n: int = 100, side: int = 32) -> np.ndarray:
    return np.full((n, side, side, 3), value, np.uint8)


def fraction(images: np.ndarray) -> np.ndarray:
    """8-bit values, on average half a step lower than before they were cut off."""
    return (images + 0.5) / 255


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_damage_grows_with_severity_but_where_the_published_strengths_do_not(kind, images):
    images = images[:80].copy()
    clean = images.copy()
    sets = [corrupted(images, kind, severity, seed=0) for severity in SEVERITIES]
    assert all(s.shape == images.shape and s.dtype == np.uint8 for s in sets)
    np.testing.assert_array_equal(images, clean)
    damage = [np.mean((s - images.astype(float)) ** 2) for s in sets]
    weaker = {s for s in SEVERITIES[1:] if damage[s - 1] <= damage[s - 2]}
    assert min(damage) > 0
    assert weaker <= WEAKER.get(kind, set())


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_seed_decides(kind, images):
    first, again, other = (corrupted(images, kind, 3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() == (kind in DRAWN)
    block = 2**18 // 32**2
    np.testing.assert_array_equal(first[:block], corrupted(images[:block], kind, 3, seed=1))


@pytest.mark.parametrize("kind", [kind for kind in CORRUPTIONS if kind != "saturate"])
def test_grey_images_of_fashion_mnist_are_corrupted(kind):
    grey = photographs(28, 20, 4)[..., 1:2]
    result = corrupted(grey, kind, 5, seed=0)
    assert result.shape == grey.shape
    assert (result != grey).any()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_images_of_imagenet_are_corrupted_more(kind):
    image = photographs(224, 1, 1)
    damage = [
        np.mean(
            (corrupted(image, kind, s, seed=0, parameters="imagenet") - image.astype(float)) ** 2
        )
        for s in (1, 5)
    ]
    assert damage[0] > 0
    assert damage[0] < damage[1] or kind == "elastic_transform"


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_published_variance(severity):
    grey, s, seed = flat(100), severity - 1, 3
    level, step = 100 / 255, 1 / (12 * 255**2)  # variance of what is cut off
    expected = {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10)[s] ** 2,
        "shot_noise": level / (500, 250, 100, 75, 50)[s],
        "speckle_noise": (level * (0.06, 0.1, 0.12, 0.16, 0.2)[s]) ** 2,
    }
    for kind, variance in expected.items():
        noisy = fraction(corrupted(grey, kind, severity, seed=seed))
        assert noisy.mean() == pytest.approx(level, abs=2e-3)
        assert noisy.var() - step == pytest.approx(variance, rel=0.05), kind
    amount = (0.01, 0.02, 0.03, 0.05, 0.07)[s]
    noisy = corrupted(grey, "impulse_noise", severity, seed=seed)
    assert [(noisy == v).mean() for v in (0, 255)] == pytest.approx([amount / 2] * 2, rel=0.08)
    assert set(np.unique(noisy)) == {0, 100, 255}


def point() -> np.ndarray:
    spot = np.zeros((1, 32, 32, 1))
    spot[0, 16, 16] = 1
    return spot


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.4), (2, 0.6), (3, 0.7), (4, 0.8), (5, 1.0)])
def test_gaussian_blur_has_the_published_width(severity, sigma):
    reach = int(4 * sigma + 0.5)
    line = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    expected = np.outer(line, line) / line.sum() ** 2
    assert PARAMETERS["cifar"]["gaussian_blur"][severity - 1] == [sigma]
    window = slice(16 - reach, 17 + reach)
    result = kinds.gaussian_blur(point(), None, sigma)[0, :, :, 0]
    np.testing.assert_allclose(result[window, window], expected, atol=1e-12)
    assert result.sum() == pytest.approx(1)


@pytest.mark.parametrize("strengths", PARAMETERS["cifar"]["defocus_blur"])
def test_defocus_blur_is_a_soft_disk(strengths):
    radius, softness = strengths
    y, x = np.mgrid[-4:5, -4:5]
    sharp = (x**2 + y**2 <= radius**2) / (x**2 + y**2 <= radius**2).sum()
    line = np.exp(-(np.arange(-1, 2.0) ** 2) / (2 * softness**2))
    soft = ndimage.convolve(sharp, np.outer(line, line) / line.sum() ** 2)
    weights = kinds.disk(radius, softness)
    np.testing.assert_allclose(np.pad(weights, 4 - len(weights) // 2), soft, atol=1e-12)
    spot = kinds.defocus_blur(point(), None, radius, softness)[0, 12:21, 12:21, 0]
    np.testing.assert_allclose(spot, soft, atol=1e-12)


def test_motion_blur_is_a_half_normal_streak():
    weights = np.exp(-(np.arange(13.0) ** 2) / (2 * 2.0**2))
    weights = np.floor(255 * weights / weights.sum() + 0.002) / 255
    level, down = (kinds.streak(point(), np.array([a]), 6, 2)[0, :, :, 0] for a in (0.0, -90.0))
    np.testing.assert_allclose(level[16, 16:3:-1], weights)
    np.testing.assert_allclose(down[16:29, 16], weights)
    assert level.sum() == pytest.approx(weights.sum())
    assert kinds.streak(np.ones((1, 32, 32, 1)), np.array([30.0]), 9, 2.5).min() == 1


@pytest.mark.parametrize("factor", [1.0, 1.06, 1.25, 2.25])
def test_zoom_is_scipys(factor):
    image = np.random.default_rng(0).random((32, 32))
    crop = int(np.ceil(32 / factor))
    top = (32 - crop) // 2
    grown = ndimage.zoom(image[top : top + crop, top : top + crop], factor, order=1)
    trim = (len(grown) - 32) // 2
    matrix = kinds.zoom_matrix(32, factor)
    expected = grown[trim : trim + 32, trim : trim + 32]
    np.testing.assert_allclose(matrix @ image @ matrix.T, expected, atol=1e-12)


@pytest.mark.parametrize("mirror_pixels", [True, False])
def test_elastic_transform_samples_as_scipy_does(mirror_pixels):
    draw = np.random.default_rng(0)
    images, places = draw.random((1, 1, 32, 32)), draw.uniform(-9, 40, (1, 32, 32, 2))
    result = kinds._sampled(kinds.torch.from_numpy(images), places, mirror_pixels=mirror_pixels)
    mode = "mirror" if mirror_pixels else "reflect"
    expected = ndimage.map_coordinates(images[0, 0], places[0, ..., ::-1].T, order=1, mode=mode).T
    np.testing.assert_allclose(result[0, 0], expected, atol=1e-9)
    still = kinds.elastic_transform(np.moveaxis(images, 1, 3), draw, 0, 0, 0)
    np.testing.assert_allclose(still[..., 0], images[:, 0], atol=1e-12)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_and_pixelate_are_pillows(severity, images):
    quality = (80, 65, 58, 50, 40)[severity - 1]
    side = int(32 * (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1])
    jpeg = corrupted(images[:5], "jpeg_compression", severity, seed=0)
    coarse = corrupted(images[:5], "pixelate", severity, seed=0)
    for image, stored, reduced in zip(images[:5], jpeg, coarse, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        np.testing.assert_array_equal(stored, np.asarray(Image.open(file)))
        small = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
        np.testing.assert_array_equal(reduced, small.resize((32, 32), Image.Resampling.BOX))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_light_and_colour_change_as_in_hsv(severity, images):
    added = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    factor, more = ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))[severity - 1]
    shrunk = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    few = np.concatenate([images[:2], flat(0, 1), flat(200, 1)])
    hsv = [colorsys.rgb_to_hsv(*(pixel / 255)) for pixel in few.reshape(-1, 3)]
    means = few.mean((1, 2), keepdims=True)
    expected = {
        "brightness": [colorsys.hsv_to_rgb(h, s, min(v + added, 1)) for h, s, v in hsv],
        "saturate": [colorsys.hsv_to_rgb(h, min(s * factor + more, 1), v) for h, s, v in hsv],
        "contrast": (means + shrunk * (few - means)) / 255,
    }
    for kind, values in expected.items():
        result = corrupted(few, kind, severity, seed=0)
        wanted = np.array(values).reshape(few.shape) * 255
        assert np.abs(result + 0.5 - wanted).max() <= 0.5 + 1e-9, kind


def test_weather_has_the_published_colours():
    black, white = flat(0), flat(255)
    frosted = fraction(corrupted(black, "frost", 1, seed=0)) * 255
    colours = 0.2 * np.mean([f.colour for f in weather.FROSTS], axis=0)
    np.testing.assert_allclose(frosted.mean((0, 1, 2)), colours, rtol=0.15)
    assert corrupted(black, "snow", 1, seed=0).min() == int(255 * 0.05 * 0.5)
    water = corrupted(black, "spatter", 1, seed=0).max((0, 1, 2))
    np.testing.assert_array_equal(water, [int(0.5 * v) for v in (175, 238, 238)])
    mud = corrupted(white, "spatter", 5, seed=0)
    assert (mud.reshape(-1, 3) == (63, 42, 20)).all(1).any()
    for severity, weight in enumerate((0.2, 0.5, 0.75, 1, 1.5), 1):
        fog = corrupted(white, "fog", severity, seed=0)
        lowest = int(255 / (1 + weight) + 1e-9)
        assert set(fog.min((1, 2, 3))) == {lowest}
        assert fog.max() == 255


def test_edges_and_equalised_histograms_of_drops():
    layer = np.zeros((2, 32, 32))
    layer[0, 8:24, 8:24] = 200
    found = weather.edges(layer)
    assert not found[1].any()
    assert not found[0, 10:22, 10:22].any()
    assert ndimage.binary_fill_holes(found[0])[9:23, 9:23].all()
    np.testing.assert_array_equal(weather._distance(found)[0][found[0]], 0)
    assert weather._distance(found)[1].min() >= 1000
    steps = np.repeat(np.arange(4), 256).reshape(1, 32, 32)
    np.testing.assert_array_equal(np.unique(weather.equalised(steps)), [0, 85, 170, 255])
    assert set(np.unique(weather.equalised(0 * steps + 20))) == {20}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "gausian_blur"}, ValueError, "did you mean 'gaussian_blur'"),
        ({"severity": 6}, ValueError, "severity must be 1 to 5, got 6"),
        ({"severity": 1.0}, TypeError, "severity must be an integer, got 1.0"),
        ({"seed": -1}, ValueError, "at least 0, got -1"),
        ({"parameters": "mnist"}, ValueError, "unknown parameters 'mnist'"),
        ({"images": flat(0) / 255}, TypeError, "of uint8, got ndarray of float64"),
        ({"images": [[1]]}, TypeError, "got list of no dtype"),
        ({"images": flat(0)[..., :2]}, ValueError, r"with 1 or 3 channels, got \(100, 32, 32, 2\)"),
        ({"images": flat(0, 1, 64)}, ValueError, "28 or 32 pixels a side, got 64×64; resize or"),
        ({"images": flat(0, 1)[:, :28]}, ValueError, "got 28×32; resize or crop"),
        ({"images": flat(0, 1, 224)}, ValueError, 'choose parameters="imagenet"'),
        ({"parameters": "imagenet"}, ValueError, 'of 224 pixels .* choose parameters="cifar"'),
        ({"images": flat(0)[..., :1], "kind": "saturate"}, ValueError, "grey images have none"),
    ],
)
def test_what_is_not_defined_is_refused(change, error, message):
    given = {"images": flat(0), "kind": "fog", "severity": 1, "seed": 0, **change}
    with pytest.raises(error, match=message):
        corrupted(given.pop("images"), given.pop("kind"), given.pop("severity"), **given)
