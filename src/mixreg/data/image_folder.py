"""Data sets of image files: found in class folders, decoded by workers while the model trains."""

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from mixreg._errors import DataError, require, unknown_name
from mixreg._random import derive_seed, generator
from mixreg.data.augmentation import Normalisation, Preprocessing
from mixreg.data.dataset import Batch, Dataset, Share, Split
from mixreg.data.published import ImageFiles, Images, Published, by_split, publish, refuse_missing

RESIZED = 256
# Of all that names of images promise, whatever the one name says: ImageNet has a PNG called .JPEG.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_WANTED = "the folders train and val with one folder of images for each class"
_REMEDY = (
    "ImageNet needs an account at https://image-net.org/download.php; "
    "torchvision.datasets.ImageNet(ROOT) unpacks its archives into this layout."
)
ORDERS = ("torchvision", "timm")
"""Libraries whose numbering of class folders can be asked for by name."""


class ImageFolderDataset(Dataset):
    """A data set of image files: random resized crops and flips for training.

    Outside training images are resized and their middle is used, as the preprocessing says. What is
    drawn for an image depends on the seed, the epoch and its place in the epoch, never on the
    number of workers or processes.

    Pixels are 8-bit RGB, those of torchvision's `ImageFolder`: colours under transparency are kept
    and the transparency dropped, CMYK is converted without a profile, bits are 0 and 255, the
    orientation in EXIF is not applied. Unlike there, 16-bit greys keep their high byte, as 16-bit
    colours do, instead of being cut off at 255, and pixels without a stated range are refused.

    Source: the usual ImageNet pipeline, Szegedy et al., "Going Deeper with Convolutions",
    section 6, as in torchvision's reference recipe.
    """

    normalisation: Normalisation

    def __init__(
        self,
        name: str,
        splits: Mapping[Split, Images],
        class_names: tuple[str, ...],
        *,
        preprocessing: Preprocessing,
        workers: int,
        augment: bool = True,
        notes: tuple[str, ...] = (),
    ) -> None:
        purpose = f"data set {name}"
        v2 = require("torchvision.transforms.v2", extra="cli", purpose=purpose, error=DataError)
        sizes = {split: len(files.labels) for split, files in splits.items()}
        size, resize = preprocessing.size, [*preprocessing.resize]
        super().__init__(name, class_names, (3, *size), sizes, notes)
        self._splits = dict(splits)
        self.normalisation = preprocessing.normalisation(3)
        self._workers = workers
        mode = _interpolation(v2.InterpolationMode, preprocessing.interpolation)
        crop = v2.RandomResizedCrop(size, interpolation=mode)
        drawn = [crop, v2.RandomHorizontalFlip(), v2.PILToTensor()]
        self._shorter = min(resize)
        scaled = v2.Resize(resize, interpolation=mode)
        self._centre = v2.Compose([scaled, v2.CenterCrop(size), v2.PILToTensor()])
        self._training = v2.Compose(drawn) if augment else self._centre

    def digest(self, split: Split) -> str:
        """Digest of the files of a split, or of the images in a table."""
        return self._splits[split].digest()

    def _shuffled(self, order: Tensor, batch_size: int, share: Share) -> Iterator[Batch]:
        images = Decoder(self._splits["train"].take(order), self._training, share, self._shorter)
        return decoded(images, batch_size, self._workers, self.normalisation)

    def _ordered(self, split: Split, rows: slice, batch_size: int) -> Iterator[Batch]:
        images = Decoder(self._splits[split].take(rows), self._centre, None, self._shorter)
        return decoded(images, batch_size, self._workers, self.normalisation)


