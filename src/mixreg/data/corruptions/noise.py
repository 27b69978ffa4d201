"""Noise: each pixel of each channel is disturbed on its own."""

import numpy as np

from mixreg.data.corruptions.pixels import Images


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
