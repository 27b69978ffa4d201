"""The settings of every command, typed and checked; reading them needs no PyTorch."""

import dataclasses
import math
import shlex
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mixreg._errors import ConfigurationError, unknown_name
from mixreg._lazy import is_function

if TYPE_CHECKING:
    from mixreg.data import Preprocessing
    from mixreg.laws import MixingLaw

_OPERATIONAL = {
    *("data_root", "download", "output", "snapshots"),
    *("loggers", "progress", "accelerator", "workers"),
}
"""Settings that only say where files lie, what is shown and where it is computed."""

DESIGN = ("theta_mean", "gamma_squared")
"""Settings of a law by design, in place of α; runs stored before there were any lack them."""

REPRODUCIBLE = {
    "fig1": "two_moons",
    "fig2": "fig2",
    "fig3": "fig3",
    "fig4": "fig4",
    "fig5": "fig5",
    "fig6": "fig6",
    "fig7": "fig7",
    "fig8": "two_moons",
    "fig9": "two_moons",
    "ablation": "ablation",
    "table1": "table1",
    "table2": "table2",
    "corollary3": "corollary3",
    "map": "map",
    "shift": "shift",
    "claims": "report",
}
"""What can be reproduced, and the module of `mixreg.experiments` that does it."""

SCALES = ("paper", "cpu", "smoke")

_IMAGES = ("fig2", "fig3", "fig4", "fig7", "ablation")
_SHIFT = ("fig5", "fig6", "shift")
"""Figures that share finished runs."""

LONGEST = 1000
"""Entries of the longest list of settings."""


@dataclass(frozen=True, kw_only=True)
class _Typed:
    """Settings whose values are of the annotated types, and whose numbers are finite."""

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self)).items():
            value = getattr(self, name)
            try:
                value = msgspec.convert(value, hint)
            except msgspec.ValidationError as error:
                raise ConfigurationError(
                    f"{name} must be {spelled(hint)}, got {value!r}"
                ) from error
            entries = value if isinstance(value, list) else [value]
            if len(entries) > LONGEST:
                raise ConfigurationError(f"{name} must have at most {LONGEST} entries")
            for entry in entries:
                _check_entry(name, entry)
            object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class _OwnData(_Typed):
    """How a user's own data are read; nothing of it is guessed.

    Args:
        label: column of the labels in a table.
        standardise: scale features to mean 0, deviation 1; those of the training examples.
        image_size: height and width of an input; or one number for both.
        resize: shorter side before the middle is cut out; or height and width.
        interpolation: "bilinear", "bicubic", ...; as torchvision names it.
        mean: of pixels from 0 to 1, to normalise them by; one number, or one for each channel; by
            default the data set's own.
        std: their deviation.
    """

    label: str | None = None
    standardise: bool = False
    image_size: list[int] = dataclasses.field(default_factory=list)
    resize: list[int] = dataclasses.field(default_factory=list)
    interpolation: str | None = None
    mean: list[float] = dataclasses.field(default_factory=list)
    std: list[float] = dataclasses.field(default_factory=list)

    @property
    def preprocessing(self) -> "Preprocessing | None":
        """What is stated of images, None if that is nothing."""
        from mixreg.data import Preprocessing

        stated = Preprocessing(
            tuple(self.image_size),
            tuple(self.resize),
            self.interpolation or "bilinear",
            tuple(self.mean),
            tuple(self.std),
        )
        return None if stated == Preprocessing() else stated


_OWN = tuple(field.name for field in dataclasses.fields(_OwnData))


