"""torchvision: `v2.MixUp`, `v2.CutMix`, and `v2.RandomChoice` or `v2.RandomApply` of them."""

from typing import Any

from mixreg._errors import ConfigurationError
from mixreg.laws import Beta, MixingLaw
from mixreg.recipes.boxes import CutMix
from mixreg.recipes.recipe import UNMIXED, Recipe, switch

Parts = list[tuple[float, MixingLaw | CutMix]]


def from_torchvision(transform: Any, *, image_size: tuple[int, int] | None = None) -> Recipe:
    """The recipe of a training with torchvision's transforms of batches.

    Args:
        transform: `MixUp`, `CutMix`, or `RandomChoice` or `RandomApply` of such.
        image_size: (H, W), which boxes need.

    Returns:
        The recipe.

    Raises:
        ConfigurationError: another transform, or boxes without an image size.

    Source: torchvision 0.29, `torchvision/transforms/v2/_augment.py` and `_container.py`.
    """
    return switch(_parts(transform, 1.0, image_size))


def _parts(transform: Any, chance: float, image_size: tuple[int, int] | None) -> Parts:
    match type(transform).__name__:
        case "MixUp":
            return [(chance, Beta(transform.alpha))]
        case "CutMix":
            if image_size is None:
                raise ConfigurationError(
                    "CutMix shrinks every pixel by an amount of its own: give image_size=(H, W), "
                    "the size the network was trained at"
                )
            boxes = CutMix(*image_size, alpha=transform.alpha, rounding="torchvision")
            return [(chance, boxes)]
        case "Identity":
            return [(chance, UNMIXED)]
        case "RandomChoice":
            total = sum(transform.p)
            choices = zip(transform.p, transform.transforms, strict=True)
            return [
                part
                for p, inner in choices
                for part in _parts(inner, chance * p / total, image_size)
            ]
        case "RandomApply" if len(transform.transforms) == 1:
            applied = _parts(transform.transforms[0], chance * transform.p, image_size)
            return [*applied, (chance * (1 - transform.p), UNMIXED)]
    raise ConfigurationError(
        "expected torchvision's v2.MixUp or v2.CutMix, or RandomChoice or RandomApply of one of "
        f"them, got {type(transform).__name__}; measure it with mixreg.estimate_law"
    )
