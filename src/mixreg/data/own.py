"""A user's own data: a folder, a file, or a function."""

import os
from collections.abc import Sequence
from pathlib import Path

from mixreg._errors import DataError
from mixreg._lazy import is_function
from mixreg.data.datasets import DATASETS
from mixreg.data.huggingface import is_saved, read_saved
from mixreg.data.image_tree import find_own_images
from mixreg.data.loaders import LoaderDataset, read_function
from mixreg.data.published import ImageFiles, ImageTable, Published, Samples
from mixreg.data.tables import ARRAYS, TABLES, read_arrays, read_tables, split_files

Own = Published[Samples] | Published[ImageFiles] | Published[ImageTable] | LoaderDataset


def is_own(name: str) -> bool:
    """Whether a name is no data set's and looks like a user's own data."""
    looks_so = "/" in name or is_function(name) or Path(name).suffix.lower() in (*TABLES, *ARRAYS)
    return name not in DATASETS and (looks_so or os.path.lexists(name))


def is_image_folder(name: str) -> bool:
    """Whether a name is that of a folder of class folders."""
    path = Path(name)
    is_folder = os.path.lexists(name) and path.is_dir()
    return is_folder and is_own(name) and not (is_saved(path) or split_files(path))


def read_own(name: str, label: str | None, class_order: Sequence[str] | None) -> Own:
    """The samples, by the reader for what a name says."""
    path, suffix = Path(name), Path(name).suffix.lower()
    if class_order is not None and not is_image_folder(name):
        raise DataError(f"class_order is for folders of class folders, not for {name}")
    is_folder = os.path.lexists(name) and path.is_dir()
    if is_folder and is_saved(path):
        return read_saved(path, label)
    if suffix in TABLES or (is_folder and split_files(path)):
        return read_tables(path, label)
    if label is not None:
        raise DataError(f"label (--label) names a column of a table, and {name} is none")
    if is_folder:
        return find_own_images(path, class_order)
    if suffix in ARRAYS:
        return read_arrays(path)
    if is_function(name):
        return read_function(name)
    raise DataError(
        f"there is no folder {name}, and it is neither a file ({', '.join(TABLES + ARRAYS)}) nor "
        "package.module:function"
    )
