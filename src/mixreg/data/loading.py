"""`load`: a data set by its name, with held-out samples and label noise."""

import os
from typing import TypeVar

from mixreg._errors import check_name
from mixreg._random import generator
from mixreg.data.catalogue import DATASETS, IMAGENET_NORMALISATION, IN_MEMORY, Root
from mixreg.data.dataset import Dataset, Split
from mixreg.data.download import download as fetch
from mixreg.data.image_folder import ImageFolderDataset
from mixreg.data.image_tree import ImageFiles, ImageTree, find_images
from mixreg.data.in_memory import InMemoryDataset, Samples
from mixreg.data.location import MissingDataError
from mixreg.data.official import Official
from mixreg.data.splits import flip_labels, stratified_holdout

S = TypeVar("S", Samples, ImageFiles)


def load(
    name: str,
    root: Root = None,
    *,
    seed: int = 0,
    validation_fraction: float = 0.1,
    label_noise: float | None = None,
    augment: bool = True,
    download: bool = False,
    workers: int | None = None,
) -> Dataset:
    """Load a data set by its name.

    Args:
        name: one of `DATASETS`.
        root: the folder of the data sets; by default the environment variable `MIXREG_DATA`,
            else ./data. Not used by "digits" and "two-moons", which need no files.
        seed: chooses the held-out samples and the noisy labels, and the instance of "two-moons".
        validation_fraction: part of the published training set that is held out, the same in
            each class; 0 gives an empty validation split.
        label_noise: fraction of the remaining training labels to replace by another class, drawn
            uniformly; None for the data set's own, 0.2 for "two-moons" (appendix B.3) and 0 else.
        augment: whether training images are cropped and flipped at random, where that is usual
            for the data set.
        download: fetch the data set if it is missing, through torchvision.
        workers: processes that decode images, for "imagenet" only; by default one for each usable
            core.

    Returns:
        The data set.

    Raises:
        ValueError: unknown name, or a fraction or `workers` is out of range.
        MissingDataError: the data set is not there; a `DataError`.
        DataError: the data set is damaged, needs a package that is not installed, or could not be
            downloaded.

    Example:
        >>> digits = load("digits")
        >>> [digits.size(split) for split in ("train", "validation", "test")]
        [1211, 136, 450]
    """
    check_name("data set", name, DATASETS)
    if workers is not None and workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    published = _read(name, root, seed, download=download)
    num_classes = len(published.class_names)
    if isinstance(published, ImageTree):
        images = _split(
            published.train,
            published.test,
            num_classes,
            seed=seed,
            fraction=validation_fraction,
            noise=label_noise or 0.0,
        )
        return ImageFolderDataset(
            name,
            images,
            published.class_names,
            normalisation=IMAGENET_NORMALISATION,
            workers=_usable_cores() if workers is None else workers,
            augment=augment,
        )
    entry = IN_MEMORY[name]
    samples = _split(
        published.train,
        published.test,
        num_classes,
        seed=seed,
        fraction=validation_fraction,
        noise=entry.label_noise if label_noise is None else label_noise,
    )
    return InMemoryDataset(
        name,
        samples,
        published.class_names,
        normalisation=entry.normalisation,
        augmentation=entry.augmentation if augment else None,
    )


def _read(name: str, root: Root, seed: int, *, download: bool) -> Official | ImageTree:
    """The published samples, fetched first if they are missing and that is asked for."""
    try:
        return IN_MEMORY[name].read(root, seed) if name in IN_MEMORY else find_images(name, root)
    except MissingDataError:
        if not download:
            raise
    fetch(name, root)
    return _read(name, root, seed, download=False)


def _split(
    official: S, test: S, num_classes: int, *, seed: int, fraction: float, noise: float
) -> dict[Split, S]:
    """Training samples, some labels replaced; validation and test samples, all labels kept."""
    source = generator(seed, "validation split")
    kept, held = stratified_holdout(official.labels, fraction, generator=source)
    train = official.take(kept)
    source = generator(seed, "label noise")
    labels = flip_labels(train.labels, num_classes, noise, generator=source)
    return {
        "train": train._replace(labels=labels),
        "validation": official.take(held),
        "test": test,
    }


def _usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
