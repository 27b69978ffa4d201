"""A user's tables and arrays: .csv, .parquet, .npz, .npy, and folders of Hugging Face's `datasets`.

A column or array holds the labels: class indices, or text in sorted order. Inputs are features as
they are, or images.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixreg._errors import DataError, require
from mixreg.data.published import ImageTable, Published, Samples, by_split, publish, split_of

TABLES, ARRAYS = (".csv", ".parquet"), (".npz", ".npy")

_INPUTS = {"x", "input", "inputs", "image", "images", "data", "features"}
_LABELS = {"y", "label", "labels", "target", "targets"}

Array = NDArray[Any]


def split_files(folder: Path) -> dict[str, str]:
    """The tables in a folder that are named after splits."""
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in TABLES]
    stems = {Path(name).stem: name for name in sorted(names)}
    return {split: stems[stem] for split, stem in by_split(folder, stems).items()}


def read_tables(path: Path, label: str | None) -> Published[Samples]:
    """A table, or a folder with one for each split; all columns but the label are features."""
    files = {k: path / name for k, name in split_files(path).items()} if path.is_dir() else {}
    pandas = require("pandas", extra="tables", purpose=f"reading {path}", error=DataError)
    frames = {}
    for split, file in (files or {"": path}).items():
        try:
            is_csv = file.suffix.lower() == ".csv"
            with warnings.catch_warnings(action="error", category=pandas.errors.ParserWarning):
                frame = (
                    pandas.read_csv(file, index_col=False) if is_csv else pandas.read_parquet(file)
                )
        except ImportError as error:
            raise DataError(
                f"reading {file} needs pyarrow: pip install 'mixreg[tables]'"
            ) from error
        except (ValueError, OSError, pandas.errors.ParserWarning) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{file} is damaged or no table: {reason}") from error
        nameless = [c for c in map(str, frame.columns) if c.startswith("Unnamed: ")]
        if is_csv and nameless:
            raise DataError(
                f"{file} has a column without a name, which would be a feature; name it, or write "
                "the table without its index (to_csv(..., index=False))"
            )
        frames[split] = frame
    return _from_frames(path, frames, label)


def _from_frames(
    path: Path, frames: Mapping[str, Any], label: str | None, names: tuple[str, ...] | None = None
) -> Published[Samples]:
    """Data frames by split as samples."""
    columns = [str(column) for column in next(iter(frames.values())).columns]
    if label is None or label not in columns:
        given = "say which" if label is None else f"{label!r} is none"
        raise DataError(
            f"a column of {path} holds the labels, {given} (--label); there are "
            f"{', '.join(columns[:20])}"
        )
    parts = {}
    for split, frame in frames.items():
        frame.columns = frame.columns.map(str)
        if sorted(frame.columns) != sorted(columns):
            raise DataError(f"the parts of {path} do not have the same columns")
        if empty := [f"{name} ({n} rows)" for name, n in frame.isna().sum().items() if n]:
            raise DataError(
                f"{path} has missing values in {', '.join(empty[:5])}; fill them in or drop the "
                "rows before"
            )
        features = frame[[column for column in columns if column != label]]
        text = [name for name, kind in features.dtypes.items() if not _is_number(kind)]
        if text:
            raise DataError(
                f"{path} has columns that are no numbers: {', '.join(text[:5])}; encode them before"
            )
        parts[split] = features.to_numpy(np.float32), frame[label].to_numpy()
    return _published(path, parts, names)


def read_arrays(path: Path) -> Published[Samples]:
    """The arrays of an .npz file, or those beside an .npy file, by their names."""
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
        else:
            files = sorted(path.parent.glob("*.npy"))
            arrays = {file.stem: np.load(file, allow_pickle=False) for file in files}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged or holds objects, not arrays: {error}") from error
    names = arrays.pop("class_names", None)
    if names is not None and (names.ndim != 1 or len({*map(str, names)}) < len(names)):
        raise DataError(f"{path} has class_names that are no list of different names")
    found: dict[str, dict[bool, Array]] = {}
    for name, array in arrays.items():
        words = re.split(r"[_\W]+", name.lower())
        splits = [split for split in map(split_of, words) if split]
        kinds = [word in _LABELS for word in words if word in _INPUTS | _LABELS]
        if len(kinds) != 1 or len(splits) > 1 or len(kinds) + len(splits) != len(words):
            raise DataError(
                f"{path} or what lies beside it holds the array {name}; expected "
                "inputs (x, inputs, images, ...) and labels (y, labels, targets, ...), each as it "
                "is or with train, val or test, such as x_train"
            )
        found.setdefault((splits or [""])[0], {})[kinds[0]] = array
    for split, pair in found.items():
        if len(pair) < 2:
            held = "labels" if True in pair else "inputs"
            raise DataError(f"{path} has only {held} for the split {split or 'of all samples'}")
    parts = {split: (_inputs(path, pair[False]), pair[True]) for split, pair in found.items()}
    return _published(path, parts, None if names is None else tuple(map(str, names)))


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def read_saved(folder: Path, label: str | None) -> Published[Samples] | Published[ImageTable]:
    """The samples of a saved data set; images stay on disk until they are decoded."""
    datasets = require(
        "datasets", extra="huggingface", purpose=f"reading {folder}", error=DataError
    )
    try:
        stored = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{folder} is no readable folder of datasets: {reason}") from error
    whole = isinstance(stored, datasets.Dataset)
    parts = {"": stored} if whole else {k: stored[n] for k, n in by_split(folder, stored).items()}
    if not parts:
        raise DataError(f"{folder} has the splits {', '.join(stored)}; expected train and test")
    features = next(iter(parts.values())).features
    classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if label is None and len(classes) == 1:
        label = classes[0]
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    names = tuple(features[label].names) if label in classes else None
    if len(images) != 1 or label not in features:
        if len(images) > 1:
            raise DataError(f"{folder} has several columns of images: {', '.join(images)}")
        frames = {split: part.to_pandas() for split, part in parts.items()}
        return _from_frames(folder, frames, label, names)
    raw = datasets.Image(decode=False)
    columns = {split: np.asarray(list(part[label])) for split, part in parts.items()}
    labels, names = _class_labels(folder, columns, names)
    tables = {
        split: ImageTable(
            f"{folder} ({split or 'all'})",
            part.cast_column(images[0], raw),
            images[0],
            torch.arange(len(part)),
            labels[split],
        )
        for split, part in parts.items()
    }
    return publish(folder, tables, names)


def _class_labels(
    place: object, labels: Mapping[str, Array], names: tuple[str, ...] | None
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Class indices by split, and the names of the classes, which the training labels decide."""
    first = "train" if "train" in labels else ""
    if first not in labels:
        raise DataError(f"{place} has the parts {', '.join(labels)}, and none for training (train)")
    flat = {split: _flat(place, array) for split, array in labels.items()}
    if not len(flat[first]):
        raise DataError(f"{place} has no examples for training")
    known = np.unique(flat[first])
    if known.dtype.kind in "iu" and names is None:
        if known[0] != 0 or known[-1] != len(known) - 1:
            raise DataError(
                f"the training labels of {place} are {', '.join(map(str, known[:10]))}; expected "
                "the class indices from 0 on without a gap, or text"
            )
        names = tuple(map(str, known))
    count = len(known) if names is None else len(names)
    if count < 2:
        raise DataError(f"{place} has labels of {count} class, expected at least 2")
    indices = {}
    for split, array in flat.items():
        if array.dtype.kind in "iu":
            strange = np.unique(array[(array < 0) | (array >= count)])
            number = array
        else:
            order = known if names is None else np.array(names)
            strange, by_name = np.setdiff1d(array, order), np.argsort(order)
            number = by_name[np.searchsorted(order, array, sorter=by_name) % len(order)]
        if len(strange):
            raise DataError(
                f"the labels {', '.join(map(str, strange[:5]))} of {place} are none of the "
                f"{count} classes that are trained on"
            )
        indices[split] = torch.from_numpy(number.astype(np.int64))
    return indices, names or tuple(map(str, known))


