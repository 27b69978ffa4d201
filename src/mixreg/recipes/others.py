"""Libraries with one law: torch-uncertainty, fastai, kornia, Composer, Keras, and a script."""

from collections.abc import Mapping
from typing import Any

from mixreg._errors import ConfigurationError
from mixreg.laws import Beta, Uniform
from mixreg.recipes.boxes import CutMix
from mixreg.recipes.recipe import UNMIXED, Recipe, switch
from mixreg.recipes.timm import from_timm


def from_torch_uncertainty(transform: Any, *, image_size: tuple[int, int] | None = None) -> Recipe:
    """The recipe of a training with torch-uncertainty.

    `MixupIO` mixes inputs alone; each example keeps the label of its larger part. `RegMixup` and
    `MixupMP` add the unmixed batch. `build_mixup("timm", …)` smooths labels by timm's 0.1.

    Args:
        transform: `Mixup`, `MixupIO`, `RegMixup` or `MixupMP`, or what `build_mixup` returned.
        image_size: (H, W), which boxes of a timm `Mixup` need.

    Returns:
        The recipe.

    Raises:
        ConfigurationError: another transform; warped weights depend on the examples.

    Source: torch-uncertainty 0.13, `transforms/mixup.py`.
    """
    name = type(transform).__name__
    if hasattr(transform, "mix_prob"):
        return from_timm(transform, image_size=image_size)
    match name:
        case "Mixup":
            return switch([(1.0, Beta(transform.alpha))])
        case "MixupIO":
            return Recipe(Beta(transform.alpha), UNMIXED)
        case "RegMixup":
            return switch([(1.0, Beta(transform.alpha))], 0.5)
        case "MixupMP":
            ratio = transform.mixup_ratio
            note = "with MixupMPLoss, which weights mixed and unmixed examples alike, use ratio 1"
            return switch(
                [(1.0, Beta(transform.alpha))], ratio / (1 + ratio), notes=[note] * (ratio != 1)
            )
        case "WarpingMixup":
            raise ConfigurationError(
                "WarpingMixup's weights depend on the distance of the examples, which the theory "
                "does not cover; measure the average with mixreg.estimate_law"
            )
    raise ConfigurationError(f"expected a mixup of torch-uncertainty, got {name}")


def from_fastai(callback: Any, *, image_size: tuple[int, int] | None = None) -> Recipe:
    """The recipe of a training with fastai's `MixUp` or `CutMix` callback.

    Args:
        callback: the callback.
        image_size: (H, W), which boxes need.

    Returns:
        The recipe.

    Raises:
        ConfigurationError: another callback, or boxes without an image size.

    Source: fastai 2.8, `fastai/callback/mixup.py`.
    """
    match type(callback).__name__:
        case "MixUp":
            return switch([(1.0, Beta(float(callback.distrib.concentration1)))])
        case "CutMix" if image_size is not None:
            alpha = float(callback.distrib.concentration1)
            return switch([(1.0, CutMix(*image_size, alpha=alpha, rounding="fastai"))])
        case "CutMix":
            raise ConfigurationError("CutMix needs image_size=(H, W), that of the training")
    raise ConfigurationError(f"expected fastai's MixUp or CutMix, got {type(callback).__name__}")


def from_kornia(transform: Any) -> Recipe:
    """The recipe of a training with kornia's `RandomMixUpV2`, whose weights are uniform.

    Args:
        transform: the transform.

    Returns:
        The recipe.

    Raises:
        ConfigurationError: another transform.

    Source: kornia 0.9, `augmentation/_2d/mix/mixup.py`; before 0.9 its `p` was applied twice.
    """
    if type(transform).__name__ != "RandomMixUpV2":
        raise ConfigurationError(f"expected RandomMixUpV2, got {type(transform).__name__}")
    bounds = transform._param_generator.lambda_val
    low, high = (0.0, 1.0) if bounds is None else (float(edge) for edge in bounds)
    return switch([(1.0, Uniform(low, high))], float(transform.p_batch))


def from_composer(alpha: float = 0.2) -> Recipe:
    """The recipe of Composer's `MixUp(alpha)`, whose weight is min(λ, 1 − λ) for the partner.

    Args:
        alpha: its α; 0 mixes nothing.

    Returns:
        The recipe.

    Source: Composer 0.32, `composer/algorithms/mixup/mixup.py`.

    Example:
        >>> round(from_composer(0.2).label_law.theta_mean, 4)
        0.8988
    """
    return switch([(1.0, Beta(alpha) if alpha else UNMIXED)])


def from_keras(layer: Any) -> Recipe:
    """The recipe of `keras.layers.MixUp`.

    Args:
        layer: the layer, or its configuration (`layer.get_config()`).

    Returns:
        The recipe.

    Raises:
        ConfigurationError: no configuration of that layer.

    Source: Keras 3.15, `preprocessing/image_preprocessing/mix_up.py`.

    Example:
        >>> from_keras({"name": "mix_up", "alpha": 1.0}).label_law.theta_mean
        0.75
    """
    config = layer if isinstance(layer, Mapping) else layer.get_config()
    if "alpha" not in config or "factor" in config:
        raise ConfigurationError(f"expected the configuration of keras.layers.MixUp, got {config}")
    return switch([(1.0, Beta(float(config["alpha"])))])


def from_mixup_cifar10(alpha: float = 1.0) -> Recipe:
    """The recipe of the script of Zhang et al., `train.py --alpha`.

    Args:
        alpha: its α; 0 mixes nothing.

    Returns:
        The recipe.

    Source: facebookresearch/mixup-cifar10, `train.py`.

    Example:
        >>> from_mixup_cifar10(1.0).label_law.theta_mean
        0.75
    """
    return switch([(1.0, Beta(alpha) if alpha > 0 else UNMIXED)])
