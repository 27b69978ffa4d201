"""timm: a `Mixup` object, its arguments, or the settings that timm's training script leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixreg._errors import ConfigurationError, require, unknown_name
from mixreg.laws import Beta, MixingLaw
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
        return Recipe(
            recipe.input_law, recipe.label_law, recipe.label_smoothing, (*recipe.notes, note), ended
        )
    return recipe


def _recipe(arguments: Mapping[str, Any], image_size: tuple[int, int] | None) -> Recipe:
    mixup_alpha, cutmix_alpha = arguments["mixup_alpha"], arguments["cutmix_alpha"]
    minmax = arguments["cutmix_minmax"]
    notes = []
    parts: list[tuple[float, MixingLaw | CutMix]] = []
    boxes = cutmix_alpha > 0 or minmax is not None
    if boxes:
        if image_size is None:
            raise ConfigurationError(
                "CutMix shrinks every pixel by an amount of its own: give image_size=(H, W), the "
                "size the network was trained at"
            )
        parts.append(
            (
                1.0,
                CutMix(
                    *image_size,
                    alpha=1.0 if minmax else cutmix_alpha,
                    corrected=arguments["correct_lam"],
                    minmax=None if minmax is None else tuple(minmax),
                ),
            )
        )
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
