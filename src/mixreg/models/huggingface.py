"""Image classifiers in a folder of Hugging Face: config.json and model.safetensors, offline."""

import json
import math
from pathlib import Path
from typing import Any

from torch import nn

from mixreg._errors import CheckpointError, ConfigurationError, require
from mixreg.data.augmentation import Preprocessing

_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers


def is_classifier(folder: Path) -> bool:
    """Whether a folder holds the configuration of a Hugging Face network."""
    try:
        return "model_type" in _read(folder / "config.json")
    except (OSError, ConfigurationError):
        return False


def build(folder: Path, num_outputs: int) -> nn.Module:
    """The untrained network of a configuration, whose outputs are the logits."""
    auto = _transformers(folder)
    try:
        config = auto.AutoConfig.from_pretrained(
            folder, num_labels=num_outputs, local_files_only=True, trust_remote_code=False
        )
        net = auto.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unfit(folder, error) from error
    return _with_logits(net)


def load(folder: Path) -> nn.Module:
    """The trained network in a folder, whose outputs are the logits; code in it is not run."""
    if not (folder / "model.safetensors").is_file():
        raise CheckpointError(f"{folder} has no model.safetensors; save it with save_pretrained")
    try:
        net, loaded = _transformers(folder).AutoModelForImageClassification.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unfit(folder, error) from error
    if absent := sorted(loaded["missing_keys"]):
        raise CheckpointError(
            f"{folder} lacks {len(absent)} weights of its network, which would be random: "
            f"{', '.join(absent[:3])}{', ...' * (len(absent) > 3)}"
        )
    return _with_logits(net)


def class_names(net: Any) -> tuple[str, ...]:
    """Names of the classes in the order of the logits."""
    names = net.config.id2label
    return tuple(str(names[k]) for k in sorted(names))


def preprocessing(folder: Path) -> Preprocessing | None:
    """What preprocessor_config.json says of images, None if there is none."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return None
    settings = _read(file)
    if not math.isclose(settings.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-3):
        raise ConfigurationError(f"{file} scales pixels by {settings['rescale_factor']}, not 1/255")
    size = _sides(settings.get("size"))
    crop = _sides(settings.get("crop_size")) if settings.get("do_center_crop") else ()
    if (share := settings.get("crop_pct")) and len(size) == 1:  # ConvNeXt: squashed from 384 on
        crop, size = size * 2, (int(size[0] / share),) if size[0] < 384 else size * 2
    crop = crop or (size if len(size) == 2 else ())
    if not crop or not settings.get("do_resize", True):
        raise ConfigurationError(
            f"{file} gives images of no fixed size, got {settings.get('size')}"
        )
    normalised = settings.get("do_normalize", True)
    return Preprocessing(
        crop,
        size,
        _RESAMPLING[settings.get("resample", 2)],
        tuple(settings["image_mean"]) if normalised else (0.0,),
        tuple(settings["image_std"]) if normalised else (1.0,),
    )


def _sides(size: Any) -> tuple[int, ...]:
    """The shorter side, or height and width; none where they are given otherwise."""
    match size:
        case int():
            return (size, size)
        case {"height": height, "width": width}:
            return (height, width)
        case {"shortest_edge": side, **others} if not others:
            return (side,)
    return ()


def _with_logits(net: Any) -> nn.Module:
    net.register_forward_hook(_logits)
    module: nn.Module = net
    return module


def _logits(_net: object, _inputs: object, outputs: Any) -> Any:
    return outputs.logits if hasattr(outputs, "logits") else outputs


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file} is damaged: {error}") from error
    return values if isinstance(values, dict) else {}


def _transformers(folder: Path) -> Any:
    return require(
        "transformers",
        extra="huggingface",
        purpose=f"the network in {folder}",
        error=ConfigurationError,
    )


def _unfit(folder: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:300]
    return CheckpointError(f"{folder} holds no image classifier of Hugging Face: {reason}")
