"""Data sets by name, in the model's own input space."""

import os
from collections.abc import Callable, Sequence

from mixreg._errors import DataError, check_name
from mixreg._files import failure_text
from mixreg._random import generator
from mixreg.data import location
from mixreg.data.augmentation import CropAndFlip, Normalisation
from mixreg.data.dataset import Batches, Dataset, Split
from mixreg.data.datasets import DATASETS, IMAGENET_NORMALISATION, IN_MEMORY
from mixreg.data.image_folder import ImageFolderDataset
from mixreg.data.image_tree import find_images
from mixreg.data.in_memory import InMemoryDataset
from mixreg.data.location import MissingDataError, Root, data_root
from mixreg.data.published import Published, S, Samples
from mixreg.data.splits import flip_labels, stratified_holdout, stratified_share

__all__ = [
    "DATASETS",
    "Batches",
    "CropAndFlip",
    "Dataset",
    "InMemoryDataset",
    "MissingDataError",
    "Normalisation",
    "Samples",
    "Split",
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
) -> Dataset:
    """Load a data set by its name.

    Args:
        name: one of `DATASETS`.
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
        class_order: for "imagenet" only, "torchvision", "timm", or the names of the class folders
            in the order of the labels; by default they are sorted as torchvision does.
        download: fetch the data set if it is missing, through torchvision.
        workers: for "imagenet" only, processes that decode; by default one a usable core.

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
    check_name("data set", name, DATASETS)
    if workers is not None and workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if class_order is not None and name in IN_MEMORY:
        raise ValueError(f"class_order is for folders of images (imagenet), not for {name}")
    fractions = validation_fraction, training_fraction
    if name not in IN_MEMORY:
        images = _read(
            name, root, download, lambda: find_images(name, data_root(root), class_order)
        )
        return ImageFolderDataset(
            name,
            _split(images, seed, *fractions, label_noise or 0.0),
            images.class_names,
            normalisation=IMAGENET_NORMALISATION,
            workers=_usable_cores() if workers is None else workers,
            augment=augment,
        )
    entry = IN_MEMORY[name]
    samples = _read(name, root, download, lambda: entry.read(root, seed))
    noise = entry.label_noise if label_noise is None else label_noise
    splits = _split(samples, seed, *fractions, noise)
    return InMemoryDataset(
        name,
        _standardised(splits) if entry.standardised else splits,
        samples.class_names,
        normalisation=entry.normalisation,
        augmentation=entry.augmentation if augment else None,
    )


def _read(name: str, root: Root, download: bool, read: Callable[[], Published[S]]) -> Published[S]:
    """The published samples, fetched first if they are missing and that is asked for."""
    try:
        return read()
    except MissingDataError:
        if not download:
            raise
    except OSError as error:
        raise DataError(f"cannot read data set {name!r}: {failure_text(error)}") from error
    location.download(name, data_root(root))
    return _read(name, root, False, read)


def _split(
    published: Published[S], seed: int, held_out: float, used: float, noise: float
) -> dict[Split, S]:
    """Training samples, some labels replaced; validation and test samples, all labels kept."""
    samples, test, names = published
    source = generator(seed, "validation split")
    kept, held = stratified_holdout(samples.labels, held_out, generator=source)
    source = generator(seed, "training share")
    share = stratified_share(samples.labels[kept], used, generator=source)
    train = samples.take(kept[share])
    source = generator(seed, "label noise")
    labels = flip_labels(train.labels, len(names), noise, generator=source)
    return {"train": train._replace(labels=labels), "validation": samples.take(held), "test": test}


def _standardised(splits: dict[Split, Samples]) -> dict[Split, Samples]:
    """Features with mean 0 and deviation 1 in each column of the training split."""
    train = splits["train"].inputs.double()
    mean, deviation = train.mean(0), train.std(0, correction=0)
    deviation[deviation == 0] = 1.0
    return {
        split: samples._replace(inputs=((samples.inputs.double() - mean) / deviation).float())
        for split, samples in splits.items()
    }


def _usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