@dataclass(frozen=True, kw_only=True)
class Recipe(_OwnData):
    """The settings that a training and a comparison share.

    Args:
        data: name of the data set; or a user's own: a folder of class folders, a .csv, .parquet,
            .npz or .npy file, a folder of Hugging Face's `datasets`, or package.module:function.
        data_root: folder of the data sets; by default $MIXREG_DATA, else ./data.
        download: fetch a missing data set with torchvision's official downloader.
        validation_fraction: part of the training set held out, on which temperatures are fitted.
        class_order: whose numbers the class folders of images get: "torchvision" (as sorted, the
            default) or "timm" (digits as numbers, capitals as small letters).
        training_fraction: part of the remaining training set that is used, the same of each class.
        label_noise: part of the training labels replaced by other classes; by default the data
            set's own (0.2 for two-moons, else 0).
        augment: crop and flip training images at random, where that is usual for the data set.
        model: name of the model; or torchvision/NAME, timm/NAME, hf:FOLDER (of a Hugging Face image
            classifier), package.module:function.
        loss: "cross_entropy", or "logistic" for one logit and two classes.
        alpha: shape α of the law Beta(α, α) of λ.
        mixing_probability: chance that a sample (or batch) is mixed at all.
        theta_mean: θ̄ of a law of λ by design, in place of Beta(α, α); see `mixreg.design_law`.
        gamma_squared: γ² = E(1 − θ)² of that law, from (1 − θ̄)² to (1 − θ̄)/2.
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
    class_order: Literal["torchvision", "timm"] | None = None
    training_fraction: float = 1.0
    label_noise: float | None = None
    augment: bool = True
    model: str = "mlp"
    loss: Literal["cross_entropy", "logistic"] = "cross_entropy"
    alpha: float = 1.0
    mixing_probability: float = 1.0
    theta_mean: float | None = None
    gamma_squared: float | None = None
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
        from mixreg.data import DATASETS, is_own
        from mixreg.models import MODELS

        super().__post_init__()
        if not is_own(self.data):
            own = ("./FOLDER", "FILE.csv", "package.module:function")
            _check_name("data set", self.data, (*DATASETS, *own))
        elif "/" not in self.data and not is_function(self.data):  # a run may be read elsewhere
            object.__setattr__(self, "data", f"./{self.data}")
        if not (self.model.startswith(("torchvision/", "timm/", "hf:")) or is_function(self.model)):
            external = ("torchvision/NAME", "timm/NAME", "hf:FOLDER", "package.module:function")
            _check_name("model", self.model, (*MODELS, *external))
        _check_law(self)
        _check(
            self,
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
        )
        _check_design(self)

    @property
    def law(self) -> "MixingLaw":
        """The law of λ."""
        from mixreg.laws import Beta, design_law

        if self.theta_mean is not None and self.gamma_squared is not None:
            return design_law(theta_mean=self.theta_mean, gamma_squared=self.gamma_squared)
        return Beta(self.alpha).with_probability(self.mixing_probability)

    @property
    def law_text(self) -> str:
        """The law's parameters in words."""
        if self.theta_mean is None:
            return f"α = {self.alpha:g}"
        return f"θ̄ = {self.theta_mean:g}, γ² = {self.gamma_squared:g}"

    @property
    def link(self) -> Literal["softmax", "sigmoid"]:
        """How outputs are read: class logits, or one logit."""
        return "softmax" if self.loss == "cross_entropy" else "sigmoid"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Recipe):
    """One training run.

    Args:
        method: how to train: "erm", "mixup", "modified" (equation 20), "label-smoothing",
            "dropout", "spectral" (weights of spectral norm 1), "regmixup" (clean and mixed loss:
            Pinto et al., NeurIPS 2022), "unshrunk" (mixup, inputs stretched back), "mit-l" and
            "mit-a" (outputs, or those of every block, of two mixes taken apart: Wang et al., CVPR
            2023), "approximate" (equation 12), "linearized" (mixup of the network's tangents); or
            with a part of mixup's perturbations (6): "inputs-only", "labels-only", "independent",
            "gaussian".
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
        kept = all(1 <= epoch <= self.epochs for epoch in self.snapshots)
        _check(
            self,
            ("snapshots", kept, f"epochs from 1 to {self.epochs}"),
            ("seed", 0 <= self.seed < 2**63, "at least 0 and below 2^63"),
        )

    @property
    def directory(self) -> Path:
        """Where the run lives."""
        if self.output is not None:
            return self.output
        law = f"alpha{self.alpha:g}"
        if self.theta_mean is not None:
            law = f"theta{self.theta_mean:g}-gamma{self.gamma_squared:g}"
        parts = (Path(self.data).name, self.model, self.method, law, f"seed{self.seed}")
        return Path("mixreg-runs") / "-".join(parts).replace("/", "_")

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result, JSON-safe; of a user's own data those given."""
        values = dataclasses.asdict(self)
        absent = _OPERATIONAL | {name for name in _OWN if not values[name]}
        return {name: value for name, value in values.items() if name not in absent}


