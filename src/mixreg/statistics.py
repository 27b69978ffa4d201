"""The training means x̄ and ȳ that shrinking and rescaling refer to (equations 5 and 22)."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import torch
from torch import Tensor
from torch import distributed as dist

from mixreg._checks import Place, check_examples, dense_targets, dims, split_one
from mixreg._errors import CheckpointError, DataError, check_name
from mixreg._files import read_tensors, write_tensors
from mixreg.power import BandPower, Basis, component_bands, cosine_bands

_FORMAT = "mixreg.TrainingStatistics/2"
_BLOCK = 256  # inputs whose powers are measured at once
_FLAT = 1e-10  # of the largest variance: what rounding leaves of a direction without any
_ROWS = 64  # enough for vectorised sums, few enough for the float64 copy to stay in the cache


@dataclass(frozen=True, eq=False)
class TrainingStatistics:
    """Means of the training inputs and labels, in the model's own input space.

    That space is the one after normalisation and training augmentation, before mixing.

    Args:
        x_mean: x̄, the mean input, float64, the shape of one input, or one number for each channel,
            such as (3, 1, 1).
        y_mean: ȳ, the mean label, float64, shape (c,) for classes, the shape of one target for
            regression, () for one number.
        count: how many examples were averaged.
        x_min: smallest entry of any input, or None where it was not measured.
        x_max: largest entry of any input, or None where it was not measured.
        second_moments: power of the inputs in bands, or None where it was not measured.

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
    second_moments: BandPower | None = None

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
        inputs: Place | None = None,
        labels: Place | None = None,
        second_moments: Basis | None = None,
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
            inputs: where in a batch x is, as for `Mixup`: a key, a position or a function.
            labels: where y is, likewise; needed for batches that are no sequences (x, y, ...).
            second_moments: what else to measure for `PowerMatchedModel`: "spectral" bands of
                images, in a second pass, or bands of principal "components" of inputs with d
                entries, in two more passes with d² numbers in memory.
            progress: show a progress bar on a terminal when the pass lasts over a second, if the
                package tqdm is installed.

        Returns:
            The statistics.

        Raises:
            ValueError: no batch, NaN or infinite inputs, labels out of range, changing shapes.
            TypeError: batches that are not pairs of tensors, integer inputs, ambiguous labels; an
                iterator where more than one pass is needed.
            DataError: another process failed in one of these ways.
        """
        if second_moments is not None and iter(loader) is loader:
            raise TypeError(
                "second moments need more than one pass, and an iterator gives one; give the "
                "loader itself, or a list of batches"
            )

        def batches() -> Iterable[tuple[Tensor, Tensor]]:
            shown = _with_progress(loader) if progress else loader
            return (split_one(batch, inputs, labels) for batch in shown)

        return cls._measured(batches, num_classes, second_moments, everywhere=True)

    @classmethod
    def from_tensors(
        cls,
        x: Tensor,
        y: Tensor,
        num_classes: int | None = None,
        *,
        second_moments: Basis | None = None,
    ) -> Self:
        """Average over a data set held in two tensors, of this process alone.

        Args:
            x: inputs, floating point, shape (n, ...).
            y: labels, as in `from_loader`.
            num_classes: number of classes c; needed for class indices.
            second_moments: as in `from_loader`.

        Returns:
            The statistics.

        Raises:
            ValueError: an empty, NaN or infinite data set, labels out of range.
            TypeError: integer inputs, ambiguous labels.
        """
        return cls._measured(lambda: [(x, y)], num_classes, second_moments, everywhere=False)

    @classmethod
    def _measured(
        cls, batches: "_Batches", num_classes: int | None, basis: Basis | None, *, everywhere: bool
    ) -> Self:
        """Passes over the data: for the means, the principal components, the powers."""
        sums = _over(batches, _Sums(num_classes), everywhere)
        if sums.count == 0:
            raise ValueError("cannot average an empty loader: it gave no example")
        n = sums.count
        x_mean = sums.x.mean(n)
        power = None if basis is None else _band_power(x_mean, basis, batches, everywhere)
        return cls(x_mean, sums.y.mean(n), n, sums.low, sums.high, power)

    def per_channel(self) -> Self:
        """The same with one mean for each channel, which fit inputs of every size.

        Returns:
            Statistics with x̄ of shape (c, 1, ...), the mean over the positions of each channel,
            without second moments, which are those of one size.

        Raises:
            ValueError: the inputs have no positions beside their channels.

        Example:
            >>> x, y = torch.arange(24.0).reshape(2, 3, 2, 2), torch.tensor([0, 1])
            >>> TrainingStatistics.from_tensors(x, y, 2).per_channel().x_mean.flatten()
            tensor([ 7.5000, 11.5000, 15.5000], dtype=torch.float64)
        """
        if self.x_mean.ndim < 2:
            raise ValueError(
                f"inputs of shape (n, {dims(self.x_mean)}) have no channels with positions; "
                "their means are already one a feature"
            )
        mean = self.x_mean.mean(tuple(range(1, self.x_mean.ndim)), keepdim=True)
        return dataclasses.replace(self, x_mean=mean, second_moments=None)

    def save(self, path: str | Path) -> None:
        """Write the statistics as one safetensors file, whole or not at all.

        Args:
            path: the file; an existing one is replaced.

        Raises:
            DiskFullError: there is no room.
            OSError: any other failure of the file system.
        """
        tensors = {"x_mean": self.x_mean, "y_mean": self.y_mean}
        if self.second_moments is not None:
            parts = vars(self.second_moments).items()
            tensors |= {f"power.{name}": part for name, part in parts if part is not None}
        write_tensors(Path(path), tensors, self.describe())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, and check the digest that it wrote with it.

        Args:
            path: the file.

        Returns:
            The statistics.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file holds no training statistics, or was changed since.
        """
        kind, remedy = "training statistics", "write one with TrainingStatistics.save"
        means, about = read_tensors(Path(path), kind=kind, remedy=remedy)
        if about.get("format") != _FORMAT:
            raise CheckpointError(f"{path} holds no {kind} ({_FORMAT}); {remedy}")
        try:
            x_mean, y_mean, count = means.pop("x_mean"), means.pop("y_mean"), about["count"]
            parts = {name.removeprefix("power."): part for name, part in means.items()}
            power = BandPower(**parts) if parts else None
            return cls(x_mean, y_mean, count, about["x_min"], about["x_max"], power)
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} holds no {kind}: {error}; {remedy}") from error

    def describe(self) -> dict[str, Any]:
        """Format, count, shapes, range, class prior, basis of second moments: JSON-safe values."""
        return {
            "format": _FORMAT,
            "count": self.count,
            "input_shape": list(self.x_mean.shape),
            "target_shape": list(self.y_mean.shape),
            "y_mean": self.y_mean.tolist(),
            "x_min": self.x_min,
            "x_max": self.x_max,
            "second_moments": self.second_moments and self.second_moments.basis,
        }


