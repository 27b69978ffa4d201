"""Random crops, flips and normalisation of whole batches of uint8 images."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from mixreg._errors import DataError


@dataclass(frozen=True)
class CropAndFlip:
    """Zero padding, a random crop back to the size of the image, and a random mirror image.

    Args:
        padding: black pixels added on each side.

    Source: He et al., "Deep Residual Learning for Image Recognition", section 4.2.

    Example:
        >>> image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).view(1, 1, 2, 2)
        >>> CropAndFlip(padding=1).apply(image, torch.tensor([[0, 1, 1]]))
        tensor([[[[0, 0],
                  [2, 1]]]], dtype=torch.uint8)
    """

    padding: int = 4

    def draw(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Top, left (0 to 2·padding) and mirrored (0 or 1) of n images: int64, shape (n, 3)."""
        corners = torch.randint(2 * self.padding + 1, (n, 2), generator=generator)
        mirrored = torch.randint(2, (n, 1), generator=generator)
        return torch.cat([corners, mirrored], dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Mirrored crops, as drawn (n, 3), of uint8 images (n, channels, height, width)."""
        n, channels, height, width = images.shape
        p = self.padding
        pixels = images.permute(0, 2, 3, 1).reshape(n, -1)
        mirrored = draws[:, 2].nonzero().squeeze(1)
        m = len(mirrored)
        padded = images.new_zeros(n + m, height + 2 * p, width + 2 * p, channels)
        middle = padded[:, p : p + height, p : p + width]
        middle[:n] = pixels.view(n, height, width, channels)
        middle[n:] = pixels.index_select(0, mirrored).view(m, height, width, channels).flip(2)
        chosen = torch.arange(n)
        chosen[mirrored] = torch.arange(n, n + m)
        return _crop(padded, chosen, draws[:, 0], draws[:, 1], (height, width))


def _crop(
    padded: Tensor, chosen: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]
) -> Tensor:
    """Gather the crops: each is a window of rows that starts at one byte of the padded images."""
    _, padded_height, padded_width, channels = padded.shape
    height, width = size
    row, run = padded_width * channels, width * channels
    starts = padded.numel() - (height - 1) * row - run + 1
    windows = padded.view(-1).as_strided((starts, height, run), (1, row, 1))
    start = ((chosen * padded_height + top) * padded_width + left) * channels
    cropped = windows.index_select(0, start)
    return cropped.view(len(chosen), height, width, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Normalisation:
    """Pixels to float32 of mean 0 and standard deviation 1 in each channel.

    Args:
        mean: mean of each channel, in units of the largest pixel value.
        std: standard deviation of each channel, in the same units.
        largest: the largest pixel value.

    Example:
        >>> pixels = torch.tensor([[[[0, 4, 8]]]], dtype=torch.uint8)
        >>> Normalisation((0.5,), (0.25,), largest=8.0)(pixels)
        tensor([[[[-2.,  0.,  2.]]]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    largest: float = 255.0

    def __call__(self, images: Tensor) -> Tensor:
        """Uint8 images (n, channels, height, width) as float32 in channels_last memory."""
        n, channels, height, width = images.shape
        scale, offset = _scale_and_offset(self, width)
        rows = images.permute(0, 2, 3, 1).reshape(n * height, width * channels).float()
        torch.addcmul(offset, rows, scale, out=rows)
        return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Preprocessing:
    """How a user's own images become inputs outside training; nothing of it is guessed.

    Args:
        image_size: height and width of an input, one number for both.
        resize: the shorter side before the middle is cut out, or height and width.
        interpolation: as torchvision names it: "bilinear", "bicubic", ...
        mean: of the pixels from 0 to 1, for each channel or one for all.
        std: their deviation.

    Example:
        >>> Preprocessing(mean=(0.5,), std=(0.25,)).normalisation(3).std
        (0.25, 0.25, 0.25)
    """

    image_size: tuple[int, ...] = ()
    resize: tuple[int, ...] = ()
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def normalisation(self, channels: int) -> Normalisation:
        """That of images with so many channels; a DataError where it is not stated or not fitting.

        Args:
            channels: of the images.

        Returns:
            The normalisation.

        Raises:
            DataError: mean and std are missing, or not one finite number each or one a channel.
        """
        lengths = {len(self.mean), len(self.std)}
        if lengths - {1, channels} or not all(map(math.isfinite, (*self.mean, *self.std))):
            raise DataError(
                f"images need mean and std of their pixels from 0 to 1 (--mean, --std), one finite "
                f"number each or {channels}, got {[*self.mean]} and {[*self.std]}"
            )
        if min(self.std) <= 0:
            raise DataError(f"the deviations --std must be above 0, got {[*self.std]}")
        mean, std = (v * channels if len(v) == 1 else v for v in (self.mean, self.std))
        return Normalisation(mean, std)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an input; a DataError where the way there is not stated."""
        sizes = {"--image-size": self.image_size, "--resize": self.resize}
        missing = [name for name, value in sizes.items() if not value]
        if missing:
            raise DataError(
                f"images of a user's own need {' and '.join(missing)}: the size of an input, and "
                "the shorter side (or height and width) before the middle is cut out"
            )
        if any(len(v) > 2 or min(v) < 1 for v in sizes.values()):
            raise DataError(
                "--image-size and --resize need one or two numbers above 0, got "
                f"{[*self.image_size]} and {[*self.resize]}"
            )
        return self.image_size[0], self.image_size[-1]

    def __str__(self) -> str:
        """What is done, in words."""
        side = "the shorter side" if len(self.resize) == 1 else "height and width"
        crop = "×".join(map(str, self.size))
        return (
            f"Images: {side} resized to {'×'.join(map(str, self.resize))} ({self.interpolation}), "
            f"the middle {crop} cut out, normalised with mean {[*self.mean]} and std {[*self.std]}."
        )


@cache
def _scale_and_offset(normalisation: Normalisation, width: int) -> tuple[Tensor, Tensor]:
    """Factor and summand for each byte of a row of pixels, worked out in float64."""
    mean, std = (
        torch.tensor(v, dtype=torch.float64).repeat(width)
        for v in (normalisation.mean, normalisation.std)
    )
    return (1 / (normalisation.largest * std)).float(), (-mean / std).float()
