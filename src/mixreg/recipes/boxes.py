"""CutMix: the law of boxes that are cut from one image and pasted into another.

A box B replaces the pixels of image i by those of image j, and the label weight of i is w. As the
pair (i, j) with (B, w) is the pair (j, i) with the complement of B and 1 − w, the fold of Theorem 1
makes the image with the larger label weight the owner, θ = max(w, 1 − w), and pixel p of the owner
is replaced with probability

    1 − θ̄_p = P(p ∈ B, w ≥ ½) + P(p ∉ B, w < ½),

a map over the pixels where mixup has one number. Labels shrink by the number E min(w, 1 − w).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixreg._beta import beta_distribution
from mixreg.laws import Beta, MixingLaw, design_law

Rounding = Literal["timm", "torchvision", "fastai"]
Floats = NDArray[np.float64]


class _Sides(NamedTuple):
    """Boxes along one axis: chance of each, whether it covers each pixel, and its length."""

    chance: Floats  # (k,)
    covers: Floats  # (k, n)

    @property
    def lengths(self) -> Floats:
        lengths: Floats = self.covers.sum(1)
        return lengths


@dataclass(frozen=True)
class CutMix:
    """The boxes of CutMix in images of one size.

    With u ~ Beta(α, α), here 1 − λ, a box has the sides √u·H and √u·W in whole pixels, a centre
    uniform on the pixels, and is clipped to the image. With `minmax` its sides are uniform and
    independent instead, and it lies within the image.

    Args:
        height: H, pixels.
        width: W, pixels.
        alpha: shape α > 0.
        rounding: whose rule makes whole pixels of the sides: "timm", "torchvision" or "fastai".
        corrected: label weights are the share of pixels kept, after clipping; else they are λ.
        minmax: least and largest side as shares of the image's, as in timm's `cutmix_minmax`.

    Raises:
        ValueError: a size, α, share or rule is out of range.

    Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features", ICCV 2019.

    Example:
        >>> law = CutMix(32, 32)
        >>> [round(float(law.shrinkage[p, p]), 3) for p in (0, 16)]  # a corner, the centre
        [0.242, 0.316]
        >>> round(law.label_law.shrinkage, 3)
        0.273
    """

    height: int
    width: int
    alpha: float = 1.0
    rounding: Rounding = "timm"
    corrected: bool = True
    minmax: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"images have at least one pixel, got {self.height} × {self.width}")
        if self.rounding not in get_args(Rounding):
            known = ", ".join(get_args(Rounding))
            raise ValueError(f"rounding must be one of {known}; got {self.rounding!r}")
        if self.minmax is not None and not 0 <= self.minmax[0] < self.minmax[1] <= 1:
            raise ValueError(f"need 0 <= least < largest <= 1 for minmax, got {self.minmax}")
        Beta(self.alpha)

    @property
    def shrinkage(self) -> Tensor:
        """1 − θ̄_p of every pixel, float64, shape (H, W)."""
        return self._numbers[0]

    @property
    def gamma_squared(self) -> Tensor:
        """E(1 − θ_p)² of every pixel, the same, since a pixel is replaced or not."""
        return self._numbers[0]

    @property
    def label_law(self) -> MixingLaw:
        """A law with E(1 − θ) and E(1 − θ)² of the labels."""
        if not self.corrected and self.minmax is None:
            return Beta(self.alpha)
        _, mean, second = self._numbers
        return design_law(label_smoothing=mean, gamma_squared=second)

    def to_dict(self) -> dict[str, Any]:
        """The law as JSON-safe values.

        Returns:
            Values by name.
        """
        minmax = None if self.minmax is None else list(self.minmax)
        values = {name: getattr(self, name) for name in ("height", "width", "alpha", "rounding")}
        return {"law": "cutmix", **values, "corrected": self.corrected, "minmax": minmax}

    @cached_property
    def _numbers(self) -> tuple[Tensor, float, float]:
        """The map, and the two numbers of the label weight, over all sides and places of boxes."""
        pixels = self.height * self.width
        replaced, mean, second = np.zeros((self.height, self.width)), 0.0, 0.0
        for chance, rows, columns, weight in self._boxes():
            area = np.outer(rows.lengths, columns.lengths) / pixels
            owner = area <= 0.5 if weight is None else np.full(area.shape, weight >= 0.5)
            place = np.outer(rows.chance, columns.chance)
            kept, given = place * owner, place * ~owner
            inside = rows.covers.T @ (kept - given) @ columns.covers
            replaced += chance * (inside + given.sum())
            folded = np.minimum(area, 1 - area)
            mean += chance * float((place * folded).sum())
            second += chance * float((place * folded**2).sum())
        return torch.from_numpy(replaced), mean, second

    def _boxes(self) -> Iterator[tuple[float, _Sides, _Sides, float | None]]:
        """Chance of a pair of sides, their places, and the label weight if it is not the area."""
        if self.minmax is not None:
            low, high = self.minmax
            heights = range(int(self.height * low), int(self.height * high))
            widths = range(int(self.width * low), int(self.width * high))
            across = [_within(self.width, side) for side in widths]
            for side in heights:
                rows = _within(self.height, side)
                for other in across:
                    yield 1 / (len(heights) * len(widths)), rows, other, None
            return
        edges = np.unique(
            [0.0, 0.5, 1.0, *_steps(self.height, self.rounding), *_steps(self.width, self.rounding)]
        )
        chances = np.diff([beta_distribution(self.alpha, float(u)) for u in edges])
        for chance, u in zip(chances, (edges[:-1] + edges[1:]) / 2, strict=True):
            rows = _clipped(self.height, *_halves(self.height, u, self.rounding))
            columns = _clipped(self.width, *_halves(self.width, u, self.rounding))
            yield float(chance), rows, columns, None if self.corrected else float(1 - u)


def _steps(size: int, rounding: Rounding) -> Floats:
    """The values of u at which the whole pixels of a side change."""
    k = np.arange(1, size + 1)
    if rounding == "fastai":
        return ((k - 0.5) / size) ** 2
    return (k / size) ** 2


def _halves(size: int, u: float, rounding: Rounding) -> tuple[int, int]:
    """Pixels of a side before and after the centre."""
    side = size * float(np.sqrt(u))
    match rounding:
        case "timm":
            whole = int(side)
            return whole // 2, (whole + 1) // 2
        case "torchvision":
            return int(side / 2), int(side / 2)
        case "fastai":
            return round(side) // 2, round(side) // 2


def _clipped(size: int, before: int, after: int) -> _Sides:
    """Sides around each pixel as the centre, cut off at the border."""
    centre, pixel = np.arange(size)[:, None], np.arange(size)
    covers = (pixel >= centre - before) & (pixel < centre + after)
    return _Sides(np.full(size, 1 / size), covers.astype(np.float64))


def _within(size: int, side: int) -> _Sides:
    """Sides at every place where they lie within the image, as one: all have the same length."""
    start, pixel = np.arange(size - side + 1)[:, None], np.arange(size)
    covers = (pixel >= start) & (pixel < start + side)
    return _Sides(np.ones(1), covers.mean(0, keepdims=True))
