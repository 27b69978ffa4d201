"""The directory of one run: what it is, how far it came, and what came out."""

import hashlib
import io
import json
import os
import pickle
import platform
import shlex
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import filelock
import msgspec
import torch
from torch import Tensor, nn

from mixreg import _stored
from mixreg._errors import CheckpointError, ConfigurationError, MixregError
from mixreg._files import read_tensors, write_bytes, write_tensors
from mixreg.evaluation import Evaluation
from mixreg.prediction import RescaledModel
from mixreg.recipes.recipe import UNMIXED, Recipe
from mixreg.settings import DESIGN, TrainConfig, command_of
from mixreg.statistics import TrainingStatistics
from mixreg.training.methods import METHODS

_FORMAT = 2
_MODEL = "mixreg.RescaledModel/1"
_NET = "net."
_UNFIT = (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, AttributeError)
_PACKAGES = ("mixreg", "torch", "lightning", "torchmetrics", "numpy", "scikit-learn")
_DIGEST = 64  # characters of a SHA-256, kept as the comment of the zip archive


class BusyError(MixregError):
    """Another process is working in a run directory."""


class VersionError(CheckpointError):
    """A run was written by another version of this package."""


class Environment(TypedDict):
    """Versions and hardware."""

    python: str
    packages: dict[str, str]
    system: str
    machine: str
    processor: str
    cores: int | None
    threads: int
    gpus: list[str]


@dataclass(frozen=True)
class Result:
    """What a finished training stored.

    Args:
        history: one entry an epoch: the metrics by name.
        seconds: how long the training took, interruptions left out.
    """

    history: tuple[dict[str, float], ...]
    seconds: float

    def __post_init__(self) -> None:
        if not self.history:
            raise ValueError("it holds no history")


class Checkpoint(NamedTuple):
    """The content of `model.safetensors`: the weights of the network, and what belongs to them."""

    weights: dict[str, Tensor]
    stats: TrainingStatistics
    config: TrainConfig


@dataclass(frozen=True)
class _Settings:
    format: int
    config: TrainConfig


@dataclass(frozen=True)
class _About:
    format: str
    count: int
    x_min: float | None
    x_max: float | None
    config: TrainConfig


class RunDirectory:
    """Paths and state of one run, which `config.json` begins and `result.json` finishes.

    Args:
        path: the directory; all files in it are written whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint" / "last.ckpt"
        self.weights = path / "model.safetensors"
        self.evaluation = path / "evaluation.json"

    @property
    def finished(self) -> bool:
        """Whether the training has ended and its result is stored."""
        return (self.path / "result.json").exists()

    def snapshot(self, epoch: int) -> Path:
        """Where the model after so many epochs is kept, if the run was asked to keep it."""
        return self.path / "snapshots" / f"epoch{epoch}.safetensors"

    def begun(self, config: TrainConfig) -> bool:
        """Whether the directory holds this run; one with other settings or files is refused."""
        if (self.path / "config.json").is_file():
            stored, wanted = self.read_config().identity(), config.identity()
            changed = [
                f"{name}: {stored.get(name)!r} there, {wanted.get(name)!r} here"
                for name in sorted(wanted.keys() | stored.keys())
                if stored.get(name) != wanted.get(name)
            ]
            if changed:
                raise ConfigurationError(
                    f"{self.path} holds a run with other settings ({'; '.join(changed)}); choose "
                    "another --output, or delete that directory"
                )
            return True
        if self.path.is_dir() and any(map(_is_foreign, self.path.iterdir())):
            raise ConfigurationError(
                f"{self.path} is not empty and holds no run; choose another --output"
            )
        return False

    def prepare(self, config: TrainConfig) -> None:
        """Create the directory for a run, or go on in one already begun with the same settings."""
        if self.begun(config):
            for left_over in self.path.rglob("*.part"):
                left_over.unlink(missing_ok=True)
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        _stored.write(self.path / "environment.json", environment())
        settings = {"format": _FORMAT, "config": config.identity()}
        _stored.write(self.path / "config.json", settings)

    def lock(self) -> filelock.BaseFileLock:
        """A lock held by one thread of one process; it ends with the process, however that ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / "run.lock", is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise BusyError(
                f"another process is working in {self.path}; wait for it or choose another --output"
            ) from error
        return lock

    def read_config(self) -> TrainConfig:
        """The stored settings; those that do not decide the result have their defaults."""
        file = self.path / "config.json"
        if not file.is_file():
            raise CheckpointError(f"{self.path} holds no run: there is no config.json in it")
        remedy = f"delete the directory {self.path} to train again, or choose another --output"
        stored = _stored.decode(file, dict[str, Any], remedy=remedy)
        version, settings = stored.get("format"), stored.get("config")
        if version != _FORMAT and isinstance(settings, dict):
            raise VersionError(
                f"{self.path} was written by another version of mixreg (format {version}, this is "
                f"{_FORMAT}); delete it and train again: {command_of(settings, self.path)}"
            )
        config = _stored.decode(file, _Settings, remedy=remedy).config
        if absent := config.identity().keys() - dict(settings or {}).keys() - {*DESIGN}:
            names = ", ".join(sorted(absent))
            raise CheckpointError(f"{file} is damaged: missing {names} - at `$.config`; {remedy}")
        return config

    def read_result(self) -> Result:
        """The history of the finished training, and the seconds it took."""
        again = "run the same `mixreg train` again, which goes on from its checkpoint"
        return _stored.decode(self.path / "result.json", Result, remedy=f"delete it and {again}")

    def read_environment(self) -> Environment | dict[str, Any]:
        """Versions and hardware the run began with; empty where they are not known any more."""
        try:
            return _stored.decode(self.path / "environment.json", Environment, remedy="")
        except CheckpointError:
            return {}

    def read_evaluation(self) -> Evaluation:
        """The stored evaluation: metrics of every correction."""
        remedy = f"run `mixreg evaluate {shlex.quote(str(self.path))}`, which writes it again"
        return _stored.decode(self.evaluation, Evaluation, remedy=remedy)

    def corrupt(self) -> str:
        """Which file of the run cannot be read, and why; empty if there is none."""
        try:
            if (self.path / "config.json").is_file():
                self.read_config()
            elif self.weights.exists() or self.finished:
                return f"{self.path / 'config.json'} is missing"
            if self.finished:
                self.read_result()
                for file in (self.weights, *(self.path / "snapshots").glob("*.safetensors")):
                    read_model(file, remedy="train again")
            elif self.checkpoint.is_file():
                read_checkpoint(self.checkpoint)
        except VersionError:
            return ""
        except CheckpointError as error:
            return str(error)
        return ""

    def write_result(self, history: list[dict[str, float]], seconds: float) -> None:
        """Store the history; from now on the run is finished."""
        _stored.write(self.path / "result.json", Result(tuple(history), seconds))


