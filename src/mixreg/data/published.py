"""What a data set publishes: where it is looked for, its samples or image files, their splits."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixreg import _random
from mixreg._errors import DataError

ENVIRONMENT_VARIABLE = "MIXREG_DATA"
DEFAULT_ROOT = "data"

Root = str | os.PathLike[str] | None


class MissingDataError(DataError):
    """No part of a data set is in any of the places it was looked for in."""


def data_root(root: Root) -> Path:
    """The folder of the data sets: the argument, else `MIXREG_DATA`, else ./data; `~` expanded."""
    given = os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_ROOT if root is None else root
    if "\0" in os.fspath(given):
        raise DataError(f"the folder of the data sets cannot hold a NUL byte, got {str(given)!r}")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise DataError(
            f"the folder of the data sets is given as {str(given)!r}, but no such home directory "
            "is known; give its full path"
        ) from error


def refuse_missing(
    name: str, *, wanted: str, folders: Sequence[Path], remedy: str, root: Path
) -> NoReturn:
    """Say that a data set is nowhere, and how to get it."""
    places = ", ".join(str(folder.absolute()) for folder in folders)
    raise MissingDataError(
        f"data set {name!r} is missing: looked for {wanted} in {places}. {remedy} The folder of "
        f"the data sets is {root.absolute()}; choose it by the argument root (--data-root) or the "
        f"environment variable {ENVIRONMENT_VARIABLE}."
    )


class Samples(NamedTuple):
    """Inputs (n, ...), uint8 images or float32 features, and labels (n,) of dtype int64."""

    inputs: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> "Samples":
        """The samples with these indices, shape (k,), as a copy in channels_last memory."""
        inputs, labels = self.inputs, self.labels.index_select(0, rows)
        if inputs.ndim != 4:
            return Samples(inputs.index_select(0, rows), labels)
        # Runs of bytes are copied many times faster than strided images are gathered.
        n, channels, height, width = inputs.shape
        pixels = inputs.permute(0, 2, 3, 1).reshape(n, -1).index_select(0, rows)
        return Samples(pixels.view(-1, height, width, channels).permute(0, 3, 1, 2), labels)


def digest_of(arrays: Iterable[Tensor]) -> str:
    """Digest of the bytes of tensors, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array.detach().cpu().numpy()).data)
    return digest.hexdigest()


class ImageFiles(NamedTuple):
    """Images on disk: a folder, their paths in it as bytes (n,), and labels (n,) of dtype int64."""

    folder: Path
    paths: NDArray[np.bytes_]  # no list of strings: worker processes share it without copying it
    labels: Tensor

    def take(self, rows: Tensor | slice) -> "ImageFiles":
        """The images with these indices."""
        index = rows if isinstance(rows, slice) else rows.numpy()
        return ImageFiles(self.folder, self.paths[index], self.labels[rows])

    def digest(self) -> str:
        """Digest of labels, and of names, sizes and times of the files."""
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        for path in self.paths:
            about = (self.folder / os.fsdecode(path)).stat()
            digest.update(path + f" {about.st_size} {about.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def at(self, index: int) -> tuple[str, Path]:
        """What to call an image, and its file."""
        path = self.folder / os.fsdecode(self.paths[index])
        return str(path), path


class ImageTable(NamedTuple):
    """Images in a column of a table on disk: the rows used, and labels (n,) of dtype int64.

    The table gives a row as a mapping; its image is undecoded, as `bytes` or the `path` of a file.
    """

    name: str
    table: Any
    column: str
    rows: Tensor
    labels: Tensor

    def take(self, rows: Tensor | slice) -> "ImageTable":
        """The images with these indices."""
        return self._replace(rows=self.rows[rows], labels=self.labels[rows])

    def digest(self) -> str:
        """Digest of labels and undecoded images."""
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        for index in range(len(self.rows)):
            _, file = self.at(index)
            digest.update(file.read_bytes() if isinstance(file, Path) else file.getvalue())
        return digest.hexdigest()

    def at(self, index: int) -> tuple[str, Path | BytesIO]:
        """What to call an image, and its file."""
        row = int(self.rows[index])
        image = self.table[row][self.column] or {"bytes": b""}  # a missing one is no image
        name = f"{self.name}, row {row}"
        return name, Path(image["path"]) if image["bytes"] is None else BytesIO(image["bytes"])


Images = ImageFiles | ImageTable
S = TypeVar("S", Samples, ImageFiles, ImageTable)


class Published(NamedTuple, Generic[S]):
    """The published samples before any splitting or noise, and what was assumed of them."""

    train: S
    test: S
    class_names: tuple[str, ...]
    validation: S | None = None
    notes: tuple[str, ...] = ()


_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}
TEST_FRACTION, TEST_SEED = 0.25, 0
"""Where data are not split, a quarter of each class is the test set, whatever seed a run has."""


