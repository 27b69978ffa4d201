"""What other programs leave behind: a network, and what they say of its training and its images."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mixreg._errors import CheckpointError, ConfigurationError, require
from mixreg._lazy import is_function
from mixreg.data import Dataset, Preprocessing, is_image_folder, is_own
from mixreg.models import huggingface
from mixreg.recipes import Recipe, from_timm
from mixreg.recipes.libraries import is_script, read_script
from mixreg.training.weights import Stored, read_weights

_BEST = ("model_best.pth.tar", "last.pth.tar")
_FETCHES = {"pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"}


@dataclass(frozen=True, eq=False)
class Origin:
    """A network from elsewhere.

    Args:
        stored: its weights, None for those that are built in.
        settings: those of a run that are known.
        build: makes the network for the data, None for the model of the settings.
        images: how its inputs were made of images, None where it is not known.
        recipe: of its training, None where it is not known.
        notes: what was assumed.
    """

    stored: Stored | None
    settings: Mapping[str, Any]
    build: Callable[[Dataset], nn.Module] | None = None
    images: Preprocessing | None = None
    recipe: Recipe | None = None
    notes: tuple[str, ...] = ()

    def settings_for(self, data: str | None) -> dict[str, Any]:
        """Those of a run on these data: a user's own images become inputs as in its training."""
        settings = dict(self.settings)
        order = settings.pop("class_order", None)
        if data is None or not is_own(data) or is_function(data):
            return settings
        if is_image_folder(data):
            settings["class_order"] = order
        if self.images is not None:
            stated = dataclasses.asdict(self.images)
            settings |= {k: list(v) if isinstance(v, tuple) else v for k, v in stated.items()}
        return settings


def find_origin(path: Path) -> Origin | None:
    """What a folder or file from elsewhere holds; None for the folder of a run."""
    if path.is_file():
        stored = read_weights(path)
        args = stored.arguments
        is_timm = args is not None and is_script(args)
        return _timm(stored, args, f"{path}: args") if is_timm else Origin(stored, {})
    if (path / "args.yaml").is_file():
        file = next((path / name for name in _BEST if (path / name).is_file()), None)
        if file is None:
            raise CheckpointError(f"{path} has an args.yaml and neither {' nor '.join(_BEST)}")
        settings = read_script(path / "args.yaml")
        return _timm(read_weights(file), settings, str(path / "args.yaml"))
    if path.is_dir() and huggingface.is_classifier(path):
        return _huggingface(path)
    return None


def _timm(stored: Stored, args: Any, source: str) -> Origin:
    """What the settings of timm's training script say; its checkpoints hold them as well."""
    timm = require("timm", extra="timm", purpose=source, error=ConfigurationError)
    if args.get("class_map"):
        raise ConfigurationError(
            f"{source} numbers the classes by the file {args['class_map']}; only the order of the "
            "class folders is understood"
        )
    sizes = {"in_chans": args.get("in_chans"), "global_pool": args.get("gp")}
    own = args.get("model_kwargs") or {}
    if not isinstance(args["model"], str) or ":" in args["model"]:
        raise ConfigurationError(f"{source} names no network of timm's own, but {args['model']!r}")
    if not isinstance(own, Mapping) or (_FETCHES & {*own}):
        raise ConfigurationError(
            f"{source} has model_kwargs that are none, or that fetch weights from elsewhere: {own}"
        )
    options = {k: v for k, v in sizes.items() if v is not None} | dict(own)

    def build(data: Dataset) -> nn.Module:
        wanted = args.get("num_classes")
        if wanted not in (None, data.num_classes):
            raise CheckpointError(
                f"{source} says {wanted} classes, and {data.name} has {data.num_classes}"
            )
        net: nn.Module = timm.create_model(args["model"], num_classes=data.num_classes, **options)
        return net

    try:
        bare = timm.create_model(args["model"], **options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigurationError(f"{source}: timm makes no {args['model']}: {error}") from error
    try:
        config = timm.data.resolve_data_config(dict(args), model=bare)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigurationError(f"{source} gives no size and normalisation of images") from error
    (channels, *size), mode = config["input_size"], config["crop_mode"]
    if channels != 3 or mode not in ("center", "squash") or len({*size}) > 1:
        raise ConfigurationError(
            f"{source}: images of {channels} channels and size {size}, crop mode {mode}; expected "
            "3 channels, a square and center or squash"
        )
    scaled = int(size[0] / config["crop_pct"])
    chosen = Preprocessing(
        tuple(size),
        (scaled,) if mode == "center" else (scaled, scaled),
        config["interpolation"],
        tuple(config["mean"]),
        tuple(config["std"]),
    )
    try:
        recipe = from_timm(dict(args), image_size=(size[0], size[1]))
    except (TypeError, ValueError, IndexError) as error:
        raise ConfigurationError(f"{source} says of no mixing what timm knows: {error}") from error
    mixes = recipe.label_law.theta_mean < 1
    settings = {
        "model": f"timm/{args['model']}",
        "alpha": args.get("mixup") or args.get("cutmix") or 1.0,
        "method": "mixup" if mixes else "label-smoothing" if recipe.label_smoothing else "erm",
        "class_order": "timm",
    }
    law = (
        f"By {source} mixing shrank labels by 1 − θ̄ = {recipe.label_law.shrinkage:.4g}, and they "
        f"were smoothed by {recipe.label_smoothing:g}."
    )
    notes = (law, *(f"{note[0].upper()}{note[1:]}." for note in recipe.notes))
    return Origin(stored, settings, build, chosen, recipe, notes)


def _huggingface(folder: Path) -> Origin:
    """The image classifier in a folder of Hugging Face."""
    net = huggingface.load(folder)
    names = huggingface.class_names(net)

    def build(data: Dataset) -> nn.Module:
        if len(names) != data.num_classes:
            raise CheckpointError(
                f"{folder} has {len(names)} classes, and {data.name} has {data.num_classes}"
            )
        if names != data.class_names and {*names} == {*data.class_names}:
            raise CheckpointError(
                f"{folder} numbers the classes {', '.join(names[:5])}, and {data.name} "
                f"{', '.join(data.class_names[:5])}"
            )
        return net

    listed = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    note = f"The classes {listed} of {folder.name} were taken to be those of the data in order."
    settings = {"model": f"hf:{folder}", "class_order": "torchvision"}
    return Origin(None, settings, build, huggingface.preprocessing(folder), notes=(note,))
