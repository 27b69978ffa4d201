"""On which data and networks the figures are made, and how large, at each scale."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mixreg.training import recipe


@dataclass(frozen=True)
class Setting:
    """A data set with a network and the way it is trained.

    Args:
        data: name of the data set.
        model: name of the model.
        recipe: further settings of the training, fields of `Recipe`.
        seeds: number of repetitions; repetition k has the seed k for every method.
        alphas: the values of α in figure 4, or None for those of the scale.
    """

    data: str
    model: str
    recipe: Mapping[str, Any]
    seeds: int
    alphas: tuple[float, ...] | None = None

    @property
    def label(self) -> str:
        """Name in tables and pictures."""
        return f"{self.data}, {self.model}"

    @property
    def name(self) -> str:
        """Name of files."""
        return f"{self.data}-{self.model}"


@dataclass(frozen=True, kw_only=True)
class ImageScale:
    """How large figures 2, 3, 4 and 7 are made.

    Args:
        name: name of the scale.
        single: the setting of figures 2, 3 and 7, which have one.
        sweep: the settings of figure 4, one a row.
        ablation: the setting in which parts of mixup are compared with the whole.
        alphas: the values of α in figure 4 where a setting has none of its own; figures 2, 3 and 7
            have α = 1, which is among them.
        costly_seeds: repetitions of methods that take more than one pass a step, and of figure 3.
        snapshots: epochs after which figure 3 evaluates the terms.
        samples: training images that figure 3 takes as the training set of the risks.
    """

    name: str
    single: Setting
    sweep: tuple[Setting, ...]
    ablation: Setting
    alphas: tuple[float, ...]
    costly_seeds: int
    snapshots: tuple[int, ...]
    samples: int


def _setting(data: str, model: str, recipe_name: str | None, seeds: int, **changes: Any) -> Setting:
    settings = {} if recipe_name is None else recipe(recipe_name)
    settings |= changes
    for name in ("data", "model", "alpha"):
        settings.pop(name, None)
    return Setting(data, model, MappingProxyType(settings), seeds)


_SHORT: dict[str, Any] = {"epochs": 30, "milestones": [15]}
_SHORT_RESIDUAL: dict[str, Any] = {
    "epochs": 20,
    "milestones": [10, 16],
    "precision": "bf16-mixed",  # half the time of float32 where the processor has bfloat16
}


def _paper() -> ImageScale:
    return ImageScale(
        name="paper",
        single=_setting("cifar10", "lenet", "cifar-lenet", 10),
        sweep=(
            _setting("cifar10", "resnet34", "cifar-resnet34", 10),
            _setting("cifar100", "resnet34", "cifar-resnet34", 10),
            _setting("imagenet", "resnet50", "imagenet-resnet50", 5),
        ),
        ablation=_setting("cifar10", "lenet", "cifar-lenet", 10),
        alphas=(0.1, 0.2, 0.5, 1.0, 2.0, 4.0),
        costly_seeds=10,
        snapshots=(1, 2, 5, 10, 20, 50, 100, 150, 200),
        samples=2000,
    )


def _cpu() -> ImageScale:
    return ImageScale(
        name="cpu",
        single=_setting("cifar10", "lenet", "cifar-lenet", 5, **_SHORT),
        sweep=(
            *(
                _setting(data, "lenet", "cifar-lenet", 5, **_SHORT)
                for data in ("cifar10", "cifar100", "fashion-mnist")
            ),
            dataclasses.replace(
                _setting("cifar10", "resnet20", "cifar-resnet34", 2, **_SHORT_RESIDUAL),
                alphas=(1.0,),
            ),
        ),
        ablation=_setting("digits", "mlp", None, 10),
        alphas=(0.2, 0.5, 1.0, 2.0),
        costly_seeds=3,
        snapshots=(1, 2, 3, 5, 8, 12, 15, 18, 22, 26, 30),
        samples=500,
    )


def _smoke() -> ImageScale:
    digits = _setting("digits", "mlp", None, 2, epochs=2, batch_size=256)
    return ImageScale(
        name="smoke",
        single=digits,
        sweep=(digits,),
        ablation=digits,
        alphas=(0.5, 1.0),
        costly_seeds=2,
        snapshots=(1, 2),
        samples=40,
    )


SCALES: Mapping[str, ImageScale] = MappingProxyType(
    {scale.name: scale for scale in (_paper(), _cpu(), _smoke())}
)
"""The scales by name: "paper" for GPUs, "cpu" for hours on two cores, "smoke" for seconds.

The paper prints no list of its α and no number of repetitions for its LeNet; both are ours at the
scale "paper". At the scale "cpu" LeNet with 30 epochs, and ResNet-20 with 20 epochs, two seeds and
α = 1 alone, stand in for ResNet-34 with 200, and Fashion-MNIST for ImageNet; the ablation is made
on digits.
"""


def with_seeds(scale: ImageScale, seeds: int) -> ImageScale:
    """A scale with another number of repetitions.

    Args:
        scale: how large.
        seeds: number of repetitions.

    Returns:
        The scale.

    Example:
        >>> with_seeds(SCALES["cpu"], 3).single.seeds
        3
    """
    return dataclasses.replace(
        scale,
        single=dataclasses.replace(scale.single, seeds=seeds),
        sweep=tuple(dataclasses.replace(setting, seeds=seeds) for setting in scale.sweep),
        ablation=dataclasses.replace(scale.ablation, seeds=seeds),
        costly_seeds=min(seeds, scale.costly_seeds),
    )


def settings_of(figure: str, scale: ImageScale) -> tuple[Setting, ...]:
    """The settings that a figure is made in.

    Args:
        figure: "fig2", "fig3", "fig4", "fig7" or "ablation".
        scale: how large.

    Returns:
        The settings, one for each row of figure 4.
    """
    match figure:
        case "fig4":
            return scale.sweep
        case "ablation":
            return (scale.ablation,)
        case _:
            return (scale.single,)
