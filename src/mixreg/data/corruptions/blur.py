"""Blur: neighbouring pixels are averaged."""

import numpy as np
from scipy.ndimage import correlate, correlate1d

from mixreg.data.corruptions.pixels import Images, bytes_of, gaussian, streak, zoom_matrix


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
