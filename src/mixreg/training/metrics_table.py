"""The metrics of a run as a CSV file that survives interruptions."""

import csv
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from mixreg._files import write_bytes


class MetricsTable(Logger):
    """Keep one row for each step that was logged, in the order of the steps.

    Each row replaces those of the same and of later steps: a resumed training repeats what it had
    logged after its checkpoint, and the file becomes that of an uninterrupted one.

    Args:
        folder: where `metrics.csv` is written; made when there is something to write.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = folder / "metrics.csv"

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.file.parent.name

    @property
    def version(self) -> str:
        """Nothing: a run has one table."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Write nothing; the run directory holds the settings.

        Args:
            params: the settings.
        """
        del params

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write the row of a step and drop those of later steps.

        Args:
            metrics: the values by name.
            step: how many steps of the optimizer came before the last one; not None.

        Raises:
            DiskFullError: there is no room; the file is as it was.
        """
        assert step is not None
        rows = [row for row in self._rows() if int(row["step"]) < step]
        rows.append({name: str(value) for name, value in (metrics | {"step": step}).items()})
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, sorted(set().union(*rows)))
        writer.writeheader()
        writer.writerows(rows)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.file, table.getvalue().encode())

    def _rows(self) -> list[dict[str, str]]:
        """What the file holds."""
        if not self.file.is_file():
            return []
        with self.file.open(newline="") as file:
            return list(csv.DictReader(file))
