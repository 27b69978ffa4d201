"""Weather: snow, frost, fog and spatter lie over the image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_propagation,
    correlate,
    correlate1d,
    distance_transform_edt,
    uniform_filter,
)

from mixreg.data.corruptions.kinds import (
    Images,
    bytes_of,
    gaussian,
    luma,
    streak,
    tint,
    zoom_matrix,
)


def snow(
    images: Images,
    source: np.random.Generator,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: float,
    sigma: float,
    kept: float,
) -> Images:
    """Flakes that fall along two opposite directions over an image that is whitened."""
    matrix = zoom_matrix(images.shape[1], zoom)
    flakes = matrix @ source.normal(mean, deviation, images.shape[:3]) @ matrix.T
    flakes[flakes < threshold] = 0
    layer = bytes_of(flakes)[..., None] / 255
    layer = streak(layer, source.uniform(-135, -45, len(images)), radius, sigma)
    whitened = np.maximum(images, 1.5 * luma(images) + 0.5)
    return kept * images + (1 - kept) * whitened + layer + layer[:, ::-1, ::-1]


class Frost(NamedTuple):
    """Measured on a photograph of frost that the authors' script draws crops from.

    colour: mean 8-bit values of red, green and blue.
    between: standard deviation of the mean grey of crops of 32 pixels.
    within: standard deviation of the grey inside one.
    slope: of their power over the spatial frequency, both as logarithms.
    """

    colour: tuple[float, float, float]
    between: float
    within: float
    slope: float


# The script draws from the first five of its six files, and the second and third are the same.
_WHITE = Frost((201, 205, 214), 9.2, 17.5, -0.85)
FROSTS = (
    Frost((78, 149, 166), 11.3, 14.3, -1.28),
    _WHITE,
    _WHITE,
    Frost((138, 153, 166), 11.4, 26.1, -0.42),
    Frost((112, 123, 135), 17.8, 34.6, -1.15),
)


def frost(images: Images, source: np.random.Generator, kept: float, weight: float) -> Images:
    """A texture is added; made here, where the authors' script has photographs of frost."""
    n, side, _, channels = images.shape
    chosen = source.integers(0, len(FROSTS), n)
    slope, between, within = (
        np.array([getattr(f, name) for f in FROSTS])[chosen, None, None]
        for name in ("slope", "between", "within")
    )
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    amplitude = np.maximum(frequency, 1) ** (slope / 2) * (frequency > 0)
    noise = np.fft.rfft2(source.standard_normal((n, side, side)))
    field = np.fft.irfft2(noise * amplitude, (side, side))
    field *= within / field.std((1, 2), keepdims=True)
    field += between * source.standard_normal((n, 1, 1))
    colours = np.stack([tint(*f.colour, channels=channels) for f in FROSTS])[chosen]
    texture = (colours[:, None, None] + field[..., None] / 255).clip(0, 1)
    return np.asarray(kept * images + weight * texture)


def fog(images: Images, source: np.random.Generator, weight: float, decay: float) -> Images:
    """A cloud is added, then all is scaled back to the range that the image had."""
    n, side = images.shape[:2]
    highest = images.max((1, 2, 3), keepdims=True)
    cloud = plasma(n, side, decay, source)[..., None]
    return np.asarray((images + weight * cloud) * highest / (highest + weight))


def plasma(n: int, side: int, decay: float, source: np.random.Generator) -> Images:
    """Clouds from 0 to 1 by the diamond-square algorithm, shape (n, side, side)."""
    size = 1 << (side - 1).bit_length()
    heights = np.zeros((n, size, size))
    step, roughness = size, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, 2)
        middles = pairs + np.roll(pairs, -1, 1)
        centres = middles / 4 + roughness**2 * source.uniform(-1, 1, corners.shape)
        heights[:, half::step, half::step] = centres
        across = pairs + centres + np.roll(centres, 1, 1)
        down = corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 2)
        for sums, rows, columns in ((across, 0, half), (down, half, 0)):
            shaken = sums / 4 + roughness**2 * source.uniform(-1, 1, corners.shape)
            heights[:, rows::step, columns::step] = shaken
        step, roughness = half, roughness / decay
    heights -= heights.min((1, 2), keepdims=True)
    heights /= heights.max((1, 2), keepdims=True)
    return heights[:, :side, :side]


