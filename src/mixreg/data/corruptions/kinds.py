"""The kinds of corruption but for the weather: noise, blur, light, colour, shape and storage."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import correlate, correlate1d, gaussian_filter, zoom
from torch import Tensor
from torch.nn.functional import grid_sample

Images = NDArray[np.float64]
"""Values from 0 to 1, shape (n, height, width, channels)."""

_LUMA = np.array([0.299, 0.587, 0.114])


def bytes_of(images: Images) -> NDArray[np.uint8]:
    """8-bit values, cut off as the authors' scripts do, not rounded."""
    return (images.clip(0, 1) * 255).astype(np.uint8)


def luma(images: Images) -> Images:
    """The grey of colours, or grey as it is, with one channel."""
    return np.asarray(images @ _LUMA[:, None] if images.shape[-1] == 3 else images)


def tint(red: float, green: float, blue: float, *, channels: int) -> Images:
    """A colour in 8-bit values for images of three channels, its grey for those of one."""
    colour = np.array([red, green, blue]) / 255
    return colour if channels == 3 else luma(colour)


def gaussian(images: Images, sigma: float) -> Images:
    """A normal blur of height and width that repeats the border."""
    sigmas = (0, sigma, sigma, 0)[: images.ndim]
    return np.asarray(gaussian_filter(images, sigmas, mode="nearest"))


def zoom_matrix(side: int, factor: float) -> NDArray[np.float64]:
    """The matrix of a linear zoom into the middle of `side` values, shape (side, side)."""
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    grown = zoom(np.eye(side)[top : top + crop], (factor, 1), order=1)
    trim = (len(grown) - side) // 2
    return np.asarray(grown[trim : trim + side])


def streak(images: Images, angles: NDArray[np.float64], radius: float, sigma: float) -> Images:
    """One-sided normal motion blur along an angle in degrees for each image; as ImageMagick's."""
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    direction = np.stack([np.sin(np.deg2rad(angles)), np.cos(np.deg2rad(angles))], axis=1)
    offsets = np.ceil(steps[:, None] * direction[:, None] - 0.5).astype(int) + len(steps)
    margin = (len(steps), len(steps))
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    blurred = np.zeros_like(images)
    for result, image, corners in zip(blurred, padded, offsets, strict=True):
        for weight, (top, left) in zip(weights, corners, strict=True):
            result += weight * image[top : top + height, left : left + width]
    return bytes_of(blurred + 0.5 / 65535) / 255  # rounded to 16 bits, then cut off to 8


# -- noise: each value is disturbed on its own -----------------------------------------------------


def gaussian_noise(images: Images, source: np.random.Generator, deviation: float) -> Images:
    """Normal noise is added."""
    return images + deviation * source.standard_normal(images.shape)


def shot_noise(images: Images, source: np.random.Generator, photons: float) -> Images:
    """A white pixel counts so many photons on average."""
    return source.poisson(images * photons) / photons


def impulse_noise(images: Images, source: np.random.Generator, amount: float) -> Images:
    """This share of the values becomes black or white."""
    salt = source.integers(0, 2, images.shape)
    return np.where(source.random(images.shape) <= amount, salt, images)


def speckle_noise(images: Images, source: np.random.Generator, deviation: float) -> Images:
    """Normal noise in proportion to the value is added."""
    return images * (1 + deviation * source.standard_normal(images.shape))


# -- blur: neighbouring pixels are averaged --------------------------------------------------------


def gaussian_blur(images: Images, _source: np.random.Generator, sigma: float) -> Images:
    """Normal weights."""
    return gaussian(images, sigma)


def defocus_blur(
    images: Images, _source: np.random.Generator, radius: float, softness: float
) -> Images:
    """A disk whose edge is blurred, as a lens out of focus makes it."""
    weights = disk(radius, softness)[None, :, :, None]
    return np.asarray(correlate(images, weights, mode="mirror"))


def disk(radius: float, softness: float) -> Images:
    """The weights of a disk, smoothed by normal weights over 3 pixels, or 5 if it is large."""
    half, reach = (8, 1) if radius <= 8 else (int(radius), 2)
    squares = np.arange(-half, half + 1) ** 2
    inside = (squares[:, None] + squares <= radius**2).astype(float)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * softness**2))
    smooth: Images = inside / inside.sum()
    for axis in (0, 1):
        smooth = correlate1d(smooth, weights / weights.sum(), axis, mode="mirror")
    used = np.flatnonzero(smooth.any(0))
    return smooth[used[0] : used[-1] + 1, used[0] : used[-1] + 1]


