"""Corrupted test sets, one kind and severity after the other: published, or generated and kept."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mixreg._errors import DataError, check_name
from mixreg._files import failure_text, whole_file
from mixreg._random import derive_seed
from mixreg.data.corruptions.corrupted import (
    CORRUPTIONS,
    SEVERITIES,
    ParameterSet,
    check_images,
    check_kind,
    check_severity,
    corrupted,
    corrupted_blocks,
)
from mixreg.data.published import MissingDataError

_VERSION = 1  # of the generators: it grows when a corruption comes out differently


@dataclass(frozen=True, eq=False)
class CorruptedSet:
    """The test images under one corruption of one severity.

    Attributes:
        kind: one of `CORRUPTIONS`.
        severity: 1 to 5.
        images: uint8, shape (n, height, width, channels), in the order of the clean images; on
            disk where they were published or kept, so that only what is used is read.
        source: where they come from, in words for a report.
    """

    kind: str
    severity: int
    images: NDArray[np.uint8]
    source: str


def corrupted_sets(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    *,
    seed: int = 0,
    published: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    kinds: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    parameters: ParameterSet = "cifar",
) -> Iterator[CorruptedSet]:
    """Corrupted test sets, one at a time.

    Args:
        images: the clean test images, uint8, shape (n, height, width, channels).
        labels: their labels, integers, shape (n,).
        seed: of the generated sets.
        published: a folder in the layout of CIFAR-10-C, to be read: a file KIND.npy for each kind,
            that holds the n images at severity 1, then those at severity 2, up to 5, and
            labels.npy. None generates the sets.
        cache: a folder that keeps the generated sets, each written whole or not at all; they are
            used again for the same images, seed and parameters. None keeps them in memory, one
            at a time.
        kinds: of `CORRUPTIONS`; by default all, but without "saturate" for grey images.
        severities: of 1 to 5.
        parameters: "cifar" or "imagenet", of the generated sets.

    Returns:
        The sets, kind by kind; arguments and published files are checked before the first.

    Raises:
        TypeError: as `corrupted`.
        ValueError: as `corrupted`, or images and labels differ in number.
        DataError: a published or kept file is missing or not what it should be.

    Example:
        >>> grey = np.full((2, 28, 28, 1), 100, np.uint8)
        >>> sets = corrupted_sets(grey, np.array([0, 1]), kinds=["fog", "contrast"])
        >>> [(s.kind, s.severity) for s in sets][4:6]
        [('fog', 5), ('contrast', 1)]
    """
    check_images(images)
    derive_seed(seed)
    if kinds is None:
        kinds = [k for k in CORRUPTIONS if k != "saturate" or images.shape[-1] != 1]
    for kind in kinds:
        check_name("corruption", kind, CORRUPTIONS)
    for severity in severities:
        check_severity(severity)
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images need as many labels, got {len(labels)}")
    if published is not None:
        return _published(Path(published), images, labels, kinds, severities)
    for kind in kinds:
        check_kind(images, kind, parameters)
    folder = None if cache is None else Path(cache) / _digest(images, seed, parameters)
    return _generated(images, kinds, severities, seed, parameters, folder)


def _published(
    folder: Path,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    kinds: Sequence[str],
    severities: Sequence[int],
) -> Iterator[CorruptedSet]:
    """Slices of the published files, all of which are checked now."""
    _check_labels(folder / "labels.npy", labels)
    shape = (len(SEVERITIES) * len(images), *images.shape[1:])
    arrays = {kind: _mapped(folder / f"{kind}.npy", shape) for kind in kinds}
    source = f"published files in {folder.name}"
    return (
        CorruptedSet(kind, s, np.split(arrays[kind], len(SEVERITIES))[s - 1], source)
        for kind in kinds
        for s in severities
    )


def _check_labels(path: Path, labels: NDArray[np.integer[Any]]) -> None:
    """Refuse labels that are not those of the clean images, once for each severity."""
    stored = _opened(path)
    if stored.dtype.kind not in "iu":
        raise DataError(f"{path} holds {stored.dtype}, expected integer labels")
    if stored.shape != (len(SEVERITIES) * len(labels),):
        raise DataError(
            f"{path} holds labels of shape {stored.shape}, expected the {len(labels)} labels of "
            "the clean images five times, once for each severity"
        )
    repeats = stored.reshape(len(SEVERITIES), -1)
    if (repeats != repeats[0]).any():
        raise DataError(f"{path} does not hold the same labels five times, once for each severity")
    if (repeats[0] != labels).any():
        raise DataError(
            f"{path} does not hold the labels of the clean images in their order; give the test "
            "images in the published order"
        )


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The images of a file without reading them, if it holds uint8 of this shape."""
    array: NDArray[np.uint8] = _opened(path)
    if array.dtype != np.uint8:
        raise DataError(f"{path} holds {array.dtype}, expected images of uint8")
    if array.shape[1:] == shape[1:] and len(array) != shape[0]:
        raise DataError(
            f"{path} holds {len(array)} images, expected {shape[0]}: "
            f"{shape[0] // len(SEVERITIES)} at each of five severities"
        )
    if array.shape != shape:
        raise DataError(f"{path} holds images of shape {array.shape}, expected {shape}")
    return array


