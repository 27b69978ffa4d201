"""Other libraries' mixing as laws: what to shrink inputs by, and what to divide outputs by."""

from mixreg.recipes.boxes import CutMix
from mixreg.recipes.estimate import EstimatedLaw, estimate_law
from mixreg.recipes.libraries import (
    from_composer,
    from_fastai,
    from_keras,
    from_kornia,
    from_mixup_cifar10,
    from_timm,
    from_torch_uncertainty,
    from_torchvision,
)
from mixreg.recipes.recipe import PixelLaw, Recipe, recipe_from_dict, scheduled

__all__ = [
    "CutMix",
    "EstimatedLaw",
    "PixelLaw",
    "Recipe",
    "estimate_law",
    "from_composer",
    "from_fastai",
    "from_keras",
    "from_kornia",
    "from_mixup_cifar10",
    "from_timm",
    "from_torch_uncertainty",
    "from_torchvision",
    "recipe_from_dict",
    "scheduled",
]
