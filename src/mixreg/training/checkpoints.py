"""Lightning checkpoints that are never half-written and never run code when read."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from mixreg.errors import CheckpointError
from mixreg.files import write_bytes


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints whole or not at all; read them without executing pickled code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write one checkpoint.

        Args:
            checkpoint: what to store.
            path: the file.
            storage_options: must be None.
        """
        assert storage_options is None
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), buffer.getvalue())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read one checkpoint.

        Args:
            path: the file.
            map_location: as in `torch.load`.
            weights_only: always treated as True.

        Returns:
            What was stored.

        Raises:
            CheckpointError: the file is damaged, or holds more than tensors and plain values.
        """
        del weights_only
        try:
            stored: dict[str, Any] = torch.load(path, map_location, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise CheckpointError(
                f"{path} is damaged and cannot be resumed from ({error}); delete it to train "
                "again from the start"
            ) from error
        return stored
