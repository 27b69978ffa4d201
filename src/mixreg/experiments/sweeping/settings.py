"""What the commands that sweep let one choose about it."""

from dataclasses import dataclass

from mixreg._errors import ConfigurationError
from mixreg.experiments.sweeping.backends import BackendName, BackendSettings


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
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
    backend: BackendName = "local"
    address: str = ""
    skip_missing: bool = False

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ConfigurationError(f"jobs must be at least 1, got {self.jobs}")
        BackendSettings(self.backend, self.address)

    @property
    def place(self) -> BackendSettings:
        """The backend with its address, as `sweep` takes it."""
        return BackendSettings(self.backend, self.address)
