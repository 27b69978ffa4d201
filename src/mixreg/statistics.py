"""The training means x̄ and ȳ that shrinking and rescaling refer to (equations 5 and 22)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm.auto import tqdm

from mixreg._averaging import Sums, over_all_processes
from mixreg._errors import CheckpointError
from mixreg._files import write_bytes

_FORMAT = "mixreg.TrainingStatistics/1"


@dataclass(frozen=True, eq=False)
class TrainingStatistics:
    """Means of the training inputs and labels, in the model's own input space.

    That space is the one after normalisation and training augmentation, before mixing.

    Args:
        x_mean: x̄, the mean input, float64, the shape of one input.
        y_mean: ȳ, the mean label, float64, shape (c,) for classes, the shape of one target for
            regression, () for one number.
        count: how many examples were averaged.
        x_min: smallest entry of any input, or None where it was not measured.
        x_max: largest entry of any input, or None where it was not measured.

    Raises:
        TypeError: a mean is not a tensor, or the count is not an integer.
        ValueError: a mean is not finite float64, or the count is not positive.

    Source: Carratino et al., section 2 (x̄, ȳ), equation 5.

    Example:
        >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1])
        >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
        >>> stats.x_mean, stats.y_mean, stats.count
        (tensor([1.], dtype=torch.float64), tensor([0.5000, 0.5000], dtype=torch.float64), 2)
    """

    x_mean: Tensor
    y_mean: Tensor
    count: int
    x_min: float | None = None
    x_max: float | None = None

    def __post_init__(self) -> None:
        for name, mean in (("x_mean", self.x_mean), ("y_mean", self.y_mean)):
            if not isinstance(mean, Tensor):
                raise TypeError(f"{name} must be a float64 tensor, got {type(mean).__name__}")
            if mean.dtype != torch.float64:
                raise ValueError(f"{name} must be float64, got {mean.dtype}; use .double()")
            if not torch.isfinite(mean).all():
                raise ValueError(f"{name} must be finite, got NaN or infinite entries")
        if isinstance(self.count, bool) or not isinstance(self.count, int):
            raise TypeError(f"count must be an integer, got {self.count!r}")
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")

    @classmethod
    def from_loader(
        cls,
        loader: Iterable[Any],
        num_classes: int | None = None,
        *,
        progress: bool = True,
    ) -> Self:
        """Average over one pass of a loader, and over all processes of `torch.distributed`.

        Sums are kept in compensated float64, so that batch size and order do not matter. With a
        process group initialised, each process passes its own part of the data, which may be
        empty, and all get the same result; a sampler that repeats examples to fill up (PyTorch's
        `DistributedSampler` without `drop_last`) counts those twice.

        Args:
            loader: batches (x, y, ...): x floating point (n, ...); y class indices (n,), or soft
                labels or regression targets (n,) or (n, c).
            num_classes: number of classes c; needed for class indices.
            progress: show a progress bar on a terminal when the pass lasts over a second.

        Returns:
            The statistics.

        Raises:
            ValueError: no batch, NaN or infinite inputs, labels out of range, changing shapes.
            TypeError: batches that are not pairs of tensors, integer inputs, ambiguous labels.
            DataError: another process failed in one of these ways.
        """

        def measure() -> Sums:
            sums = Sums(num_classes)
            for batch in _with_progress(loader) if progress else loader:
                sums.add(*_pair(batch))
            return sums

        return cls._averaged(over_all_processes(measure))

    @classmethod
    def from_tensors(cls, x: Tensor, y: Tensor, num_classes: int | None = None) -> Self:
        """Average over a data set held in two tensors, of this process alone.

        Args:
            x: inputs, floating point, shape (n, ...).
            y: labels, as in `from_loader`.
            num_classes: number of classes c; needed for class indices.

        Returns:
            The statistics.

        Raises:
            ValueError: an empty, NaN or infinite data set, labels out of range.
            TypeError: integer inputs, ambiguous labels.
        """
        sums = Sums(num_classes)
        sums.add(x, y)
        return cls._averaged(sums)

    @classmethod
    def _averaged(cls, sums: Sums) -> Self:
        if sums.count == 0:
            raise ValueError("cannot average an empty loader: it gave no example")
        n = sums.count
        return cls(sums.x.mean(n), sums.y.mean(n), n, sums.low, sums.high)

    def save(self, path: str | Path) -> None:
        """Write the statistics as one safetensors file, whole or not at all.

        Args:
            path: the file; an existing one is replaced.

        Raises:
            DiskFullError: there is no room.
            OSError: any other failure of the file system.
        """
        tensors = {"x_mean": self.x_mean.clone(), "y_mean": self.y_mean.clone()}
        contiguous = {name: mean.contiguous() for name, mean in tensors.items()}
        about = {"statistics": json.dumps(self.describe())}
        write_bytes(Path(path), save(contiguous, metadata=about))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Args:
            path: the file.

        Returns:
            The statistics.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file holds no training statistics, or is damaged.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no training statistics at {path}")
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("statistics", "{}"))
                if about.get("format") != _FORMAT:
                    raise CheckpointError(
                        f"{path} holds no training statistics (expected the format {_FORMAT}); "
                        "write one with TrainingStatistics.save"
                    )
                x_mean, y_mean = file.get_tensor("x_mean"), file.get_tensor("y_mean")
            return cls(x_mean, y_mean, about["count"], about["x_min"], about["x_max"])
        except (SafetensorError, AttributeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is not a readable statistics file: {error}") from error

    def describe(self) -> dict[str, Any]:
        """What the statistics were measured on, as JSON-safe values.

        Returns:
            Format, count, shapes, range of the inputs and class prior.
        """
        return {
            "format": _FORMAT,
            "count": self.count,
            "input_shape": list(self.x_mean.shape),
            "target_shape": list(self.y_mean.shape),
            "y_mean": self.y_mean.tolist(),
            "x_min": self.x_min,
            "x_max": self.x_max,
        }


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, Sequence) or len(batch) < 2:
        raise TypeError(f"batches must be sequences (x, y, ...), got {type(batch).__name__}")
    x, y = batch[0], batch[1]
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise TypeError(
            f"batches must start with tensors x and y, got {type(x).__name__} and "
            f"{type(y).__name__}"
        )
    return x, y


def _with_progress(loader: Iterable[Any]) -> Iterable[Any]:
    bar: Iterable[Any] = tqdm(loader, "training statistics", delay=1, disable=None)
    return bar