@dataclass(frozen=True, kw_only=True)
class SweepSettings(_Typed):
    """Where and how many at a time the runs of an experiment are executed.

    Args:
        jobs: runs at a time; by default one for each core of this machine, or of the cluster.
        backend: "local" for processes of this machine; "ray" or "dask" for a cluster, or "slurm"
            for an array of SLURM jobs, all of which see the same files.
        address: of the Ray or Dask cluster; by default one of worker processes on this machine.
        skip_missing: leave out the runs whose data set is missing instead of refusing to begin.

    Raises:
        ConfigurationError: a value is out of range, or an address where none is needed.
    """

    jobs: int | None = None
    backend: Literal["local", "ray", "dask", "slurm"] = "local"
    address: str = ""
    skip_missing: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, ("jobs", self.jobs is None or self.jobs >= 1, "at least 1"))
        if self.address and self.backend in {"local", "slurm"}:
            raise ConfigurationError(
                f"backend {self.backend!r} has no address, got {self.address!r}; an address is "
                "that of a Ray or Dask cluster"
            )


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Recipe, SweepSettings):
    """A comparison of training methods.

    Args:
        methods: the methods; the first one, uncorrected, is the baseline of all differences.
        seeds: number of repetitions; repetition k has the seed k for every method.
        output: directory of the runs and the report.
        dry_run: only list the runs with their state and estimated cost.

    Raises:
        ConfigurationError: a value is out of range, or a method is unknown or named twice.
    """

    methods: list[str] = dataclasses.field(default_factory=lambda: ["erm", "mixup"])
    seeds: int = 5
    output: Path = Path("mixreg-runs/compare")
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for method in self.methods:
            check_method(method)
        once = len(set(self.methods)) == len(self.methods) > 0
        _check(self, ("methods", once, "named once each"), ("seeds", self.seeds >= 1, "at least 1"))
        if self.devices > 1:
            raise ConfigurationError(
                "compare runs side by side on one device each; use --devices 1 and --jobs, "
                "or train the runs one by one with `mixreg train --devices ...`"
            )

    def runs(self) -> list[TrainConfig]:
        """One configuration for each method and seed."""
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(Recipe)}
        shared["progress"] = False
        return [
            TrainConfig(
                **shared,
                method=method,
                seed=seed,
                output=self.output / "runs" / f"{method}-seed{seed}",
            )
            for seed in range(self.seeds)
            for method in self.methods
        ]


