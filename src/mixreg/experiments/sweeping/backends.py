"""The places where the runs of a sweep can be executed."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mixreg._errors import ConfigurationError, unknown_name
from mixreg.experiments.sweeping.dask_cluster import dask_workers
from mixreg.experiments.sweeping.local import local_workers
from mixreg.experiments.sweeping.ray_cluster import ray_workers
from mixreg.experiments.sweeping.slurm import slurm_workers
from mixreg.experiments.sweeping.workers import Workers

BackendName = Literal["local", "ray", "dask", "slurm"]


@dataclass(frozen=True)
class BackendSettings:
    """Where to execute runs.

    Args:
        name: "local" for processes of this machine, or what schedules a cluster.
        address: of the Ray or Dask cluster; empty for one of worker processes on this machine.

    Raises:
        ConfigurationError: no backend has that name, or it has no address.
    """

    name: BackendName = "local"
    address: str = ""

    def __post_init__(self) -> None:
        known = get_args(BackendName)
        if self.name not in known:
            raise ConfigurationError(str(unknown_name("backend", self.name, known)))
        if self.address and self.name in {"local", "slurm"}:
            raise ConfigurationError(
                f"backend {self.name!r} has no address, got {self.address!r}; an address is that "
                "of a Ray or Dask cluster"
            )

    def open(self, *, jobs: int | None, count: int, logs: Path) -> AbstractContextManager[Workers]:
        """Connect to the place, or start it.

        Args:
            jobs: tasks at a time; None for as many as there are cores or workers.
            count: number of tasks.
            logs: directory for what SLURM jobs print.

        Returns:
            The workers; at the end of the context, those that were started here are stopped.

        Raises:
            MixregError: a package is not installed, or nothing answers.
        """
        match self.name:
            case "local":
                return local_workers(jobs, count)
            case "dask":
                return dask_workers(self.address, jobs, count)
            case "ray":
                return ray_workers(self.address, jobs, count)
            case "slurm":
                return slurm_workers(jobs or count, logs)
