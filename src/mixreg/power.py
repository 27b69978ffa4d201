"""The power of inputs in bands, what mixup training sees of it, and the θ an input looks like.

In coordinates of its own, those of cosines for images or the principal components of any data, a
mix is d = θ d_i + (1 − θ) d_j, so that its power is (θ² + (1 − θ)²) times that of the data on
average. The log of the power of one input in a band is nearly normal; the mix of two such powers
is taken as log-normal with its first two moments.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mixreg._checks import check_tensor
from mixreg.laws import MixingLaw

Basis = Literal["spectral", "components"]

BANDS = 8
_PER_BAND = 8  # components at least, so that their mean square is not far from log-normal
_SMALLEST = 1e-12  # power, of inputs that have none
_ORDER = 32
_FLAT = 1e-6  # of the largest variance of log powers: directions without a spread of their own


class Bands(NamedTuple):
    """Coordinates left · d · rightᵀ of inputs d taken as matrices, and the band of each.

    left: orthonormal rows (p, h). right: orthonormal rows (q, w). members: 1 where a coordinate
    lies in a band, else 0, (p q, b).
    """

    left: Tensor
    right: Tensor
    members: Tensor

    def coordinates(self, d: Tensor) -> Tensor:
        """Coordinates (n, c, p, q) of deviations (n, ...)."""
        height, width = self.left.shape[1], self.right.shape[1]
        channels = math.prod(d.shape[1:]) // (height * width)
        return self.left @ d.reshape(d.shape[0], channels, height, width) @ self.right.T

    def log_power(self, coordinates: Tensor) -> Tensor:
        """Log of the mean square of the coordinates in each band (n, b)."""
        power = coordinates.square().mean(1).flatten(1) @ (self.members / self.members.sum(0))
        return power.clamp(min=_SMALLEST).log()

    def scaled(self, coordinates: Tensor, gains: Tensor) -> Tensor:
        """Deviations (n, c, h, w) of coordinates, those of each band times its gain (n, b)."""
        each = (gains @ self.members.T).reshape(-1, 1, len(self.left), len(self.right))
        return self.left.T @ (coordinates * each) @ self.right

    def to(self, like: Tensor) -> "Bands":
        """The same on the device and in the dtype of a tensor."""
        return Bands(*(part.to(like) for part in self))


@dataclass(frozen=True, eq=False)
class BandPower:
    """Mean and covariance of the log power of the training inputs' deviations x − x̄ in bands.

    Images: cosines (DCT-II) over height and width, bands of equal width in the radius of the
    frequency, channels averaged. Other inputs: principal components, by falling variance, in bands
    of equal numbers.

    Args:
        log_mean: E log P, float64, shape (b,).
        log_covariance: Cov log P, float64, shape (b, b).
        axes: principal components as rows, float64, shape (r, d); None for cosines.

    Raises:
        TypeError: what is given is no tensor.
        ValueError: not finite, or of shapes that do not fit.
    """

    log_mean: Tensor
    log_covariance: Tensor
    axes: Tensor | None = None

    def __post_init__(self) -> None:
        for name, value in (("log_mean", self.log_mean), ("log_covariance", self.log_covariance)):
            check_tensor(value, name, name)
            if value.dtype != torch.float64 or not torch.isfinite(value).all():
                raise ValueError(f"{name} must be finite float64, got {value.dtype}")
        bands = len(self.log_mean)
        if self.log_mean.ndim != 1 or self.log_covariance.shape != (bands, bands):
            raise ValueError(
                f"{bands} bands need a covariance of shape {(bands, bands)}, got "
                f"{tuple(self.log_covariance.shape)}"
            )

    @property
    def basis(self) -> Basis:
        """Which coordinates the bands are of."""
        return "spectral" if self.axes is None else "components"

    def bands(self, shape: torch.Size) -> Bands:
        """The coordinates and their bands for inputs of one shape."""
        return cosine_bands(shape) if self.axes is None else component_bands(self.axes)

    def of_mixes(self, law: MixingLaw) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the log power that training with a law sees in each band.

        For a mix with weight θ of two inputs with independent powers, E P is multiplied by
        κ = θ² + (1 − θ)², and Var P by θ⁴ + (1 − θ)⁴.

        Args:
            law: law of λ.

        Returns:
            Mean and deviation, float64, shape (b,) each.

        Source: L. F. Fenton, "The sum of log-normal probability distributions in scatter
        transmission systems", IRE Transactions on Communications Systems, 1960.

        Example:
            >>> from mixreg.laws import Constant
            >>> power = BandPower(torch.zeros(1).double(), torch.zeros(1, 1).double())
            >>> power.of_mixes(Constant(0.5))[0].exp()     # ½² + ½² of the power
            tensor([0.5000], dtype=torch.float64)
        """
        nodes, weights = law.quadrature(_ORDER)
        parts = [self._mixed(theta) for theta in nodes.tolist()]
        means = torch.stack([mean for mean, _ in parts])
        variances = torch.stack([covariance.diagonal() for _, covariance in parts])
        mean = weights @ means
        return mean, (weights @ (variances + (means - mean).square())).sqrt()

    def likely_weight(self, log_power: Tensor, law: MixingLaw) -> Tensor:
        """E[θ | P]: the weight of its larger part, if an input of this power were a mix.

        Args:
            log_power: log P of inputs, shape (n, b).
            law: law of λ.

        Returns:
            Weights in [½, 1], shape (n,), in the dtype of the log powers.
        """
        nodes, weights = law.quadrature(_ORDER)
        thetas = torch.maximum(nodes, 1 - nodes)
        log_posterior = []
        for theta, weight in zip(thetas.tolist(), weights, strict=True):
            mean, covariance = self._mixed(theta)
            values, vectors = torch.linalg.eigh(covariance)
            values = values.clamp(min=_FLAT * float(values[-1]) + 1e-12)
            scores = (log_power.double() - mean) @ vectors / values.sqrt()
            log_density = -(scores.square().sum(1) + values.log().sum()) / 2
            log_posterior.append(log_density + weight.log())
        posterior = torch.stack(log_posterior, 1).softmax(1)
        return (posterior @ thetas).to(log_power.dtype)

    def _mixed(self, theta: float) -> tuple[Tensor, Tensor]:
        """Mean and covariance of log P of mixes with one weight, as log-normal."""
        kept = theta**2 + (1 - theta) ** 2
        ratio = (theta**4 + (1 - theta) ** 4) / kept**2
        covariance = torch.log1p(ratio * torch.expm1(self.log_covariance))
        widened = (self.log_covariance - covariance).diagonal() / 2
        return self.log_mean + math.log(kept) + widened, covariance