@dataclass(frozen=True, kw_only=True)
class TuneOptions(Recipe, SweepSettings):
    """A search for the law of mixing and the correction that suit data and model.

    The law is what is sought: `alpha`, `mixing_probability`, `theta_mean` and `gamma_squared` keep
    their defaults.

    Args:
        metric: by which laws and corrections are chosen, on held-out examples.
        trials: laws that are tried, ERM, Beta(1) and Beta(0.2) among them.
        reduction: at each budget one in so many laws goes on, with as many times the epochs.
        rungs: budgets; the last one is `epochs`, the first one that by `reduction` ^ (rungs − 1).
        seeds: repetitions of each training; the final comparison has as many new ones.
        output: directory of the runs and the report.

    Raises:
        ConfigurationError: a value is out of range, or the budget too small to be divided.
    """

    metric: Literal["nll", "ece", "accuracy"] = "nll"
    trials: int = 12
    reduction: int = 3
    rungs: int = 3
    seeds: int = 3
    output: Path = Path("mixreg-runs/tune")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(
            self,
            ("reduction", self.reduction >= 2, "at least 2"),
            ("rungs", 2 <= self.rungs <= 10, "from 2 to 10, for at least one halving"),
            ("trials", self.trials >= max(4, self.reduction), "at least 4 and `reduction`"),
            ("seeds", self.seeds >= 2, "at least 2, for intervals"),
            ("validation_fraction", self.validation_fraction > 0, "above 0, to choose on"),
            ("devices", self.devices == 1, "1, as in every sweep"),
        )
        if self.epochs < self.reduction ** (self.rungs - 1):
            raise ConfigurationError(
                f"{self.epochs} epochs are too few to be divided by {self.reduction} in "
                f"{self.rungs} budgets; take --epochs of at least "
                f"{self.reduction ** (self.rungs - 1)}, or fewer --rungs"
            )
        law = self.alpha, self.mixing_probability, self.theta_mean, self.gamma_squared
        if law != (1.0, 1.0, None, None):
            raise ConfigurationError(
                "tune chooses the law; leave out alpha, mixing_probability, theta_mean and "
                "gamma_squared"
            )

    @property
    def budgets(self) -> list[int]:
        """Epochs of each rung."""
        first = self.epochs // self.reduction ** (self.rungs - 1)
        return [*(first * self.reduction**k for k in range(self.rungs - 1)), self.epochs]


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(SweepSettings):
    """Which part of the paper, and how large.

    Args:
        name: fig1, fig8 or fig9 (one experiment on two moons makes all three); fig2, fig3, fig4,
            fig7 or ablation (which share their trainings); fig5 or fig6 (theirs, and their
            corrupted images); table1; table2; corollary3; map, what laws off the Beta curve buy; or
            claims, the ledger of what all results in `output` say of the paper's sentences.
        scale: "paper" for its settings, "cpu" for minutes to hours on two cores, "smoke" for
            seconds. For two moons the paper's own scale takes no longer; for Table 1, which in the
            paper is a summary without an experiment, "paper" is LeNet on CIFAR-10 and "cpu" digits.
            By default "cpu"; claims have none.
        seeds: number of repetitions; by default that of the scale.
        data_root: folder of the data sets; by default $MIXREG_DATA, else ./data.
        output: directory of the results; by default one named after the experiment and the scale
            under ./mixreg-runs/reproduce.
        dry_run: only list the runs with their state and estimated cost.

    Raises:
        ConfigurationError: nothing has that name, or a setting makes no sense for it.
    """

    name: str
    scale: str | None = None
    seeds: int | None = None
    data_root: Path | None = None
    output: Path | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_name("figure or table", self.name, REPRODUCIBLE)
        if self.scale is not None:
            _check_name("scale", self.scale, SCALES)
        _check(self, ("seeds", self.seeds is None or self.seeds >= 1, "at least 1"))
        if self.name == "claims" and (self.scale, self.seeds) != (None, None):
            raise ConfigurationError(
                "claims are read from all results below --output, whatever their scale and seeds; "
                "leave out --scale and --seeds"
            )

    @property
    def size(self) -> str:
        """The scale, "cpu" if none is given."""
        return self.scale or "cpu"

    @property
    def directory(self) -> Path:
        """Where the results go."""
        results = Path("mixreg-runs") / "reproduce"
        if self.name == "claims":
            return self.output or results
        names = {"images": _IMAGES, "shift": _SHIFT}
        own = REPRODUCIBLE[self.name].replace("_", "-")
        shared = next((name for name, of in names.items() if self.name in of), own)
        return self.output or results / f"{shared}-{self.size}"


