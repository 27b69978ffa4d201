"""Where the runs of a sweep are executed."""

from dataclasses import dataclass
from typing import Literal, get_args

from mixreg.errors import ConfigurationError
from mixreg.names import unknown_name

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
