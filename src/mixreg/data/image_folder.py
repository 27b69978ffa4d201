"""Data sets of image files, decoded by worker processes while the model trains."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from mixreg._errors import DataError, require
from mixreg._random import derive_seed, generator
from mixreg.data.augmentation import Normalisation
from mixreg.data.dataset import Split, check_share, check_split
from mixreg.data.image_tree import ImageFiles
from mixreg.data.shuffling import epoch_order, equal_share

CROP, RESIZED = 224, 256

Item = tuple[Tensor, Tensor] | DataError


class ImageFolderDataset:
    """A data set of image files: random resized crops of 224 and flips for training.

    Outside training the shorter side is resized to 256 and the middle 224×224 is used. What is
    drawn for an image depends on the seed, the epoch and its place in the epoch, never on the
    number of workers or processes.

    Args:
        name: what to call it.
        splits: the images of "train", "validation" and "test".
        class_names: one name for each class.
        normalisation: of the pixels.
        workers: processes that decode images; 0 decodes in this process.
        augment: whether training images are cropped and flipped at random.

    Raises:
        DataError: torchvision is not installed.

    Source: the usual ImageNet pipeline, Szegedy et al., "Going Deeper with Convolutions",
    section 6, as in torchvision's reference recipe.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[Split, ImageFiles],
        class_names: tuple[str, ...],
        *,
        normalisation: Normalisation,
        workers: int,
        augment: bool = True,
    ) -> None:
        v2 = require(
            "torchvision.transforms.v2", extra="vision", purpose=f"data set {name}", error=DataError
        )
        self.name = name
        self.class_names = class_names
        self.num_classes = len(class_names)
        self.input_shape = (3, CROP, CROP)
        self._splits = dict(splits)
        self.normalisation = normalisation
        self._workers = workers
        at_random = v2.Compose(
            [v2.RandomResizedCrop(CROP), v2.RandomHorizontalFlip(), v2.PILToTensor()]
        )
        self._centre = v2.Compose([v2.Resize(RESIZED), v2.CenterCrop(CROP), v2.PILToTensor()])
        self._training = at_random if augment else self._centre

    def size(self, split: Split) -> int:
        """Number of samples of a split.

        Args:
            split: "train", "validation" or "test".

        Returns:
            The number, 0 for an empty validation split.

        Raises:
            ValueError: unknown split.
        """
        check_split(split)
        return len(self._splits[split].labels)

    def train_batches(
        self, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world_size: int = 1
    ) -> "StreamedBatches":
        """The training split, shuffled and augmented; see `Dataset.train_batches`.

        Args:
            batch_size: samples in a batch of one process.
            seed: seed of the run.
            epoch: number of the epoch, from 0.
            rank: which of the processes asks.
            world_size: number of processes.

        Returns:
            The batches of this epoch and process.

        Raises:
            ValueError: an argument is out of range, or there are more processes than samples.
        """
        files = self._splits["train"]
        check_share(len(files.labels), batch_size, rank, world_size)
        order = epoch_order(len(files.labels), seed=seed, epoch=epoch)
        images = _Decoder(
            files.take(equal_share(order, rank=rank, world_size=world_size)),
            self._training,
            (seed, epoch, rank, world_size),
        )
        return StreamedBatches(images, batch_size, self.normalisation, self._workers)

    def batches(
        self, split: Split, batch_size: int, *, rank: int = 0, world_size: int = 1
    ) -> "StreamedBatches":
        """A split in order, without augmentation; see `Dataset.batches`.

        Args:
            split: "train", "validation" or "test".
            batch_size: samples in a batch of one process.
            rank: which of the processes asks.
            world_size: number of processes.

        Returns:
            The batches of this process; none for an empty split.

        Raises:
            ValueError: unknown split, or an argument is out of range.
        """
        check_split(split)
        check_share(world_size, batch_size, rank, world_size)
        files = self._splits[split]
        share = files.take(torch.arange(rank, len(files.labels), world_size))
        images = _Decoder(share, self._centre, None)
        return StreamedBatches(images, batch_size, self.normalisation, self._workers)


@dataclass(frozen=True, eq=False)
class StreamedBatches:
    """Images in a given order, decoded and normalised a batch at a time by worker processes."""

    images: "_Decoder"
    batch_size: int
    normalisation: Normalisation
    workers: int

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            self.images,
            batch_size=self.batch_size,
            num_workers=min(self.workers, len(self)),
            collate_fn=_Collate(self.normalisation),
            generator=generator(0, "data loader"),
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch


@dataclass(frozen=True, eq=False)
class _Decoder(MapDataset[Item]):
    """Images as uint8 tensors; with (seed, epoch, rank, world_size), each with its own draws."""

    files: ImageFiles
    transform: Callable[[Any], Tensor]
    epoch: tuple[int, int, int, int] | None

    def __len__(self) -> int:
        return len(self.files.labels)

    def __getitem__(self, index: int) -> Item:
        path = self.files.folder / os.fsdecode(self.files.paths[index])
        # An error is returned, not raised: a DataLoader would bury it under the worker's traceback.
        try:
            image = _open_rgb(path)
        except (OSError, SyntaxError, ValueError) as error:
            return DataError(f"{path} is damaged or no image: {error}")
        return self._transformed(image, index), self.files.labels[index]

    def _transformed(self, image: Any, index: int) -> Tensor:
        """Transform with the draws of this place in the epoch."""
        if self.epoch is None:
            return self.transform(image)
        seed, epoch, rank, world_size = self.epoch
        place = rank + index * world_size
        # torchvision draws from PyTorch's global generator, which is put back afterwards.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "augmentation", epoch, place))
            return self.transform(image)


@dataclass(frozen=True)
class _Collate:
    """Stack and normalise the items of a batch, or hand on the first error among them."""

    normalisation: Normalisation

    def __call__(self, items: list[Item]) -> Item:
        images, labels = [], []
        for item in items:
            if isinstance(item, DataError):
                return item
            images.append(item[0])
            labels.append(item[1])
        return self.normalisation(torch.stack(images)), torch.stack(labels)


def _open_rgb(path: Any) -> Any:
    """Decode an image file."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
