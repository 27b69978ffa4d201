"""Equation 22 for inputs unlike the training data: powers brought to what mixup training saw."""

import math

import torch
from torch import Tensor, nn

from mixreg.laws import MixingLaw
from mixreg.power import Bands
from mixreg.prediction import Link, RescaledModel
from mixreg.recipes.recipe import PixelLaw, Recipe
from mixreg.statistics import TrainingStatistics

_LARGEST_GAIN = 2.0
"""1/θ at θ = ½: no image is weaker than that as the larger part of a mix."""


class PowerMatching(nn.Module):
    """Bring the power of what a network is shown into the range that its training saw.

    With the log power log P of the deviations from x̄ in each band, and its mean m and standard
    deviation s over the mixes of training, the part of the input in the band is multiplied by

        g = min(2, exp((clip(log P, m − s, m + s) − log P) / 2)).

    An input that lies within all ranges is left as it is.

    Args:
        stats: statistics with second moments, of the data that the network was trained on.
        law: law of λ of that training; `Constant(1.0)` for training without mixing.

    Raises:
        TypeError: the law is none of whole inputs.
        ValueError: the statistics have no second moments.

    Example:
        >>> from mixreg import Beta
        >>> x, y = torch.randn(40, 16), torch.zeros(40)
        >>> stats = TrainingStatistics.from_tensors(x, y, second_moments="components")
        >>> matching = PowerMatching(stats, Beta(1.0))
        >>> bool(matching(9 * x).norm() < (9 * x).norm())
        True
    """

    x_mean: Tensor
    left: Tensor
    right: Tensor
    members: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, stats: TrainingStatistics, law: MixingLaw | PixelLaw) -> None:
        super().__init__()
        if not isinstance(law, MixingLaw):
            raise TypeError(
                "powers are matched to mixes of whole inputs, by a law such as Beta(1.0), got "
                f"{law!r}"
            )
        power = stats.second_moments
        if power is None:
            raise ValueError(
                "the statistics have no second moments; measure them with TrainingStatistics."
                'from_loader(loader, ..., second_moments="spectral") for images, or "components" '
                "for other inputs"
            )
        mean, deviation = power.of_mixes(law)
        ranges = {"x_mean": stats.x_mean, "low": mean - deviation, "high": mean + deviation}
        bands = power.bands(stats.x_mean.shape)._asdict()
        for name, value in (ranges | bands).items():
            self.register_buffer(name, value.to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs with matched powers.

        Args:
            x: what the network is to be shown, already shrunk, shape (n, ...).

        Returns:
            Of the same shape and dtype; half precision is left for float32 on the way.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        bands = Bands(self.left, self.right, self.members).to(wide)
        coordinates = bands.coordinates(wide - self.x_mean.to(wide))
        level = bands.log_power(coordinates)
        seen = level.maximum(self.low.to(wide)).minimum(self.high.to(wide))
        gains = ((seen - level) / 2).clamp(max=math.log(_LARGEST_GAIN)).expm1()
        return (wide + bands.scaled(coordinates, gains).reshape(x.shape)).to(x.dtype)


class PowerMatchedModel(RescaledModel):
    """Equation 22 with the shrunk input's powers brought to those of mixes: for shifted inputs.

    pred(x) = (f(M(x̄ + θ̄ (x − x̄))) − (1 − θ̄) ȳ) / θ̄

    with M the `PowerMatching` of training data and law. Noise, of which no mix has as much, is
    taken away; what blur or fog took is given back, up to a factor of 2. Inputs as powerful as
    mixes in all bands are predicted as by `RescaledModel`. The network inside is `net[1]`.

    Args:
        net: f, the trained model, (n, ...) → (n, c) or (n,).
        stats: x̄, ȳ and second moments of the training data in the model's own input space.
        law: law of λ the model was trained with, or a `Recipe` whose inputs have one.
        link: as for `RescaledModel`.

    Raises:
        TypeError: the law of the inputs is none, or one of pixels.
        ValueError: statistics without second moments, or what `RescaledModel` refuses.

    Example:
        >>> from mixreg import Beta
        >>> x, y = torch.randn(40, 16), torch.arange(40) % 3
        >>> stats = TrainingStatistics.from_tensors(x, y, 3, second_moments="components")
        >>> model = PowerMatchedModel(nn.Linear(16, 3), stats, Beta(1.0))
        >>> model(x).shape
        torch.Size([40, 3])
    """

    def __init__(
        self,
        net: nn.Module,
        stats: TrainingStatistics,
        law: MixingLaw | Recipe,
        link: Link = "softmax",
    ) -> None:
        input_law = law.input_law if isinstance(law, Recipe) else law
        matching = PowerMatching(stats, input_law)
        super().__init__(nn.Sequential(matching, net), stats, law, link)