class _CompensatedSum:
    """A sum of tensors as an unevaluated pair high + low, by Knuth's exact two-sum."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.high = torch.zeros((), dtype=torch.float64, device="cpu")
        self.low = torch.zeros((), dtype=torch.float64, device="cpu")
        self.empty = True

    def add(self, term: Tensor) -> None:
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

    def merge(self, other: "_CompensatedSum") -> None:
        if not other.empty:
            self.add(other.high)
            self.low = self.low + other.low

    def mean(self, count: int) -> Tensor:
        return (self.high + self.low) / count


class _Sums:
    """Sums of inputs and labels, their number, and the range of the inputs."""

    def __init__(self, num_classes: int | None) -> None:
        self.num_classes = num_classes
        self.count = 0
        self.low, self.high = math.inf, -math.inf
        self.x, self.y = _CompensatedSum("inputs"), _CompensatedSum("labels")

    def add(self, x: Tensor, y: Tensor, /) -> None:
        check_examples(x, y)
        if x.numel() == 0 and len(x) > 0:
            raise ValueError(f"inputs have no entries, got shape {tuple(x.shape)}")
        x, y = (values.detach().as_subclass(Tensor) for values in (x, y))
        rows = _ROWS if x.device.type == "cpu" else max(len(x), 1)
        for inputs, labels in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
            if len(inputs) > 0:
                self._add_rows(inputs, labels.cpu())

    def merge(self, other: "_Sums") -> None:
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


class _Moments:
    """Mean and covariance over examples of vectors (n, k) that are made of the inputs."""

    def __init__(self, vectors: Callable[[Tensor], Tensor]) -> None:
        self.vectors, self.count = vectors, 0
        self.first, self.second = _CompensatedSum("inputs"), _CompensatedSum("inputs")

    def add(self, x: Tensor, _: Tensor, /) -> None:
        for rows in torch.split(x.detach().as_subclass(Tensor), _BLOCK):
            if len(rows) > 0:
                vectors = self.vectors(rows.cpu().double())
                self.first.add(vectors.sum(0))
                self.second.add(vectors.T @ vectors)
                self.count += len(rows)

    def merge(self, other: "_Moments") -> None:
        self.first.merge(other.first)
        self.second.merge(other.second)
        self.count += other.count

    @property
    def mean(self) -> Tensor:
        return self.first.mean(self.count)

    @property
    def covariance(self) -> Tensor:
        return self.second.mean(self.count) - torch.outer(self.mean, self.mean)

    def __getstate__(self) -> dict[str, Any]:
        """Without the function, for the other processes."""
        return vars(self) | {"vectors": None}


_S = TypeVar("_S", _Sums, _Moments)
_Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


def _over(batches: _Batches, sums: _S, everywhere: bool) -> _S:
    """Sums of all examples, of this process or of all."""

    def measure() -> _S:
        for x, y in batches():
            sums.add(x, y)
        return sums

    return _over_all_processes(measure) if everywhere else measure()


def _band_power(x_mean: Tensor, basis: Basis, batches: _Batches, everywhere: bool) -> BandPower:
    """One pass over the powers, and for principal components one before it."""
    check_name("second_moments", basis, get_args(Basis))
    axes = None
    if basis == "components":
        centred = _Moments(lambda x: (x - x_mean).flatten(1))
        axes = _principal_axes(_over(batches, centred, everywhere).covariance)
    bands = cosine_bands(x_mean.shape) if axes is None else component_bands(axes)
    powers = _Moments(lambda x: bands.log_power(bands.coordinates(x - x_mean)))
    powers = _over(batches, powers, everywhere)
    return BandPower(powers.mean, powers.covariance, axes)


def _principal_axes(covariance: Tensor) -> Tensor:
    """Components of nonzero variance as rows, by falling variance."""
    values, vectors = torch.linalg.eigh(covariance)
    nonzero = values > _FLAT * values[-1]
    if not nonzero.any():
        raise ValueError("the inputs are all the same; there are no principal components")
    axes: Tensor = vectors[:, nonzero].T.flip(0).contiguous()
    return axes


def _over_all_processes(measure: Callable[[], _S]) -> _S:
    """Measure each process's part and merge in rank order, so that all get the same bits."""
    if not (dist.is_available() and dist.is_initialized()):
        return measure()
    own: _S | Exception
    try:
        own = measure()
    except Exception as error:
        own = error  # the others are told; else they would wait for this process
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, str(own) if isinstance(own, Exception) else own)
    if isinstance(own, Exception):
        raise own
    for rank, part in enumerate(parts):
        if isinstance(part, str):
            raise DataError(f"process {rank} could not measure its part of the data: {part}")
    merged: _S = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    return merged


def _with_progress(loader: Iterable[Any]) -> Iterable[Any]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return loader
    bar: Iterable[Any] = tqdm(loader, "training statistics", delay=1, disable=None)
    return bar
