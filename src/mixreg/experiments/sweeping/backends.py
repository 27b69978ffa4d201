"""Where the runs of a sweep are executed."""

from dataclasses import dataclass
from typing import Literal

BackendName = Literal["local", "ray", "dask", "slurm"]


@dataclass(frozen=True)
class BackendSettings:
    """Where to execute runs.

    Args:
        name: "local" for processes of this machine, or a cluster's scheduler.
        address: of the Ray or Dask cluster; empty for one of worker processes on this machine.
    """

    name: BackendName = "local"
    address: str = ""