def cosine_bands(shape: torch.Size) -> Bands:
    """Cosines of images, the frequency (u, v) of h × w pixels in band ⌊8 √((u/h)² + (v/w)²)⌋."""
    if len(shape) != 3 or min(shape[1:]) < BANDS:
        raise ValueError(
            f"spectral bands are of images (channels, height, width) of at least {BANDS} pixels a "
            f'side, got inputs of shape {tuple(shape)}; use second_moments="components"'
        )
    height, width = shape[1:]
    rows = torch.arange(height, dtype=torch.float64).unsqueeze(1) / height
    columns = torch.arange(width, dtype=torch.float64) / width
    radius = (rows.square() + columns.square()).sqrt()
    return Bands(cosines(height), cosines(width), _members((BANDS * radius).long().flatten()))


def component_bands(axes: Tensor) -> Bands:
    """Principal components (r, d) in at most 8 bands of at least 8, by falling variance."""
    count = max(1, min(BANDS, len(axes) // _PER_BAND))
    number = torch.arange(len(axes)) * count // len(axes)
    return Bands(torch.ones(1, 1, dtype=torch.float64), axes, _members(number))


def _members(number: Tensor) -> Tensor:
    return functional.one_hot(number.clamp(max=BANDS - 1)).double()


def cosines(n: int) -> Tensor:
    """The orthonormal DCT-II as a matrix (n, n), float64: row k is a cosine of k half periods."""
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi / n * torch.outer(k, k + 0.5)) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix
