"""Networks from elsewhere: what is said of their training and images, and how plausible it is."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixreg._errors import CheckpointError, ConfigurationError, require
from mixreg._lazy import is_function
from mixreg.data import Dataset, Normalisation, Preprocessing, is_image_folder, is_own
from mixreg.models import huggingface
from mixreg.recipes import Recipe, from_timm
from mixreg.recipes.libraries import is_script, read_script
from mixreg.training import TrainedClassifier
from mixreg.training.weights import Stored, read_weights

_BEST = ("model_best.pth.tar", "last.pth.tar")
_FETCHES = {"pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"}


@dataclass(frozen=True, eq=False)
class Origin:
    """A network from elsewhere, what is known of it, and what was assumed."""

    stored: Stored | None  # weights that are not built in
    settings: Mapping[str, Any]  # those of a run
    build: Callable[[Dataset], nn.Module] | None = None  # where the settings name no model
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


# -- how inputs were normalised, and whether that is plausible -------------------------------------

_USUAL = (
    ((0.0,), (1.0,)),
    ((0.5,), (0.5,)),
    ((0.0,), (1 / 255,)),
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
"""Means and deviations by which other programs normalise images: to [0, 1], to [−1, 1], not at all,
and as torchvision does for ImageNet."""

_SAMPLES, _MARGIN, _ERRORS = 2000, 0.05, 3
"""A training accuracy, of about so many examples, is not plausible where it lies more than the
margin below the test accuracy, or not so many standard errors above what the most frequent class
alone gives, or more than so many below what another usual normalisation gives."""


class Renormalised(nn.Module):
    """A network that was trained on inputs of another normalisation than the data set's own."""

    def __init__(
        self, net: nn.Module, ours: Normalisation, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        n = len(ours.mean)
        is_finite = all(map(math.isfinite, (*mean, *std)))
        if {len(mean), len(std)} - {1, n} or not is_finite or min(std) <= 0:
            raise ConfigurationError(
                f"--mean and --std need one finite number each or {n}, deviations above 0, got "
                f"{_listed(mean)} and {_listed(std)}"
            )
        self.net, self.constants = net, (tuple(mean), tuple(std))
        own_mean, own_std, other_mean, other_std = (
            torch.tensor(values, dtype=torch.float64).expand(n).reshape(n, 1, 1)
            for values in (ours.mean, ours.std, mean, std)
        )
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", (own_std / other_std).float())
        self.register_buffer("offset", ((own_mean - other_mean) / other_std).float())

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.net(x * self.scale + self.offset)
        return outputs


def renormalised(
    trained: TrainedClassifier, mean: Sequence[float], std: Sequence[float]
) -> TrainedClassifier:
    """The classifier behind images of this mean and deviation, in units of the largest pixel."""
    ours = trained.data.normalisation
    if ours is None:
        raise ConfigurationError(
            f"--mean and --std are for images, and {trained.data.name} holds features"
        )
    return dataclasses.replace(trained, net=Renormalised(trained.net, ours, mean, std).eval())


def assumptions(trained: TrainedClassifier, test_accuracy: float = 0.0) -> Iterator[str]:
    """What was assumed of a file of weights, and what makes its training accuracy implausible."""
    yield from trained.data.notes
    if trained.run is not None:
        return
    yield from trained.notes
    ours, net, others = trained.data.normalisation, trained.net, []
    if ours is not None:
        inner = net.net if isinstance(net, Renormalised) else net
        own = (tuple(ours.mean), tuple(ours.std))
        used = net.constants if isinstance(net, Renormalised) else own
        usual = [(m, s) for m, s in (own, *_USUAL) if len(m) in {1, len(own[0])} and (m, s) != used]
        others = [Renormalised(inner, ours, *constants) for constants in usual]
        if not trained.config.mean:
            said = "the data set's own" if used == own else "as given"
            yield f"The inputs were normalised with {_options(*used)}, {said}."
    every = max(1, trained.data.size("train") // _SAMPLES)
    batches = trained.data.batches("train", 500, world_size=every)
    (accuracy, *accuracies), labels = _accuracies([net, *others], batches)
    n, common = len(labels), float(labels.bincount().max()) / len(labels)
    error = _ERRORS * (0.25 / n) ** 0.5
    doubt = f"On {n} training examples the accuracy is {accuracy:.4f}, which is not plausible:"
    wrong = "are model, classes and normalisation (--mean, --std) those of its training?"
    if accuracy <= common + error:
        yield f"{doubt} the most frequent class alone gives {common:.4f}; {wrong}"
    elif accuracy < test_accuracy - _MARGIN:
        yield f"{doubt} on the test examples it is {test_accuracy:.4f}; {wrong}"
    best = max(accuracies, default=0.0)
    if best > accuracy + error:
        better = others[accuracies.index(best)].constants
        yield f"{doubt} it is {best:.4f} with {_options(*better)}."


@torch.inference_mode()
def _accuracies(
    nets: Sequence[nn.Module], batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[list[float], Tensor]:
    """The accuracy of each network on the same batches, one at a time in memory, and the labels."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nets = [net.to(device).eval() for net in nets]
    hits, labels = [0] * len(nets), []
    for x, y in batches:
        for k, net in enumerate(nets):
            u = net(x.to(device)).reshape(len(x), -1).cpu()
            classes = (u[:, 0] > 0).long() if u.shape[1] == 1 else u.argmax(1)
            hits[k] += int((classes == y).sum())
        labels.append(y)
    every = torch.cat(labels)
    return [hit / len(every) for hit in hits], every


def _options(mean: Sequence[float], std: Sequence[float]) -> str:
    return f"--mean {_listed(mean)} --std {_listed(std)}"


def _listed(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
