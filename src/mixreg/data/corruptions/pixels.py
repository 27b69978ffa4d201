"""What several corruptions share: images as numbers from 0 to 1, their grey, and a motion blur."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

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
