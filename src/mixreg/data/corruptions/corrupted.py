"""Images of any corruption and severity, a block at a time.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; `strengths.json` holds the numbers of the authors' scripts
`make_cifar_c.py` and `make_imagenet_c.py`,
https://github.com/hendrycks/robustness/tree/master/ImageNet-C/create_c.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixreg._errors import check_name
from mixreg._random import derive_seed
from mixreg.data.corruptions import kinds, weather
from mixreg.data.corruptions.kinds import bytes_of

_FAMILIES: Mapping[str, Sequence[Callable[..., NDArray[np.float64]]]] = {
    "noise": (kinds.gaussian_noise, kinds.shot_noise, kinds.impulse_noise),
    "blur": (kinds.defocus_blur, kinds.glass_blur, kinds.motion_blur, kinds.zoom_blur),
    "weather": (weather.snow, weather.frost, weather.fog, kinds.brightness),
    "digital": (
        kinds.contrast,
        kinds.elastic_transform,
        kinds.pixelate,
        kinds.jpeg_compression,
    ),
    "extra": (kinds.speckle_noise, kinds.gaussian_blur, weather.spatter, kinds.saturate),
}
_KINDS = {made.__name__: made for family in _FAMILIES.values() for made in family}

CORRUPTIONS = tuple(_KINDS)
"""The 19 kinds, the 15 of the benchmark first."""

EXTRA_CORRUPTIONS = CORRUPTIONS[15:]
"""The four kinds that the benchmark keeps apart for choosing things."""

FAMILIES = {
    name: tuple(made.__name__ for made in family)
    for name, family in _FAMILIES.items()
    if name != "extra"
}
"""The 15 kinds by family."""

SEVERITIES = (1, 2, 3, 4, 5)

ParameterSet = Literal["cifar", "imagenet"]

PARAMETERS: Mapping[ParameterSet, dict[str, list[list[float]]]] = json.loads(
    Path(__file__).with_name("strengths.json").read_text()
)
"""By kind and severity the arguments of the function of that name."""

# The elastic lengths are in units of the side; the script for ImageNet multiplies by 244, not 224.
PARAMETERS["imagenet"]["elastic_transform"] = [
    [length * (244 / 224) for length in row] for row in PARAMETERS["imagenet"]["elastic_transform"]
]

SIDES: Mapping[ParameterSet, tuple[int, ...]] = {"cifar": (28, 32), "imagenet": (224,)}
"""The sides of square images that the numbers are for: CIFAR's, MNIST's and ImageNet's."""

_BLOCK = 2**18  # pixels that are corrupted at once


def corrupted(
    images: NDArray[np.uint8],
    kind: str,
    severity: int,
    *,
    seed: int,
    parameters: ParameterSet = "cifar",
) -> NDArray[np.uint8]:
    """Corrupt images as CIFAR-10-C or ImageNet-C were made.

    The seed, kind, severity and number of the block of images decide every draw. Colours that lie
    over a grey image (frost, spatter) are made grey first.

    Args:
        images: uint8, shape (n, height, width, channels), 3 channels or 1.
        kind: one of `CORRUPTIONS`; "saturate" needs colours.
        severity: 1 to 5.
        seed: at least 0.
        parameters: "cifar", for sides of 32 pixels and also 28, or "imagenet", for sides of 224.

    Returns:
        New images of the same shape.

    Raises:
        TypeError: not a NumPy array of uint8, or the seed or severity is no integer.
        ValueError: unknown kind or parameters, a severity that is not 1 to 5, or images of a shape
            that the parameters are not defined for.

    Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
    and Perturbations", ICLR 2019.

    Example:
        >>> grey = np.full((1, 32, 32, 3), 100, np.uint8)
        >>> corrupted(grey, "brightness", 5, seed=0)[0, 0, 0]
        array([176, 176, 176], dtype=uint8)
    """
    check_images(images)
    check_kind(images, kind, parameters)
    check_severity(severity)
    blocks = corrupted_blocks(images, kind, severity, seed=seed, parameters=parameters)
    return np.concatenate([images[:0], *blocks])


def corrupted_blocks(
    images: NDArray[np.uint8], kind: str, severity: int, *, seed: int, parameters: ParameterSet
) -> Iterator[NDArray[np.uint8]]:
    """What `corrupted` returns, a block of images at a time."""
    strengths = PARAMETERS[parameters][kind][severity - 1]
    size = max(1, _BLOCK // (images.shape[1] * images.shape[2]))
    for number, start in enumerate(range(0, len(images), size)):
        source = np.random.default_rng(derive_seed(seed, "corruption", kind, severity, number))
        yield bytes_of(_KINDS[kind](images[start : start + size] / 255, source, *strengths))


def check_images(images: Any) -> None:
    """Refuse what is no array of 8-bit images with their channels last."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        given = f"{type(images).__name__} of {getattr(images, 'dtype', 'no dtype')}"
        raise TypeError(f"images must be a NumPy array of uint8, got {given}")
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            "images must have shape (n, height, width, channels) with 1 or 3 channels, "
            f"got {images.shape}"
        )


def check_kind(images: NDArray[np.uint8], kind: str, parameters: ParameterSet) -> None:
    """Refuse images that this kind of corruption or these parameters are not defined for."""
    check_name("parameters", parameters, PARAMETERS)
    check_name("corruption", kind, CORRUPTIONS)
    height, width = images.shape[1:3]
    if height != width or height not in SIDES[parameters]:
        fitting = [f'"{name}"' for name, sides in SIDES.items() if height == width in sides]
        remedy = f"choose parameters={fitting[0]}" if fitting else "resize or crop them"
        sides = " or ".join(map(str, SIDES[parameters]))
        raise ValueError(
            f"the {parameters} parameters are for square images of {sides} pixels a side, "
            f"got {height}×{width}; {remedy}"
        )
    if kind == "saturate" and images.shape[3] == 1:
        raise ValueError("saturate changes colours, and grey images have none; leave it out")


def check_severity(severity: int) -> None:
    """Refuse what is no severity."""
    if isinstance(severity, bool) or not isinstance(severity, int | np.integer):
        raise TypeError(f"severity must be an integer, got {severity!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be 1 to 5, got {severity}")
