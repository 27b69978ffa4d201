"""Checkpoints and weights that are never half-written and never run code when read."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback
from safetensors.torch import save
from torch import nn

from mixreg._errors import CheckpointError
from mixreg._files import write_bytes


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
            raise CheckpointError(_damage(path)) from error
        if not isinstance(stored, dict):
            raise CheckpointError(_damage(path))
        return stored


def _damage(path: Any) -> str:
    """What is wrong with a checkpoint; torch's own message advises to execute what it holds."""
    return (
        f"{path} is damaged, or holds pickled objects besides tensors and plain values, and cannot "
        "be resumed from; delete it to train again from the start"
    )


class Snapshots(Callback):
    """Keep the weights of the module's `net` after some epochs.

    Args:
        files: where to, by the number of finished epochs.
    """

    def __init__(self, files: Mapping[int, Path]) -> None:
        self.files = files

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the weights if this is one of the epochs.

        Args:
            trainer: the trainer.
            pl_module: the module.
        """
        file = self.files.get(trainer.current_epoch + 1)
        if file is not None and trainer.is_global_zero:
            net = pl_module.net
            assert isinstance(net, nn.Module)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, weights_bytes(net))


def weights_bytes(net: nn.Module) -> bytes:
    """The state of a network in the safetensors format.

    Args:
        net: the network.

    Returns:
        The bytes of the file.
    """
    return save({name: value.contiguous() for name, value in net.state_dict().items()})