def rescaled(net: nn.Module, stats: TrainingStatistics, config: TrainConfig) -> RescaledModel:
    """A trained network with equation 22, which changes nothing after a method without mixing."""
    method = METHODS[config.method]
    learned = method.learned(config.law) if method.mixes else Recipe(UNMIXED, UNMIXED)
    law = learned if learned.input_law != learned.label_law else learned.label_law
    return RescaledModel(net, stats, law, config.link)


def write_model(file: Path, net: nn.Module, stats: TrainingStatistics, config: TrainConfig) -> None:
    """Store a network as the state of a `RescaledModel`, its means as they were measured."""
    state = rescaled(net, stats, config).state_dict()
    means = {"x_mean": stats.x_mean, "y_mean": stats.y_mean}
    about = {"format": _MODEL, "count": stats.count, "x_min": stats.x_min, "x_max": stats.x_max}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(file, state | means, about | {"config": config.identity()})


def read_model(file: Path, *, remedy: str) -> Checkpoint:
    """What `write_model` stored, checked bit by bit."""
    kind = "trained model"
    try:
        tensors, about = read_tensors(file, kind=kind, remedy=remedy)
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing; {remedy}") from error
    if about.get("format") != _MODEL:
        raise CheckpointError(f"{file} holds no {kind} ({_MODEL}); {remedy}")
    known = _stored.decode_bytes(json.dumps(about).encode(), _About, name=str(file), remedy=remedy)
    try:
        means = tensors["x_mean"], tensors["y_mean"]
        stats = TrainingStatistics(*means, known.count, known.x_min, known.x_max)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} holds no {kind}: {error}; {remedy}") from error
    weights = {k.removeprefix(_NET): v for k, v in tensors.items() if k.startswith(_NET)}
    return Checkpoint(weights, stats, known.config)


def write_checkpoint(file: Path, stored: dict[str, Any]) -> None:
    """Write what a training is resumed from, with a digest of all its bytes."""
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"0" * _DIGEST
    data = buffer.getvalue()[:-_DIGEST]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, data + hashlib.sha256(data).hexdigest().encode())


def read_checkpoint(file: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """What a training is resumed from; nothing of it is executed."""
    remedy = "delete it to train again from the start"
    data = file.read_bytes()
    if hashlib.sha256(data[:-_DIGEST]).hexdigest().encode() != data[-_DIGEST:]:
        raise CheckpointError(
            f"{file} is damaged or was not written by this version of mixreg, and cannot be "
            f"resumed from; {remedy}"
        )
    try:
        stored: dict[str, Any] = torch.load(io.BytesIO(data), map_location, weights_only=True)
        if not all(isinstance(value, Tensor) for value in stored["state_dict"].values()):
            raise TypeError("weights that are no tensors")
        msgspec.convert({name: stored[name] for name in ("history", "seconds")}, Result)
        TrainingStatistics(**stored["stats"])
    except _UNFIT as error:
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({error})"
        raise CheckpointError(f"{file} is no checkpoint of a training{reason}; {remedy}") from error
    return stored


def environment() -> Environment:
    """Versions and hardware, to be stored beside every result."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())],
    }


def _is_foreign(file: Path) -> bool:
    """Whether a file is none that a run killed at its very start leaves."""
    early = {"environment.json", "checkpoint"}
    return file.name not in early and file.suffix not in {".part", ".lock"}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


def _processor() -> str:
    """The processor's name, which only Linux tells in a file."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
