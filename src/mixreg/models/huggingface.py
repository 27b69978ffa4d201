"""Image classifiers in a folder of Hugging Face: config.json and model.safetensors, offline."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from torch import nn

from mixreg._errors import CheckpointError, ConfigurationError, require
from mixreg.data.augmentation import Preprocessing

_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers

T = TypeVar("T")


@dataclass(frozen=True)
class _Processor:
    """What is used of preprocessor_config.json, whose entries may be null."""

    rescale_factor: float | None = None
    size: int | dict[str, int | None] | None = None
    crop_size: int | dict[str, int | None] | None = None
    do_center_crop: bool | None = None
    do_resize: bool | None = True
    do_normalize: bool | None = True
    crop_pct: float | None = None
    resample: Annotated[int, msgspec.Meta(ge=0, lt=len(_RESAMPLING))] | None = None
    image_mean: list[float] | float | None = None
    image_std: list[float] | float | None = None


def is_classifier(folder: Path) -> bool:
    """Whether a folder holds the configuration of a Hugging Face network."""
    try:
        return "model_type" in _read(folder / "config.json", dict[str, Any])
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
    except Exception as error:  # whatever a setting of another type brings about
        raise _unfit(folder, error) from error
    return _with_logits(net)


def load(folder: Path) -> nn.Module:
    """The trained network in a folder, whose outputs are the logits; code in it is not run."""
    if not (folder / "model.safetensors").is_file():
        raise CheckpointError(f"{folder} has no model.safetensors; save it with save_pretrained")
    auto = _transformers(folder)
    try:
        net, loaded = auto.AutoModelForImageClassification.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # as above
        raise _unfit(folder, error) from error
    if absent := sorted(loaded["missing_keys"]):
        raise CheckpointError(
            f"{folder} lacks {len(absent)} weights of its network, which would be random: "
            f"{', '.join(absent[:3])}{', ...' * (len(absent) > 3)}"
        )
    return _with_logits(net)


def class_names(net: Any) -> tuple[str, ...]:
    """Names of the classes in the order of the logits."""
    names: dict[int, str] = net.config.id2label
    return tuple(str(names[k]) for k in sorted(names))


def preprocessing(folder: Path) -> Preprocessing | None:
    """What preprocessor_config.json says of images, None if there is none."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return None
    settings = _read(file, _Processor)
    scale = settings.rescale_factor
    if scale is not None and not math.isclose(scale, 1 / 255, rel_tol=1e-3):
        raise ConfigurationError(f"{file} scales pixels by {scale}, not 1/255")
    size = _sides(settings.size)
    crop = _sides(settings.crop_size) if settings.do_center_crop else ()
    if (share := settings.crop_pct) and len(size) == 1:  # ConvNeXt: squashed from 384 on
        crop, size = size * 2, (int(size[0] / share),) if size[0] < 384 else size * 2
    crop = crop or (size if len(size) == 2 else ())
    if not crop or not settings.do_resize:
        raise ConfigurationError(f"{file} gives images of no fixed size, got {settings.size}")
    mean, std = settings.image_mean, settings.image_std
    if not settings.do_normalize:
        mean, std = 0.0, 1.0
    if mean is None or std is None:
        raise ConfigurationError(f"{file} normalises images and lacks image_mean or image_std")
    resample = _RESAMPLING[2 if settings.resample is None else settings.resample]
    return Preprocessing(crop, size, resample, _numbers(mean), _numbers(std))


def _numbers(values: list[float] | float) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, list) else (values,)


def _sides(size: object) -> tuple[int, ...]:
    """The shorter side, or height and width; none where they are given otherwise."""
    match size:
        case int():
            return (size, size)
        case {"height": int(height), "width": int(width)}:
            return (height, width)
        case {"shortest_edge": int(side), **others} if not others:
            return (side,)
    return ()


def _with_logits(net: Any) -> nn.Module:
    net.register_forward_hook(_logits)
    module: nn.Module = net
    return module


def _logits(_net: object, _inputs: object, outputs: Any) -> Any:
    return outputs.logits if hasattr(outputs, "logits") else outputs


def _read(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file} is damaged: {error}") from error


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