@dataclass(frozen=True, kw_only=True)
class ReportOptions(_Typed):
    """What to put on the page.

    Args:
        runs: directories of evaluated runs, what `compare`, `reproduce` or `diagnose` wrote, or
            folders of these.
        output: directory of the page.

    Raises:
        ConfigurationError: nothing is named.
    """

    runs: list[Path]
    output: Path = Path("mixreg-runs/report")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.runs:
            raise ConfigurationError("name at least one run or result to report")


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(_OwnData):
    """A checkpoint, and what to assume of one that does not say it itself.

    Args:
        checkpoint: directory of a finished run, what timm's training script left, a folder of a
            Hugging Face image classifier, or a file of weights (.safetensors, .pt, .pth).
        data: name of the data set, or a user's own data; for a run, by default its own.
        data_root: folder of the data sets; by default $MIXREG_DATA, else ./data.
        model: name of the model; a file of weights alone needs it.
        alpha: shape α of the mixup; by default that of the run.
        mixing_probability: chance that a sample was mixed.
        class_order: whose numbers class folders have: "torchvision" or "timm".
        weights: name or prefix of the weights in a file that holds several; by default averaged
            ones (EMA), else the trained ones.
    """

    checkpoint: Path
    data: str | None = None
    data_root: Path | None = None
    model: str | None = None
    alpha: float | None = None
    mixing_probability: float | None = None
    class_order: Literal["torchvision", "timm"] | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_law(self)

    def given(self) -> dict[str, Any]:
        """The settings of a run that were given, of images those of a user's own data."""
        from mixreg.data import is_own

        names = ["data", "data_root", "model", "alpha", "mixing_probability", "class_order"]
        if self.data is not None and is_own(self.data):
            names += _OWN
        values = {name: getattr(self, name) for name in names}
        given = {k: v for k, v in values.items() if v is not None and v is not False and v != []}
        return given | dict.fromkeys(DESIGN if self.alpha is not None else ())


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(CheckpointOptions):
    """What to evaluate, and what to assume of a checkpoint that does not say it itself.

    Args:
        held_out: examples that a file of weights was not trained on, for the temperatures:
            "validation", those that mixreg holds out of this data set; "test-half", every second
            test example, the metrics being those of the others; by default none.
        shift: also every correction on shifted test images, by severity: "generated" from the test
            images, "cifar10-c" or "cifar100-c" as published, or a folder of such files or of images
            (KIND/SEVERITY/CLASS, or class folders).
        output: directory of the report; by default `evaluation` inside the run, or
            `NAME-evaluation` beside the file NAME.
    """

    held_out: Literal["none", "validation", "test-half"] = "none"
    shift: str | None = None
    output: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ExportOptions(CheckpointOptions):
    """What to deploy, and as what.

    Args:
        format: "safetensors", weights for the network's own class; "pt2", a program of
            torch.export; or "onnx".
        into: merge equation 22 into the "weights", or its inner half into the "normalisation" of
            the inputs, which the file then holds beside weights with the network's own keys.
        inputs: "shrink" or "keep" them, or the mean of "both" views; by default shrunk, but kept
            after boxes.
        outputs: "scale" or "keep" them.
        output: the file; by default `rescaled.FORMAT` inside the run, or `NAME-rescaled.FORMAT`
            beside the file NAME.
    """

    format: Literal["safetensors", "pt2", "onnx"] = "safetensors"
    into: Literal["weights", "normalisation"] = "weights"
    inputs: Literal["shrink", "keep", "both"] | None = None
    outputs: Literal["scale", "keep"] = "scale"
    output: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions(CheckpointOptions):
    """What to diagnose, on which samples and how exactly.

    The samples are drawn from the training split, labels as trained on, in the model's input space
    and without augmentation, so that they are one fixed training set S_n as in the theory.

    Args:
        samples: number of training samples; by default 500, or all if there are fewer.
        exact: compute the Mixup risk over all pairs of samples instead of by draws.
        draws: Monte-Carlo draws of the Mixup risk.
        pairs: pairs of samples that the roughness between samples is estimated from.
        second_order: compute R2; for networks that are not piecewise linear it takes as many
            Hessian products a sample as there are samples or input entries.
        reference: a run with the method erm on the same data, for Proposition 1.
        seed: seed of the samples and the draws.
        progress: show a progress bar.
        output: directory of the report; by default `diagnosis` inside the run, or
            `NAME-diagnosis` beside the file NAME.

    Raises:
        ConfigurationError: a value is out of range.
    """

    samples: int | None = None
    exact: bool = False
    draws: int = 100_000
    pairs: int = 4000
    second_order: bool = True
    reference: Path | None = None
    seed: int = 0
    progress: bool = True
    output: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("samples", 2), ("draws", 2), ("pairs", 2), ("seed", 0)):
            value = getattr(self, name)
            _check(self, (name, value is None or value >= least, f"at least {least}"))