def _opened(path: Path) -> NDArray[Any]:
    """A .npy file mapped into memory; nothing in it is unpickled."""
    try:
        array = npy.open_memmap(path, mode="r")
        extra = path.stat().st_size - array.offset - array.nbytes
    except FileNotFoundError as error:
        raise MissingDataError(
            f"no file {path.name} in {path.parent.absolute()}; the folder must hold labels.npy "
            "and a file KIND.npy for each kind of corruption, as CIFAR-10-C does"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {failure_text(error)}") from error
    except ValueError as error:
        raise DataError(f"{path} is no whole .npy file: {error}; get it again") from error
    if extra:
        raise DataError(f"{path} has {extra} bytes after its array; get it again")
    return array


def _generated(
    images: NDArray[np.uint8],
    kinds: Sequence[str],
    severities: Sequence[int],
    seed: int,
    parameters: ParameterSet,
    folder: Path | None,
) -> Iterator[CorruptedSet]:
    """Sets made when they are asked for, or mapped from the cache."""
    source = (
        f"generated from the clean images, {parameters} parameters of Hendrycks and Dietterich "
        f"(2019), seed {seed}, generators of version {_VERSION}"
    )
    for kind in kinds:
        made = f"{source}, frost from a procedural texture" if kind == "frost" else source
        for severity in severities:
            if folder is None:
                result = corrupted(images, kind, severity, seed=seed, parameters=parameters)
            else:
                path = folder / f"{kind}-{severity}.npy"
                if not path.is_file():
                    blocks = corrupted_blocks(
                        images, kind, severity, seed=seed, parameters=parameters
                    )
                    _write(path, blocks, images.shape)
                result = _kept(path, images.shape)
            yield CorruptedSet(kind, severity, result, made)


def _digest(images: NDArray[np.uint8], seed: int, parameters: str) -> str:
    """A name for everything that decides the generated sets."""
    digest = hashlib.sha256(repr((_VERSION, images.shape, seed, parameters)).encode())
    for start in range(0, len(images), 1024):
        digest.update(images[start : start + 1024].tobytes())
    return digest.hexdigest()[:16]


def _write(path: Path, blocks: Iterator[NDArray[np.uint8]], shape: tuple[int, ...]) -> None:
    """Write blocks of images as one .npy file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        npy.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
        )
        for block in blocks:
            file.write(block.tobytes())


def _kept(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A set of the cache; one that was damaged since is named with what to do."""
    array = _opened(path)
    if array.dtype != np.uint8 or array.shape != shape:
        raise DataError(f"{path} is not the set that was kept there; delete it")
    return array