def decoded(
    images: "Decoder", batch_size: int, workers: int, normalisation: Normalisation
) -> Iterator[Batch]:
    """Images decoded and normalised a batch at a time by worker processes."""
    loader = DataLoader(
        images,
        batch_size=batch_size,
        num_workers=min(workers, -(-len(images) // batch_size)),
        collate_fn=partial(_collate, normalisation),
        generator=generator(0, "data loader"),
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


@dataclass(frozen=True, eq=False)
class Decoder(MapDataset[Batch | DataError]):
    """Images as uint8 tensors; in an epoch, each with the draws of its place in it.

    An error is returned, not raised: a DataLoader would bury it under the worker's traceback.
    """

    images: Images
    transform: Callable[[Any], Tensor]
    share: Share | None = None
    shorter: int = RESIZED

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> Batch | DataError:
        name, file = self.images.at(index)
        try:
            image = _open_rgb(file, self.shorter)
        except Exception as error:  # Pillow may raise anything on a damaged file
            return DataError(f"{name} is damaged or no image: {error}")
        label = self.images.labels[index]
        if self.share is None:
            return self.transform(image), label
        seed, epoch, rank, world_size = self.share
        place = rank + index * world_size
        # torchvision draws from PyTorch's global generator, which is put back afterwards.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "augmentation", epoch, place))
            return self.transform(image), label


def _collate(normalisation: Normalisation, items: list[Batch | DataError]) -> Batch | DataError:
    """Stack and normalise the items of a batch, or hand on the first error among them."""
    decoded = []
    for item in items:
        if isinstance(item, DataError):
            return item
        decoded.append(item)
    images, labels = zip(*decoded, strict=True)
    return normalisation(torch.stack(images)), torch.stack(labels)


def _interpolation(modes: Any, name: str) -> Any:
    names = [mode.value for mode in modes]
    if name not in names:
        raise DataError(str(unknown_name("interpolation", name, names)))
    return modes(name)


def _open_rgb(file: Path | BytesIO, shorter: int = RESIZED) -> Any:
    """Decode an image file to 8-bit RGB, as `ImageFolderDataset` says."""
    from PIL import Image

    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        scaled = max(width, height) / min(width, height) * shorter**2
        if Image.MAX_IMAGE_PIXELS and scaled > Image.MAX_IMAGE_PIXELS:
            raise ValueError(
                f"{width}×{height} pixels are {scaled:.0f} once the shorter side is {shorter}, "
                f"more than {Image.MAX_IMAGE_PIXELS}; crop the image"
            )
        if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
            raise ValueError(
                f"pixels of mode {image.mode!r} have no stated range; store it with 8 or 16 bits"
            )
        if image.mode.startswith("I"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        image.info.pop("transparency", None)  # Pillow warns of what is dropped with it
        return image.convert("RGB")


def find_images(name: str, root: Path, class_order: Sequence[str] | None) -> Published[ImageFiles]:
    """List the images of the folders train and val in ROOT/name or in ROOT, by class and path."""
    folders = [root / name, root]
    present = [f for f in folders if (f / "train").is_dir() and (f / "val").is_dir()]
    if not present:
        refuse_missing(name, wanted=_WANTED, folders=folders, remedy=_REMEDY, root=root)
    folder = present[0]
    return _published(folder, {"train": folder / "train", "test": folder / "val"}, class_order)


def find_own_images(folder: Path, class_order: Sequence[str] | None) -> Published[ImageFiles]:
    """List the images of a folder of class folders, or of those in split folders in or below it."""
    places = _split_folders(folder)
    if len(places) > 1:
        raise DataError(
            f"{folder} has folders for training and testing in several places: "
            f"{', '.join(str(place['train'].parent) for place in places[:5])}; name one of them"
        )
    names = _class_folders(folder)
    train = by_split(folder, names).get("train")
    if not places and train is not None and len(_class_folders(folder / train)) > 1:
        raise DataError(
            f"{folder} has class folders in {train} and none for testing (test, val, ...); there "
            f"are {', '.join(names[:5])}"
        )
    return _published(folder, places[0] if places else {"": folder}, class_order)


def _split_folders(folder: Path, depth: int = 3) -> list[dict[str, Path]]:
    """The folders of splits, at the uppermost places where some are for training and testing."""
    names = _class_folders(folder)
    found = by_split(folder, names)
    if "train" in found and len(found) > 1:
        return [{split: folder / name for split, name in found.items()}]
    return [
        place for name in names * (depth > 0) for place in _split_folders(folder / name, depth - 1)
    ]


def _published(
    place: Path, folders: Mapping[str, Path], class_order: Sequence[str] | None
) -> Published[ImageFiles]:
    first = folders.get("train", place)
    names = _class_folders(first)
    for other in folders.values():
        if unknown := set(_class_folders(other)) - {*names}:
            raise DataError(
                f"{first} and {other} do not have the same classes; without training images: "
                f"{', '.join(sorted(unknown)[:5])}"
            )
    if len(names) < 2:
        held = f" ({names[0]})" if names else ""
        raise DataError(f"{first} has {len(names)} class folders{held}, expected at least 2")
    classes = _ordered(first, names, class_order)
    parts = {split: _list_images(folder, classes) for split, folder in folders.items()}
    return publish(place, parts, classes)


def _class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, but for those that begin with a dot."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _ordered(folder: Path, names: list[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The classes as wanted, else sorted as torchvision does, with a warning where timm differs."""
    natural = sorted(names, key=_natural)
    if wanted in ORDERS:
        return tuple(natural if wanted == "timm" else names)
    if wanted is not None:
        if sorted(wanted) != names:
            different = sorted(set(wanted).symmetric_difference(names)) or ["one named twice"]
            raise DataError(
                f"class_order must name each of the {len(names)} class folders of {folder} once; "
                f"these are in only one of both: {', '.join(different[:5])}"
            )
        return tuple(wanted)
    if natural != names:
        place = next(
            i for i, pair in enumerate(zip(names, natural, strict=True)) if len({*pair}) > 1
        )
        warnings.warn(
            f"the classes of {folder} are numbered as torchvision does; timm numbers them "
            f"otherwise (class {place} is {names[place]!r} here and {natural[place]!r} there): "
            "for a network that was trained with timm's loader give class_order='timm' "
            "(--class-order timm)",
            stacklevel=2,
        )
    return tuple(names)


def _natural(name: str) -> list[int | str]:
    """The sorting key of timm: case does not count, and digits count as numbers."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _list_images(folder: Path, classes: Sequence[str]) -> ImageFiles:
    """The images of all classes, in order; what is left out is counted in a warning."""
    paths: list[bytes] = []
    counts = []
    with os.scandir(folder) as entries:
        left_out = [entry.name for entry in entries if entry.name not in classes]
    for name in classes:
        if not (folder / name).is_dir():
            counts.append(0)
            continue
        images: list[tuple[str, str]] = []
        for place, file in _below(folder, name):
            if file.startswith(".") or not file.lower().endswith(SUFFIXES):
                left_out.append(file)
            else:
                images.append((place, file))
        if not images:
            raise DataError(f"{folder / name} has no images ({', '.join(SUFFIXES)})")
        paths += [os.fsencode(f"{place}/{file}") for place, file in sorted(images)]
        counts.append(len(images))
    if left_out:
        hidden = sum(file.startswith(".") for file in left_out)
        warnings.warn(
            f"left out of {folder}: {hidden} names that begin with a dot and "
            f"{len(left_out) - hidden} that do not end as those of images do "
            f"({', '.join(SUFFIXES)})",
            stacklevel=2,
        )
    labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts))
    return ImageFiles(folder, np.array(paths, np.bytes_), labels)


def _below(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Place in the folder and name of all files of a class, and of hidden folders; links count."""
    for place, folders, files in os.walk(folder / name, followlinks=True, onerror=_refuse):
        hidden = [below for below in folders if below.startswith(".")]
        folders[:] = [below for below in folders if below not in hidden]
        for path in (Path(place, below) for below in folders):
            if path.is_symlink() and Path(place).resolve().is_relative_to(path.resolve()):
                raise DataError(f"{path} links to a folder that holds it; remove the link")
        inside = os.path.relpath(place, folder)
        yield from ((inside, file) for file in (*files, *hidden))


def _refuse(error: OSError) -> NoReturn:
    """os.walk would pass over a folder that it cannot read."""
    raise error