def _published(
    path: Path, parts: Mapping[str, tuple[Array, Array]], names: tuple[str, ...] | None
) -> Published[Samples]:
    labels, names = _class_labels(path, {split: y for split, (_, y) in parts.items()}, names)
    samples = {}
    for split, (inputs, _) in parts.items():
        if len(inputs) != len(labels[split]):
            raise DataError(f"{path} has {len(inputs)} inputs and {len(labels[split])} labels")
        if not np.isfinite(inputs).all():
            raise DataError(f"{path} has inputs that are not finite; fill them in or drop them")
        own = torch.from_numpy(np.require(inputs, requirements="W"))
        samples[split] = Samples(own, labels[split])
    return publish(path, samples, names)


def _flat(place: object, labels: Array) -> Array:
    """Labels as one column of integers or text."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{place} has soft or one-hot labels of shape {labels.shape}; expected class indices "
            "of shape (n,): take their argmax where one entry of each row is 1"
        )
    if labels.dtype.kind in "biu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        raise DataError(f"{place} has labels of {labels.dtype}; expected class indices or text")
    if not all(isinstance(value, str) for value in labels):
        raise DataError(f"{place} has labels that are neither class indices nor text")
    return labels.astype(str)


def _inputs(path: Path, array: Array) -> Array:
    """Features as float32, or uint8 images with the channels first."""
    if array.dtype.kind not in "biuf" or array.ndim < 2:
        raise DataError(
            f"{path} has inputs of {array.dtype} and shape {array.shape}; expected numbers of "
            "shape (n, ...)"
        )
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        return array.astype(np.float32)
    if array.ndim == 3:
        return array[:, None]
    first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
    if first == last:
        raise DataError(
            f"{path} has images of shape {array.shape}; expected 1 or 3 channels, first or last"
        )
    return array if first else np.moveaxis(array, 3, 1)


def _is_number(kind: Any) -> bool:
    return getattr(kind, "kind", "O") in "biuf"
