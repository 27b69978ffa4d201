"""Data sets by name, in the model's own input space."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mixreg._errors import DataError, check_name
from mixreg._files import failure_text
from mixreg._random import generator
from mixreg.data.augmentation import CropAndFlip, Normalisation, Preprocessing
from mixreg.data.dataset import Batches, Dataset, InMemoryDataset, Split
from mixreg.data.datasets import DATASETS, IMAGENET, IN_MEMORY, Entry
from mixreg.data.image_folder import ImageFolderDataset, find_images
from mixreg.data.own import LoaderDataset, is_image_folder, is_own, read_own
from mixreg.data.published import (
    MissingDataError,
    Published,
    Root,
    S,
    Samples,
    data_root,
    flip_labels,
    stratified_holdout,
    stratified_share,
)
from mixreg.data.releases import download as fetch

__all__ = [
    "DATASETS",
    "Batches",
    "CropAndFlip",
    "Dataset",
    "InMemoryDataset",
    "MissingDataError",
    "Normalisation",
    "Preprocessing",
    "Samples",
    "Split",
    "is_image_folder",
    "is_own",
    "load",
]


def load(
    name: str,
    root: Root = None,
    *,
    seed: int = 0,
    validation_fraction: float = 0.1,
    training_fraction: float = 1.0,
    label_noise: float | None = None,
    augment: bool = True,
    class_order: Sequence[str] | None = None,
    download: bool = False,
    workers: int | None = None,
    label: str | None = None,
    standardise: bool = False,
    preprocessing: Preprocessing | None = None,
) -> Dataset:
    """Load a data set by its name, or a user's own.

    Args:
        name: one of `DATASETS`; else a user's own data: a folder of class folders, in or below
            which folders may be named after splits (train, val, test, ...); a .csv or .parquet
            file, or a folder of these by split; an .npz file, or an .npy file with others beside
            it, whose arrays are named as x_train, y_test, images, labels, ...; a folder saved by
            Hugging Face's `datasets`; or "package.module:function", which returns the loaders
            (train, test).
        root: the folder of the data sets; by default the environment variable `MIXREG_DATA`,
            else ./data. Not used by the data sets that need no files.
        seed: chooses the held-out samples, the share used, the noisy labels, and the instance of
            "two-moons".
        validation_fraction: part of the published training set that is held out, the same in
            each class; 0 gives an empty validation split.
        training_fraction: part of the remaining training set that is used, the same in each class;
            with one seed, a smaller part lies in every larger one.
        label_noise: fraction of the training labels to replace by another class, drawn uniformly;
            None for the data set's own, 0.2 for "two-moons" (appendix B.3) and 0 else.
        augment: whether training images are cropped and flipped at random, where that is usual.
        class_order: for class folders only, "torchvision", "timm", or the names of the folders in
            the order of the labels; by default they are sorted as torchvision does.
        download: fetch the data set if it is missing, through torchvision.
        workers: for images on disk only, processes that decode; by default one a usable core.
        label: of a user's table, the column of the labels.
        standardise: bring the features of a user's data to mean 0 and deviation 1 on the training
            samples; else they are used as they are.
        preprocessing: of a user's own images; mean and std alone where they are arrays.

    Returns:
        The data set.

    Raises:
        ValueError: unknown name, or an argument is out of range.
        MissingDataError: the data set is not there; a `DataError`.
        DataError: it is damaged, needs a package that is not installed, or cannot be downloaded.

    Example:
        >>> digits = load("digits")
        >>> [digits.size(split) for split in ("train", "validation", "test")]
        [1211, 136, 450]
    """
    _check(name, (label, standardise, preprocessing), class_order, workers)
    published = _read(name, root, download, lambda: _find(name, root, seed, label, class_order))
    if isinstance(published, LoaderDataset):
        if training_fraction != 1 or label_noise or standardise or preprocessing is not None:
            raise DataError(
                f"the loaders of {name} are taken as they are; shares, noise and the "
                "preparation of inputs are not for them"
            )
        return published
    entry = IN_MEMORY.get(name, Entry(lambda *_: published, standardised=standardise))
    noise = entry.label_noise if label_noise is None else label_noise
    splits = _split(published, seed, validation_fraction, training_fraction, noise)
    if isinstance(published.train, Samples):
        inputs, normalisation = published.train.inputs, entry.normalisation
        if normalisation is None and (inputs.dtype == torch.uint8 or preprocessing is not None):
            normalisation = _of_arrays(name, inputs, preprocessing or Preprocessing())
        return InMemoryDataset(
            name,
            _standardised(splits) if entry.standardised else splits,
            published.class_names,
            normalisation=normalisation,
            augmentation=entry.augmentation if augment else None,
            notes=published.notes,
        )
    chosen = (preprocessing or Preprocessing()) if is_own(name) else IMAGENET
    return ImageFolderDataset(
        name,
        splits,
        published.class_names,
        preprocessing=chosen,
        workers=_usable_cores() if workers is None else workers,
        augment=augment,
        notes=(*published.notes, str(chosen)) if is_own(name) else (),
    )


def _of_arrays(name: str, inputs: Tensor, stated: Preprocessing) -> Normalisation:
    """The normalisation of a user's images in memory, which keep their size."""
    if inputs.dtype != torch.uint8:
        raise DataError(f"mean, std and the like are for images, and {name} holds features")
    sides = tuple(inputs.shape[-2:])
    if stated.image_size and stated.size != sides:
        raise DataError(
            f"{name} holds images of {sides[0]}×{sides[1]} pixels, which are not resized to "
            f"{stated.size[0]}×{stated.size[1]}; resize them before"
        )
    return stated.normalisation(inputs.shape[1])


