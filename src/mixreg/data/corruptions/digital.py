"""Digital: light, colour, shape and storage of the image change."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import grid_sample

from mixreg.data.corruptions.pixels import Images, bytes_of


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
