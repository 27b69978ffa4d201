"""A data set as published, and what is asked of its labels."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixreg._errors import DataError
from mixreg.data.in_memory import Samples


class Published(NamedTuple):
    """The published training and test samples, before any splitting or noise."""

    train: Samples
    test: Samples
    class_names: tuple[str, ...]


def class_indices(path: Path, labels: NDArray[Any], num_classes: int) -> Tensor:
    """Labels read from a file as int64 indices; refused if one is not in 0..num_classes−1."""
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path} holds labels of {labels.dtype}, expected integers")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{path} holds labels from {low} to {high}, expected 0 to {num_classes - 1}"
        )
    return torch.from_numpy(labels.astype(np.int64))
