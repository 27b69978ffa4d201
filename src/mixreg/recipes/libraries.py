"""Recipes of timm, torchvision, torch-uncertainty, fastai, kornia, Composer, Keras, a script."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixreg._errors import ConfigurationError, require, unknown_name
from mixreg.laws import Beta, MixingLaw, Uniform
from mixreg.recipes.boxes import CutMix
from mixreg.recipes.recipe import UNMIXED, Recipe, switch

_ARGUMENTS: dict[str, Any] = {  # of timm.data.Mixup, with its defaults
    "mixup_alpha": 1.0,
    "cutmix_alpha": 0.0,
    "cutmix_minmax": None,
    "prob": 1.0,
    "switch_prob": 0.5,
    "mode": "batch",
    "correct_lam": True,
    "label_smoothing": 0.1,
    "num_classes": 1000,
    "multi_label": False,
}
_SCRIPT = {  # of timm's train.py: the argument that each setting becomes, and its default there
    "mixup": ("mixup_alpha", 0.0),
    "cutmix": ("cutmix_alpha", 0.0),
    "cutmix_minmax": ("cutmix_minmax", None),
    "mixup_prob": ("prob", 1.0),
    "mixup_switch_prob": ("switch_prob", 0.5),
    "mixup_mode": ("mode", "batch"),
    "smoothing": ("label_smoothing", 0.1),
}


def from_timm(mixing: Any, *, image_size: tuple[int, int] | None = None) -> Recipe:
    """The recipe of a training with timm.

    Args:
        mixing: a `timm.data.Mixup` (or `FastCollateMixup`), a mapping of its arguments, a mapping
            of the settings of timm's training script, or the path of its `args.yaml`.
        image_size: (H, W), which boxes need; by default that of the script's settings.

    Returns:
        The recipe, with notes on what lies outside the theory.

    Raises:
        ConfigurationError: unknown or contradictory settings, or boxes without an image size.

    Source: timm 1.0, `timm/data/mixup.py` and `train.py`.

    Example:
        >>> recipe = from_timm({"mixup_alpha": 0.8, "prob": 0.5, "label_smoothing": 0.1})
        >>> round(recipe.label_law.theta_mean, 4), recipe.label_smoothing
        (0.8859, 0.1)
    """
    if isinstance(mixing, str | Path):
        mixing = read_script(Path(mixing))
    if isinstance(mixing, Mapping):
        if mixing.keys() & {"mixup", "cutmix", "mixup_prob"}:
            return _from_script(mixing, image_size)
        unknown = [name for name in mixing if name not in _ARGUMENTS]
        if unknown:
            raise ConfigurationError(
                str(unknown_name("argument of timm's Mixup", unknown[0], _ARGUMENTS))
            )
        return _recipe(_ARGUMENTS | dict(mixing), image_size)
    try:
        arguments = {
            name: getattr(mixing, name)
            for name in _ARGUMENTS
            if name not in ("prob", "multi_label")
        }
        arguments |= {
            "prob": mixing.mix_prob * bool(mixing.mixup_enabled),
            "multi_label": getattr(mixing, "multi_label", False),
        }
    except AttributeError as error:
        raise ConfigurationError(
            "expected a timm.data.Mixup, its arguments, or the settings of timm's training "
            f"script, got {type(mixing).__name__}"
        ) from error
    return _recipe(arguments, image_size)


def is_script(settings: Mapping[str, Any]) -> bool:
    """Whether settings are those of timm's training script."""
    return settings.keys() >= {"model", "val_split", "smoothing", "mixup_mode", "mixup_prob"}


def read_script(file: Path) -> dict[str, Any]:
    """The settings in the args.yaml of timm's training script; another tool's is refused."""
    yaml = require("yaml", extra="cli", purpose="reading args.yaml", error=ConfigurationError)
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{file} is damaged or no YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(settings, dict) or not is_script(settings):
        held = ", ".join(map(str, settings)) if isinstance(settings, dict) else repr(settings)
        raise ConfigurationError(
            f"{file} is none of timm's training script, which has the settings model, val_split, "
            f"smoothing, mixup_mode and mixup_prob; it has {held[:200]}"
        )
    return settings


def _from_script(settings: Mapping[str, Any], image_size: tuple[int, int] | None) -> Recipe:
    arguments = _ARGUMENTS | {
        name: settings.get(key, default) for key, (name, default) in _SCRIPT.items()
    }
    if image_size is None and settings.get("input_size"):
        image_size = tuple(settings["input_size"][-2:])
    elif image_size is None and settings.get("img_size"):
        image_size = (settings["img_size"],) * 2
    mixes = any(arguments[name] for name in ("mixup_alpha", "cutmix_alpha", "cutmix_minmax"))
    if not mixes:
        return Recipe(UNMIXED, UNMIXED, arguments["label_smoothing"])
    recipe = _recipe(arguments, image_size)
    off, epochs = settings.get("mixup_off_epoch") or 0, settings.get("epochs")
    if off and (epochs is None or off < epochs):
        last = (
            "the last epochs" if epochs is None else f"the last {epochs - off} of {epochs} epochs"
        )
        note = f"mixing was switched off after epoch {off}: in {last} the network saw unmixed data"
        ended = Recipe(UNMIXED, UNMIXED, recipe.label_smoothing)
        return replace(recipe, notes=(*recipe.notes, note), ended_as=ended)
    return recipe


def _recipe(arguments: Mapping[str, Any], image_size: tuple[int, int] | None) -> Recipe:
    mixup_alpha, cutmix_alpha = arguments["mixup_alpha"], arguments["cutmix_alpha"]
    minmax = arguments["cutmix_minmax"]
    notes = []
    parts: list[tuple[float, MixingLaw | CutMix]] = []
    boxes = cutmix_alpha > 0 or minmax is not None
    if boxes:
        cutmix = _boxes(
            image_size,
            alpha=1.0 if minmax else cutmix_alpha,
            corrected=arguments["correct_lam"],
            minmax=None if minmax is None else tuple(minmax),
        )
        parts.append((1.0, cutmix))
        notes.append("CutMix replaces pixels, so its noise is not that of Lemma 1; θ̄ is a map")
    if mixup_alpha > 0:
        share = 1 - arguments["switch_prob"] if boxes else 1.0
        parts = [(arguments["switch_prob"], law) for _, law in parts] + [(share, Beta(mixup_alpha))]
    if not parts:
        raise ConfigurationError(
            "timm's Mixup needs mixup_alpha > 0, cutmix_alpha > 0 or cutmix_minmax"
        )
    if arguments["multi_label"]:
        notes.append("multi-label targets are smoothed towards 1/2: use link='sigmoid'")
    if arguments["mode"] not in {"batch", "pair", "elem", "half"}:
        raise ConfigurationError(
            f"timm's Mixup has the modes batch, pair, elem and half, got {arguments['mode']!r}"
        )
    return switch(parts, arguments["prob"], arguments["label_smoothing"], notes)


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
            boxes = _boxes(image_size, alpha=transform.alpha, rounding="torchvision")
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
        case "CutMix":
            alpha = float(callback.distrib.concentration1)
            return switch([(1.0, _boxes(image_size, alpha=alpha, rounding="fastai"))])
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


def _boxes(image_size: tuple[int, int] | None, **options: Any) -> CutMix:
    if image_size is None:
        raise ConfigurationError(
            "CutMix shrinks every pixel by an amount of its own: give image_size=(H, W), the size "
            "the network was trained at"
        )
    return CutMix(*image_size, **options)