def check_method(method: str) -> None:
    """Refuse an unknown training method."""
    from mixreg.training.methods import METHODS

    _check_name("method", method, METHODS)


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigurationError(str(unknown_name(kind, name, known)))


def _check(settings: object, *conditions: tuple[str, bool, str]) -> None:
    """Refuse the first of these settings that is not valid, and say what it must be."""
    for name, valid, meaning in conditions:
        if not valid:
            raise ConfigurationError(f"{name} must be {meaning}, got {getattr(settings, name)}")


def command_of(settings: Mapping[str, Any], output: Path) -> str:
    """The command line of a run, with the settings that are not the default ones."""
    known = {field.name: field for field in dataclasses.fields(TrainConfig)}
    words = ["mixreg train"]
    for name, value in settings.items():
        if name in known and value != default_of(known[name]):
            words.append(f"--{name.replace('_', '-')} {shlex.quote(as_word(value))}")
    return " ".join([*words, f"--output {shlex.quote(str(output))}"])


def _check_law(settings: Recipe | CheckpointOptions) -> None:
    alpha, chance = settings.alpha, settings.mixing_probability
    _check(
        settings,
        ("alpha", alpha is None or alpha > 0, "a positive finite number"),
        ("mixing_probability", chance is None or 0 <= chance <= 1, "in [0, 1]"),
    )


def _check_design(recipe: Recipe) -> None:
    """Refuse half a law by design, one beside another law, and numbers that no law has."""
    values = [getattr(recipe, name) for name in DESIGN]
    if values == [None, None]:
        return
    if None in values or (recipe.alpha, recipe.mixing_probability) != (1, 1):
        raise ConfigurationError(
            "a law by design is given by both theta_mean and gamma_squared, and by no alpha or "
            f"mixing_probability, got theta_mean={values[0]} and gamma_squared={values[1]} with "
            f"alpha={recipe.alpha:g} and mixing_probability={recipe.mixing_probability:g}"
        )
    try:
        _ = recipe.law
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _check_entry(name: str, entry: object) -> None:
    """Refuse numbers that are not finite, and paths that no file can have."""
    if isinstance(entry, float) and not math.isfinite(entry):
        raise ConfigurationError(f"{name} must be finite, got {entry}")
    if not isinstance(entry, Path):
        return
    text = str(entry)
    if "\0" in text:
        raise ConfigurationError(f"{name} must be a path without NUL, got {text!r}")
    if text != text.encode(errors="replace").decode():
        raise ConfigurationError(f"{name} must be a path in UTF-8, got {text!r}")


def spelled(hint: Any) -> str:
    """What values of an annotation are, in words."""
    arguments = [a for a in typing.get_args(hint) if a is not NoneType]
    if typing.get_origin(hint) is list:
        return f"a list whose entries are {spelled(arguments[0])}"
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, arguments))
    if arguments:
        return spelled(arguments[0])
    words = {float: "a number", int: "an integer", bool: "true or false", Path: "a path"}
    return words.get(hint, "text")


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """The default of a setting, `dataclasses.MISSING` where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def as_word(value: object) -> str:
    """A setting as the command line takes it."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.lower() if isinstance(value, bool) else text