def split_of(name: str) -> str | None:
    """The split that a folder, table or array promises by its name."""
    return next((split for split, names in _SPLITS.items() if name.lower() in names), None)


def by_split(place: object, names: Iterable[str]) -> dict[str, str]:
    """Which name is which split; two of one split are refused."""
    found: dict[str, str] = {}
    for name in names:
        if (split := split_of(name)) is not None:
            if split in found:
                raise DataError(f"{place} has both {found[split]} and {name}; keep one of them")
            found[split] = name
    return found


def publish(place: object, parts: dict[str, S], class_names: tuple[str, ...]) -> Published[S]:
    """Samples by split, or all of them under "", as those for training, testing and validation."""
    notes, validation = [], None
    if "train" in parts:
        test = parts.get("test", parts.get("validation"))
        if test is None:
            raise DataError(
                f"{place} has training samples and none for testing; expected a part named test "
                f"or {', '.join(_SPLITS['validation'])}"
            )
        train, validation = parts["train"], parts.get("validation") if "test" in parts else None
        if "test" not in parts:
            notes.append(
                f"The validation part of {place} is the test set; a training may have chosen its "
                "best epoch on it."
            )
    elif "" in parts:
        source = _random.generator(TEST_SEED, "test set")
        rows = stratified_holdout(parts[""].labels, TEST_FRACTION, generator=source)
        train, test = (parts[""].take(part) for part in rows)
        notes.append(f"{place} is not split: a quarter of each class, by chance, is the test set.")
    else:
        raise DataError(f"{place} has the parts {', '.join(parts)}, and none for training (train)")
    if not len(test.labels) or not len(train.labels):
        raise DataError(f"{place} has too few samples: none is left for training or for testing")
    absent = [n for k, n in enumerate(class_names) if not bool((test.labels == k).any())]
    if absent:
        notes.append(f"No test example of {place} is of the classes {', '.join(absent[:5])}.")
    return Published(train, test, class_names, validation, tuple(notes))


def stratified_holdout(
    labels: Tensor, fraction: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices kept and held out, ascending; of each class this fraction is held out, never all."""
    if not 0 <= fraction < 1:
        raise ValueError(f"need 0 <= validation_fraction < 1, got {fraction}")
    is_held = torch.zeros(len(labels), dtype=torch.bool)
    ends = labels.bincount().cumsum(0)[:-1]
    for members in labels.argsort(stable=True).tensor_split(ends):
        count = max(0, min(round(fraction * len(members)), len(members) - 1))
        shuffled = members[torch.randperm(len(members), generator=generator)]
        is_held[shuffled[:count]] = True
    return (~is_held).nonzero().squeeze(1), is_held.nonzero().squeeze(1)


def stratified_share(labels: Tensor, fraction: float, *, generator: torch.Generator) -> Tensor:
    """Indices of a share of the samples, in ascending order, the same fraction of every class."""
    if not 0 < fraction <= 1:
        raise ValueError(f"need 0 < training_fraction <= 1, got {fraction}")
    return stratified_holdout(labels, 1 - fraction, generator=generator)[0]


def flip_labels(
    labels: Tensor, num_classes: int, fraction: float, *, generator: torch.Generator
) -> Tensor:
    """The labels, a fraction of them replaced by another class, drawn uniformly from the others."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"need 0 <= label_noise <= 1, got {fraction}")
    count = round(fraction * len(labels))
    chosen = torch.randperm(len(labels), generator=generator)[:count]
    shift = torch.randint(1, num_classes, (count,), generator=generator)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift) % num_classes
    return noisy
