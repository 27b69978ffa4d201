"""A data set that Hugging Face's `datasets` saved to a folder: one column of images, or numbers."""

from pathlib import Path

import numpy as np
import torch

from mixreg._errors import DataError, require
from mixreg.data.published import ImageTable, Published, Samples, by_split, publish
from mixreg.data.tables import class_labels, from_frames


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
        return from_frames(folder, frames, label, names)
    raw = datasets.Image(decode=False)
    columns = {split: np.asarray(list(part[label])) for split, part in parts.items()}
    labels, names = class_labels(folder, columns, names)
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