def glass_blur(
    images: Images, source: np.random.Generator, sigma: float, reach: float, passes: float
) -> Images:
    """Blurred, then each pixel takes the value of a neighbour, then blurred again."""
    pixels = np.moveaxis(bytes_of(gaussian(images, sigma)) / 255, 0, 2).copy()
    height, width, n = pixels.shape[:3]
    r, every = int(reach), np.arange(n)
    for _ in range(int(passes)):
        steps = source.integers(-r, r, (2, height, width, n))
        for y in range(height - r, r, -1):
            for x in range(width - r, r, -1):
                down, right = steps[:, y - 1, x - 1]
                # no swap: the authors' script copies, for its arrays are views
                pixels[y, x] = pixels[y + down, x + right, every]
    return gaussian(np.moveaxis(pixels, 2, 0), sigma)


def motion_blur(images: Images, source: np.random.Generator, radius: float, sigma: float) -> Images:
    """The camera moves, at most 45 degrees from level."""
    return streak(images, source.uniform(-45, 45, len(images)), radius, sigma)


def zoom_blur(images: Images, _source: np.random.Generator, end: float, step: float) -> Images:
    """The mean of the image and of zooms into its middle, from none to `end`."""
    factors = np.arange(1, end, step)
    planes = np.moveaxis(images, 3, 1)
    total = planes.copy()
    for matrix in (zoom_matrix(images.shape[1], factor) for factor in factors):
        total += matrix @ planes @ matrix.T
    return np.moveaxis(total, 1, 3) / (len(factors) + 1)


# -- light, colour, shape and storage --------------------------------------------------------------


def brightness(images: Images, _source: np.random.Generator, added: float) -> Images:
    """The value of hue, saturation and value grows."""
    value = images.max(-1, keepdims=True)
    brighter = np.minimum(value + added, 1)
    factor = np.divide(brighter, value, out=np.zeros_like(value), where=value > 0)
    return np.asarray(np.where(value > 0, images * factor, brighter))


def saturate(images: Images, _source: np.random.Generator, factor: float, added: float) -> Images:
    """The saturation of hue, saturation and value changes; grey has the hue of red."""
    value = images.max(-1, keepdims=True)
    below = value - images
    depth = below.max(-1, keepdims=True)
    old = np.divide(depth, value, out=np.zeros_like(value), where=value > 0)
    new = (old * factor + added).clip(0, 1)
    red = value * (1 - new * np.array([0, 1, 1]))
    scale = np.divide(new, old, out=np.zeros_like(old), where=old > 0)
    return np.asarray(np.where(old > 0, value - below * scale, red))


def contrast(images: Images, _source: np.random.Generator, factor: float) -> Images:
    """Each channel of each image is drawn towards its mean."""
    means = images.mean((1, 2), keepdims=True)
    return np.asarray((images - means) * factor + means)


def elastic_transform(
    images: Images, source: np.random.Generator, shift: float, smoothness: float, affine: float
) -> Images:
    """A random affine map of the image, then small random shifts; lengths in units of the side."""
    n, side = images.shape[:2]
    planes = torch.from_numpy(images).movedim(3, 1)
    centre, arm = side // 2, side // 3
    corners = centre + arm * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + source.uniform(-affine * side, affine * side, (n, 3, 2))
    back = np.linalg.solve(np.concatenate([moved, np.ones((n, 3, 1))], axis=2), corners)
    y, x = np.mgrid[:side, :side].astype(float)
    places = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) @ back
    planes = _sampled(planes, places.reshape(n, side, side, 2), mirror_pixels=True)
    sigma = smoothness * side
    shifts = gaussian_filter(
        source.uniform(-1, 1, (2, n, side, side)), (0, 0, sigma, sigma), mode="reflect", truncate=3
    )
    places = np.stack([x, y], axis=-1) + shift * side * np.moveaxis(shifts, 0, -1)
    return _sampled(planes, places, mirror_pixels=False).movedim(1, 3).numpy()


def _sampled(planes: Tensor, places: NDArray[np.float64], *, mirror_pixels: bool) -> Tensor:
    """Values at (x, y); mirrored beyond the middles of the outer pixels, or beyond their edges."""
    side = planes.shape[-1]
    unit = 2 * places / (side - 1) - 1 if mirror_pixels else (2 * places + 1) / side - 1
    return grid_sample(
        planes, torch.from_numpy(unit), padding_mode="reflection", align_corners=mirror_pixels
    )


def pixelate(images: Images, _source: np.random.Generator, factor: float) -> Images:
    """Reduced to this share of the side and brought back, by means over boxes."""

    def reduced(image: Image.Image) -> Image.Image:
        small = int(image.width * factor)
        box = Image.Resampling.BOX
        return image.resize((small, small), box).resize(image.size, box)

    return _by_pillow(images, reduced)


def jpeg_compression(images: Images, _source: np.random.Generator, quality: float) -> Images:
    """Stored as JPEG and read again."""

    def stored(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=int(quality))
        return Image.open(file)

    return _by_pillow(images, stored)


def _by_pillow(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """Each image changed by Pillow."""
    values = bytes_of(images)
    pictures = values[..., 0] if values.shape[-1] == 1 else values
    changed = [np.asarray(change(Image.fromarray(picture))) for picture in pictures]
    return np.stack(changed).reshape(images.shape) / 255
