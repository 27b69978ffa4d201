"""The settings of every command, typed and checked; reading them needs no PyTorch."""

import dataclasses
import math
import shlex
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mixreg._errors import ConfigurationError, unknown_name

if TYPE_CHECKING:
    from mixreg.laws import MixingLaw

_OPERATIONAL = frozenset(
    {
        "data_root",
        "download",
        "output",
        "snapshots",
        "loggers",
        "progress",
        "accelerator",
        "workers",
    }
)
_LONGEST = 1000
"""Entries of the longest list of settings."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that a training and a comparison share.

    Args:
        data: name of the data set.
        data_root: folder of the data sets; by default $MIXREG_DATA, else ./data.
        download: fetch a missing data set with torchvision's official downloader.
        validation_fraction: part of the training set held out, on which temperatures are fitted.
        training_fraction: part of the remaining training set that is used, the same of each class.
        label_noise: part of the training labels replaced by other classes; by default the data
            set's own (0.2 for two-moons, else 0).
        augment: crop and flip training images at random, where that is usual for the data set.
        model: name of the model.
        loss: "cross_entropy", or "logistic" for one logit and two classes.
        alpha: shape α of the law Beta(α, α) of λ.
        mixing_probability: chance that a sample (or batch) is mixed at all.
        per: one λ per "sample" or per "batch".
        smoothing: ε of label smoothing towards the class means; by default 1 − θ̄, which is what
            mixup with this α amounts to.
        dropout: probability of the method "dropout".
        directions: 1 or 2 tangent directions a sample for the method "approximate".
        second_order: keep the term R2 in the method "approximate", for smooth networks.
        epochs: passes over the training set.
        batch_size: samples per step, over all devices.
        learning_rate: step size of SGD.
        momentum: momentum of SGD.
        nesterov: Nesterov's form of momentum.
        weight_decay: coefficient of the L2 penalty.
        milestones: epochs after which the step size is multiplied by `decay`.
        decay: factor at each milestone.
        precision: Lightning's precision setting, such as "32-true" or "bf16-mixed".
        accelerator: Lightning's accelerator, such as "cpu", "gpu" or "auto".
        devices: number of data-parallel processes.
        workers: data-loading processes for data sets that stream from disk.
        loggers: where Lightning logs each epoch: "csv", "tensorboard", both or none.
        progress: show a progress bar.

    Raises:
        ConfigurationError: a value is of another type, or out of range.
    """

    data: str = "digits"
    data_root: Path | None = None
    download: bool = False
    validation_fraction: float = 0.1
    training_fraction: float = 1.0
    label_noise: float | None = None
    augment: bool = True
    model: str = "mlp"
    loss: Literal["cross_entropy", "logistic"] = "cross_entropy"
    alpha: float = 1.0
    mixing_probability: float = 1.0
    per: Literal["sample", "batch"] = "sample"
    smoothing: float | None = None
    dropout: float = 0.5
    directions: Literal[1, 2] = 1
    second_order: bool = False
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    milestones: list[int] = dataclasses.field(default_factory=list)
    decay: float = 0.1
    precision: str = "32-true"
    accelerator: str = "cpu"
    devices: int = 1
    workers: int = 2
    loggers: list[Literal["csv", "tensorboard"]] = dataclasses.field(default_factory=list)
    progress: bool = True

    def __post_init__(self) -> None:
        from mixreg.data import DATASETS
        from mixreg.models import MODELS

        check_types(self)
        if self.data not in DATASETS:
            raise ConfigurationError(str(unknown_name("data set", self.data, DATASETS)))
        if self.model not in MODELS and not self.model.startswith(("torchvision/", "timm/")):
            known = (*MODELS, "torchvision/NAME", "timm/NAME")
            raise ConfigurationError(str(unknown_name("model", self.model, known)))
        for name, valid, meaning in (
            ("alpha", math.isfinite(self.alpha) and self.alpha > 0, "a positive finite number"),
            ("mixing_probability", 0 <= self.mixing_probability <= 1, "in [0, 1]"),
            ("label_noise", self.label_noise is None or 0 <= self.label_noise <= 1, "in [0, 1]"),
            ("smoothing", self.smoothing is None or 0 <= self.smoothing < 1, "in [0, 1)"),
            ("dropout", 0 <= self.dropout < 1, "in [0, 1)"),
            ("validation_fraction", 0 <= self.validation_fraction < 1, "in [0, 1)"),
            ("training_fraction", 0 < self.training_fraction <= 1, "in (0, 1]"),
            ("epochs", 1 <= self.epochs <= 10**6, "at least 1 and at most a million"),
            ("batch_size", 1 <= self.batch_size < 2**31, "at least 1 and below 2^31"),
            ("learning_rate", self.learning_rate > 0, "positive"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("momentum", self.momentum > 0 or not self.nesterov, "positive for nesterov"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("milestones", all(m >= 1 for m in self.milestones), "epochs of at least 1"),
            ("decay", 0 <= self.decay <= 1, "in [0, 1]"),
            ("devices", 1 <= self.devices <= 10**4, "at least 1 and at most 10,000"),
            ("workers", 0 <= self.workers <= 10**4, "at least 0 and at most 10,000"),
            ("batch_size", self.batch_size % max(self.devices, 1) == 0, "a multiple of devices"),
        ):
            if not valid:
                raise ConfigurationError(f"{name} must be {meaning}, got {getattr(self, name)}")
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigurationError(f"{name} must be finite, got {value}")

    @property
    def law(self) -> "MixingLaw":
        """The law of λ."""
        from mixreg.laws import Beta

        return Beta(self.alpha).with_probability(self.mixing_probability)

    @property
    def link(self) -> Literal["softmax", "sigmoid"]:
        """How outputs are read: class logits, or one logit."""
        return "softmax" if self.loss == "cross_entropy" else "sigmoid"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Recipe):
    """One training run.

    Args:
        method: how to train: "erm", "mixup", "modified" (equation 20), "label-smoothing",
            "dropout", "spectral" (weights of spectral norm 1), "mit-l" (outputs of two mixes taken
            apart: Wang et al., CVPR 2023), "approximate" (equation 12); or with a part of mixup's
            perturbations (6): "inputs-only", "labels-only", "independent", "gaussian".
        seed: seed of everything random: split, initial weights, order, augmentation, mixing.
        snapshots: epochs after which the weights are kept, beside those at the end.
        output: the run's directory; by default one named after the settings under ./mixreg-runs.

    Raises:
        ConfigurationError: a value is out of range, or the method is unknown.
    """

    method: str = "mixup"
    seed: int = 0
    snapshots: list[int] = dataclasses.field(default_factory=list)
    output: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_method(self.method)
        if not all(1 <= epoch <= self.epochs for epoch in self.snapshots):
            raise ConfigurationError(
                f"snapshots must be epochs from 1 to {self.epochs}, got {self.snapshots}"
            )
        if not 0 <= self.seed < 2**63:
            raise ConfigurationError(f"seed must be at least 0 and below 2^63, got {self.seed}")

    @property
    def directory(self) -> Path:
        """Where the run lives."""
        if self.output is not None:
            return self.output
        law = f"alpha{self.alpha:g}"
        parts = (self.data, self.model, self.method, law, f"seed{self.seed}")
        return Path("mixreg-runs") / "-".join(parts).replace("/", "_")

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result, JSON-safe; two runs with equal ones are the same.

        Returns:
            All settings but those that only say where files lie or what is shown.
        """
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in _OPERATIONAL}


def check_method(method: str) -> None:
    """Refuse an unknown training method."""
    from mixreg.training.methods import METHODS

    if method not in METHODS:
        raise ConfigurationError(str(unknown_name("method", method, METHODS)))


def command_of(settings: Mapping[str, Any], output: Path) -> str:
    """The command line of a run, with the settings that are not the default ones."""
    known = {field.name: field for field in dataclasses.fields(TrainConfig)}
    words = ["mixreg train"]
    for name, value in settings.items():
        if name in known and value != _default(known[name]):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join([*words, f"--output {shlex.quote(str(output))}"])


def check_types(settings: Any) -> None:
    """Refuse values of other types than the annotations say; integers pass as numbers."""
    for name, hint in typing.get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        try:
            value = msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{name} must be {spelled(hint)}, got {value!r}") from error
        if isinstance(value, Path) and "\0" in str(value):
            raise ConfigurationError(f"{name} must be a path without NUL, got {str(value)!r}")
        if isinstance(value, list) and len(value) > _LONGEST:
            raise ConfigurationError(f"{name} must have at most {_LONGEST} entries")
        object.__setattr__(settings, name, value)


def spelled(hint: Any) -> str:
    """What values of an annotation are, in words."""
    arguments = [a for a in typing.get_args(hint) if a is not NoneType]
    if typing.get_origin(hint) is list:
        return f"a list whose entries are {spelled(arguments[0])}"
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, arguments))
    if arguments:
        return spelled(arguments[0])
    words = {float: "a number", int: "an integer", bool: "true or false", str: "text"}
    return words.get(hint, f"a {hint.__name__}")


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
