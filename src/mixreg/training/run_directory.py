"""The directory of one run: what it is, how far it came, and what came out."""

import json
import os
import platform
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock
import torch

from mixreg._errors import CheckpointError, ConfigurationError, MixregError
from mixreg._files import write_json
from mixreg.evaluation import Evaluation
from mixreg.training.config import TrainConfig

_FORMAT = 1


class BusyError(MixregError):
    """Another process is working in a run directory."""


class RunDirectory:
    """Paths and state of one run.

    A run is known by `config.json`, written first, and finished when `result.json`, written last,
    is there. All files are written whole or not at all.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint" / "last.ckpt"
        self.weights = path / "model.safetensors"
        self.statistics = path / "statistics.safetensors"
        self.evaluation = path / "evaluation.json"

    @property
    def finished(self) -> bool:
        """Whether the training has ended and its result is stored."""
        return (self.path / "result.json").is_file()

    def snapshot(self, epoch: int) -> Path:
        """Where the weights after an epoch are kept.

        Args:
            epoch: number of finished epochs.

        Returns:
            The file, which is there if the run was asked to keep it.
        """
        return self.path / "snapshots" / f"epoch{epoch}.safetensors"

    def begun(self, config: TrainConfig) -> bool:
        """Whether the directory holds this run, as far as it may have come.

        Args:
            config: the run.

        Returns:
            False if there is nothing yet.

        Raises:
            ConfigurationError: the directory belongs to a run with other settings, or holds
                files that are no run.
        """
        if (self.path / "config.json").is_file():
            self._check_same(self.read_config(), config.identity())
            return True
        if self.path.is_dir() and any(map(_is_foreign, self.path.iterdir())):
            raise ConfigurationError(
                f"{self.path} is not empty and holds no run; choose another --output"
            )
        return False

    def prepare(self, config: TrainConfig) -> None:
        """Create the directory for a run, or find it already begun with the same settings.

        Args:
            config: the run.

        Raises:
            ConfigurationError: the directory belongs to a run with other settings, or holds
                files that are no run.
        """
        if self.begun(config):
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "environment.json", environment())
        write_json(self.path / "config.json", {"format": _FORMAT, "config": config.identity()})

    def lock(self) -> filelock.BaseFileLock:
        """A lock that only one process holds; it ends with the process, however that ends.

        The thread that holds it may take it again.

        Returns:
            The lock, to be used as a context manager.

        Raises:
            BusyError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / "run.lock", is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise BusyError(
                f"another process is working in {self.path}; wait for it or choose another --output"
            ) from error
        return lock

    def read_config(self) -> dict[str, Any]:
        """The stored settings of the run.

        Returns:
            The settings, as `TrainConfig.identity` gave them.

        Raises:
            CheckpointError: there is no readable run.
        """
        if not (self.path / "config.json").is_file():
            raise CheckpointError(f"{self.path} holds no run: there is no config.json in it")
        remedy = f"delete the directory {self.path} to train again, or choose another --output"
        stored = self._read("config.json", remedy)
        if stored.get("format") != _FORMAT:
            raise CheckpointError(
                f"{self.path} was written by another version of mixreg (format "
                f"{stored.get('format')}, this is {_FORMAT}); train again into a new directory"
            )
        config = stored.get("config")
        if not isinstance(config, dict):
            raise CheckpointError(
                f"{self.path / 'config.json'} is damaged: it holds no settings; {remedy}"
            )
        return config

    def read_result(self) -> dict[str, Any]:
        """What the finished training stored: its history, and the seconds it took.

        Returns:
            The values of `result.json`.

        Raises:
            CheckpointError: the run is unfinished or damaged.
        """
        remedy = (
            "delete it and run the same `mixreg train` again, which goes on from its checkpoint"
        )
        result = self._read("result.json", remedy)
        if not isinstance(result.get("history"), list) or not result["history"]:
            raise CheckpointError(
                f"{self.path / 'result.json'} is damaged: it holds no history; {remedy}"
            )
        return result

    def read_environment(self) -> dict[str, Any]:
        """Versions and hardware the run began with.

        Returns:
            The values of `environment.json`; empty if it is missing or damaged, for what the
            training ran on is then not known any more.
        """
        try:
            return self._read("environment.json", "")
        except CheckpointError:
            return {}

    def read_evaluation(self) -> Evaluation:
        """The stored evaluation.

        Returns:
            Metrics of every correction.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        remedy = f"run `mixreg evaluate {shlex.quote(str(self.path))}`, which writes it again"
        try:
            return Evaluation.from_dict(self._read("evaluation.json", remedy))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.evaluation} is damaged: {error!r}; {remedy}") from error

    def write_result(self, history: list[dict[str, float]], seconds: float) -> None:
        """Store the history; from now on the run is finished.

        Args:
            history: one entry an epoch.
            seconds: how long the training took.
        """
        write_json(self.path / "result.json", {"history": history, "seconds": seconds})

    def _read(self, name: str, remedy: str) -> dict[str, Any]:
        """The object in a JSON file, or an error that ends in the remedy for a damaged one."""
        file = self.path / name
        if not file.is_file():
            raise CheckpointError(f"{self.path} holds no run with a result: there is no {name}")
        try:
            values = json.loads(file.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{file} is damaged: {error}; {remedy}") from error
        if not isinstance(values, dict):
            raise CheckpointError(
                f"{file} is damaged: it holds a {type(values).__name__}, expected an object; "
                f"{remedy}"
            )
        return values

    def _check_same(self, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
        names = sorted(stored.keys() | wanted.keys())
        changed = [
            f"{name}: {stored.get(name)!r} there, {wanted.get(name)!r} here"
            for name in names
            if stored.get(name) != wanted.get(name)
        ]
        if changed:
            raise ConfigurationError(
                f"{self.path} holds a run with other settings ({'; '.join(changed)}); choose "
                "another --output, or delete that directory"
            )


def _is_foreign(file: Path) -> bool:
    """Whether a file is none that a run killed at its very start leaves."""
    early = {"environment.json", "checkpoint"}
    return file.name not in early and file.suffix not in {".part", ".lock"}


def environment() -> dict[str, Any]:
    """Versions and hardware, to be stored beside every result.

    Returns:
        JSON-safe values.
    """
    packages = ("mixreg", "torch", "lightning", "torchmetrics", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())],
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


def _processor() -> str:
    """The processor's name, which only Linux tells in a file."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
