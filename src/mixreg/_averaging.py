"""Streaming sums behind the training means: exact in any order, merged over processes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from mixreg._checks import check_examples, dense_targets
from mixreg._errors import DataError

_ROWS = 64  # enough for vectorised sums, few enough for the float64 copy to stay in the cache


class CompensatedSum:
    """A sum of tensors as an unevaluated pair high + low, by Knuth's exact two-sum."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.high = torch.zeros((), dtype=torch.float64, device="cpu")
        self.low = torch.zeros((), dtype=torch.float64, device="cpu")
        self.empty = True

    def add(self, term: Tensor) -> None:
        """Add one float64 tensor of the common shape."""
        if not self.empty and term.shape != self.high.shape:
            raise ValueError(
                f"{self.name} changed their shape from {tuple(self.high.shape)} to "
                f"{tuple(term.shape)}; every batch must hold examples of one shape"
            )
        total = self.high + term
        shadow = total - self.high
        self.low = self.low + ((self.high - (total - shadow)) + (term - shadow))
        self.high = total
        self.empty = False

    def merge(self, other: "CompensatedSum") -> None:
        """Add another sum."""
        if not other.empty:
            self.add(other.high)
            self.low = self.low + other.low

    def mean(self, count: int) -> Tensor:
        """The sum over a count."""
        return (self.high + self.low) / count


class Sums:
    """Sums of inputs and labels, their number, and the range of the inputs."""

    def __init__(self, num_classes: int | None) -> None:
        self.num_classes = num_classes
        self.count = 0
        self.low, self.high = math.inf, -math.inf
        self.x, self.y = CompensatedSum("inputs"), CompensatedSum("labels")

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add one batch of inputs and labels."""
        x, y = x.detach(), y.detach()
        _check_batch(x, y)
        rows = _ROWS if x.device.type == "cpu" else max(len(x), 1)
        for inputs, labels in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
            if len(inputs) > 0:
                self._add_rows(inputs, labels.cpu())

    def merge(self, other: "Sums") -> None:
        """Add the sums of another part of the data."""
        self.x.merge(other.x)
        self.y.merge(other.y)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.count += other.count

    def _add_rows(self, x: Tensor, y: Tensor) -> None:
        targets = dense_targets(y, self.num_classes, dtype=torch.float64)
        low, high = (float(edge) for edge in torch.aminmax(x))
        finite = {"inputs": math.isfinite(low) and math.isfinite(high)}
        finite["labels"] = bool(torch.isfinite(targets).all())
        for name, ok in finite.items():
            if not ok:
                raise ValueError(
                    f"{name} must be finite, got NaN or infinity among the examples "
                    f"{self.count} to {self.count + len(x) - 1}"
                )
        self.x.add(x.sum(0, dtype=torch.float64).cpu())
        self.y.add(targets.sum(0, dtype=torch.float64))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count += len(x)


def over_all_processes(measure: Callable[[], Sums]) -> Sums:
    """Measure each process's part and merge in rank order, so that all get the same bits.

    A process that fails tells the others, which would otherwise wait for it.

    Args:
        measure: sums of this process's part.

    Returns:
        The sums of all parts.

    Raises:
        DataError: another process failed; on that one, its own error.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return measure()
    own: Sums | Exception
    try:
        own = measure()
    except Exception as error:
        own = error
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, own if isinstance(own, Sums) else str(own))
    if isinstance(own, Exception):
        raise own
    merged = Sums(own.num_classes)
    for rank, part in enumerate(parts):
        if isinstance(part, str):
            raise DataError(f"process {rank} could not measure its part of the data: {part}")
        merged.merge(part)
    return merged


def _check_batch(x: Tensor, y: Tensor) -> None:
    check_examples(x, y)
    if x.numel() == 0 and len(x) > 0:
        raise ValueError(f"inputs have no entries, got shape {tuple(x.shape)}")
