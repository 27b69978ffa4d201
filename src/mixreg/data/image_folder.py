"""Data sets of image files, decoded by worker processes while the model trains."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from mixreg._errors import DataError, require, unknown_name
from mixreg._random import derive_seed, generator
from mixreg.data.augmentation import Normalisation, Preprocessing
from mixreg.data.dataset import Batch, Dataset, Share, Split
from mixreg.data.published import Images

RESIZED = 256
# Of all that names of images promise, whatever the one name says: ImageNet has a PNG called .JPEG.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


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