def _check(
    name: str, own: Sequence[object], class_order: Sequence[str] | None, workers: int | None
) -> None:
    """Refuse arguments that make no sense for a data set."""
    if not is_own(name):
        check_name("data set", name, DATASETS)
        if any(own):
            raise ValueError(f"label, standardise and preprocessing are not for {name}")
    if workers is not None and workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if class_order is not None and name in IN_MEMORY:
        raise ValueError(f"class_order is for folders of images (imagenet), not for {name}")


def _find(
    name: str, root: Root, seed: int, label: str | None, class_order: Sequence[str] | None
) -> Any:
    """What there is under a name, before any splitting."""
    if name in IN_MEMORY:
        return IN_MEMORY[name].read(root, seed)
    if is_own(name):
        return read_own(name, label, class_order)
    return find_images(name, data_root(root), class_order)


def _read(name: str, root: Root, download: bool, read: Callable[[], Any]) -> Any:
    """The published samples, fetched first if they are missing and that is asked for."""
    try:
        return read()
    except MissingDataError:
        if not download:
            raise
    except OSError as error:
        raise DataError(f"cannot read data set {name!r}: {failure_text(error)}") from error
    fetch(name, data_root(root))
    return _read(name, root, False, read)


def _split(
    published: Published[S], seed: int, held_out: float, used: float, noise: float
) -> dict[Split, S]:
    """Training samples, some labels replaced; validation and test samples, all labels kept."""
    samples, test, names = published.train, published.test, published.class_names
    source = generator(seed, "validation split")
    part = held_out if published.validation is None else 0.0
    kept, held = stratified_holdout(samples.labels, part, generator=source)
    source = generator(seed, "training share")
    share = stratified_share(samples.labels[kept], used, generator=source)
    train = samples.take(kept[share])
    source = generator(seed, "label noise")
    labels = flip_labels(train.labels, len(names), noise, generator=source)
    validation = samples.take(held) if published.validation is None else published.validation
    return {"train": train._replace(labels=labels), "validation": validation, "test": test}


def _standardised(splits: dict[Split, Samples]) -> dict[Split, Samples]:
    """Features with mean 0 and deviation 1 in each column of the training split."""
    train = splits["train"].inputs.double()
    mean, deviation = train.mean(0), train.std(0, correction=0)
    deviation[train.amax(0) == train.amin(0)] = 1.0  # rounding leaves of these a deviation
    return {
        split: samples._replace(inputs=((samples.inputs.double() - mean) / deviation).float())
        for split, samples in splits.items()
    }


def _usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
