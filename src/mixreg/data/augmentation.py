"""Random crops, flips and normalisation of whole batches of uint8 images."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


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


@cache
def _scale_and_offset(normalisation: Normalisation, width: int) -> tuple[Tensor, Tensor]:
    """Factor and summand for each byte of a row of pixels, worked out in float64."""
    mean, std = (
        torch.tensor(v, dtype=torch.float64).repeat(width)
        for v in (normalisation.mean, normalisation.std)
    )
    return (1 / (normalisation.largest * std)).float(), (-mean / std).float()