def spatter(
    images: Images,
    source: np.random.Generator,
    mean: float,
    deviation: float,
    sigma: float,
    threshold: float,
    strength: float,
    mud: float,
) -> Images:
    """Drops of water, whose edges shine, or of mud."""
    channels = images.shape[-1]
    liquid = gaussian(source.normal(mean, deviation, images.shape[:3]), sigma)
    liquid[liquid < threshold] = 0
    if mud:
        drops = gaussian((liquid > threshold).astype(float), strength)[..., None]
        drops[drops < 0.8] = 0
        return images * (1 - drops) + tint(63, 42, 20, channels=channels) * drops
    layer = bytes_of(liquid).astype(float)
    shine = layer * _relief(layer)
    highest = shine.max((1, 2), keepdims=True)
    drops = strength * np.divide(shine, highest, out=np.zeros_like(shine), where=highest > 0)
    return np.asarray(images + drops[..., None] * tint(175, 238, 238, channels=channels))


def _relief(layer: Images) -> Images:
    """The distance to the edges of the drops, equalised and lit from one side, in 8-bit values."""
    distance = np.minimum(_distance(edges(layer)), 20)
    distance = np.floor(_mean_of_nine(distance).round(9))  # running sums are not exact
    light = np.array([[[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]])
    lit = correlate(equalised(distance), light, mode="mirror").clip(0, 255)
    return np.rint(_mean_of_nine(lit))


def _mean_of_nine(layer: Images) -> Images:
    return np.asarray(uniform_filter(layer, (0, 3, 3), mode="mirror"))


def _distance(is_edge: NDArray[np.bool_]) -> Images:
    """Distance of each pixel to the nearest edge of its image; 1,000 or more where it has none."""
    away = np.concatenate([~is_edge, np.zeros_like(is_edge[:1])])  # one image is all edge
    return np.asarray(distance_transform_edt(away, sampling=(1000, 1, 1)))[:-1]


def edges(layer: Images, low: float = 50, high: float = 150) -> NDArray[np.bool_]:
    """Canny's edges (IEEE PAMI 8, 1986) of 8-bit layers, with lengths |x| + |y| as in OpenCV."""
    along_y, along_x = (
        correlate1d(correlate1d(layer, [-1, 0, 1], axis, mode="nearest"), [1, 2, 1], other,
                    mode="nearest")
        for axis, other in ((1, 2), (2, 1))
    )  # fmt: skip
    size = np.abs(along_x) + np.abs(along_y)
    around = np.pad(size, ((0, 0), (1, 1), (1, 1)))
    height, width = layer.shape[1:]

    def beside(y: int, x: int) -> Images:
        return around[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    slope = np.tan(np.pi / 8)
    level = np.abs(along_y) < slope * np.abs(along_x)
    upright = np.abs(along_y) * slope > np.abs(along_x)
    falling = (along_x < 0) == (along_y < 0)
    largest = np.select(
        [level, upright, falling],
        [
            (size > beside(0, -1)) & (size >= beside(0, 1)),
            (size > beside(-1, 0)) & (size >= beside(1, 0)),
            (size > beside(-1, -1)) & (size > beside(1, 1)),
        ],
        (size > beside(-1, 1)) & (size > beside(1, -1)),
    )
    weak = largest & (size > low)
    strong = weak & (size > high)
    return np.asarray(binary_propagation(strong, structure=np.ones((1, 3, 3)), mask=weak))


def equalised(layer: Images) -> Images:
    """Whole numbers from 0 to 255, spread so that each image has an even histogram."""
    n, pixels = len(layer), layer[0].size
    values = layer.reshape(n, -1).astype(int)
    counts = np.bincount((values + 256 * np.arange(n)[:, None]).ravel(), minlength=256 * n)
    below = counts.reshape(n, 256).cumsum(1)
    lowest = np.take_along_axis(below, values.min(1, keepdims=True), 1)
    spread = np.maximum(pixels - lowest, 1)
    table = np.where(lowest == pixels, np.arange(256), np.rint(255 * (below - lowest) / spread))
    return np.take_along_axis(table, values, 1).reshape(layer.shape)
