"""Data sets that fit in memory: one tensor a split, whole batches at a time."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mixreg._errors import check_name
from mixreg._random import generator
from mixreg.data.augmentation import CropAndFlip, Normalisation
from mixreg.data.dataset import Batch, Dataset, Share, Split, equal_share
from mixreg.data.published import Samples, digest_of

_BLOCK = 512  # images augmented at once: enough to share the overhead, and they fit the cache


class InMemoryDataset(Dataset):
    """A data set held as tensors, augmented and normalised a batch at a time.

    Images stay uint8 until they are normalised. Their batches come in channels_last memory, which
    convolutions on a CPU prefer; use `flatten` or `reshape` on them, not `view`.

    Args:
        name: what to call it.
        splits: the samples of "train", "validation" and "test".
        class_names: one name for each class.
        normalisation: of uint8 images; None for features that are used as they are.
        augmentation: of training images; None for none.
        notes: what was assumed where the data leave a choice.

    Raises:
        ValueError: a split is missing, or inputs and labels do not fit each other, the class
            names or the normalisation.

    Example:
        >>> moons = Samples(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
        >>> splits = {"train": moons, "validation": moons, "test": moons}
        >>> data = InMemoryDataset("three", splits, ("upper", "lower"))
        >>> [len(labels) for _, labels in data.batches("test", 2)]
        [2, 1]
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[Split, Samples],
        class_names: tuple[str, ...],
        *,
        normalisation: Normalisation | None = None,
        augmentation: CropAndFlip | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        _check_samples(splits, len(class_names), normalisation is not None)
        sizes = {split: len(samples.labels) for split, samples in splits.items()}
        super().__init__(name, class_names, tuple(splits["train"].inputs.shape[1:]), sizes, notes)
        self.normalisation = normalisation
        self._augmentation = augmentation
        is_image = len(self.input_shape) == 3
        layout = torch.channels_last if is_image else torch.contiguous_format
        self._splits = {
            split: Samples(inputs.contiguous(memory_format=layout), labels)
            for split, (inputs, labels) in splits.items()
        }

    def samples(self, split: Split) -> Samples:
        """The samples of a split as they were read: uint8 images, or features.

        Args:
            split: "train", "validation" or "test".

        Returns:
            Inputs and labels.

        Raises:
            ValueError: unknown split.
        """
        check_name("split", split, self._splits)
        return self._splits[split]

    def digest(self, split: Split) -> str:
        """Digest of the bytes of a split."""
        return digest_of(self._splits[split])

    def _shuffled(self, order: Tensor, batch_size: int, share: Share) -> Iterator[Batch]:
        if self._augmentation is not None:
            source = generator(share.seed, "augmentation", share.epoch)
            draws = self._augmentation.draw(self.size("train"), generator=source)
            draws = equal_share(draws, rank=share.rank, world_size=share.world_size)
        block = batch_size * max(1, _BLOCK // batch_size)
        for start in range(0, len(order), block):
            inputs, labels = self._splits["train"].take(order[start : start + block])
            if self._augmentation is not None:
                inputs = self._augmentation.apply(inputs, draws[start : start + block])
            yield from self._normalised(inputs, labels, batch_size)

    def _ordered(self, split: Split, rows: slice, batch_size: int) -> Iterator[Batch]:
        inputs, labels = self._splits[split]
        return self._normalised(inputs[rows], labels[rows], batch_size)

    def _normalised(self, inputs: Tensor, labels: Tensor, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(labels), batch_size):
            rows = slice(start, start + batch_size)
            batch = inputs[rows] if self.normalisation is None else self.normalisation(inputs[rows])
            yield batch, labels[rows]


def _check_samples(splits: Mapping[Split, Samples], num_classes: int, images: bool) -> None:
    """Refuse splits that are incomplete or inconsistent."""
    if set(splits) != {"train", "validation", "test"}:
        raise ValueError(f"need the splits train, validation and test, got {sorted(splits)}")
    dtype, ndim = (torch.uint8, "4") if images else (torch.float32, "at least 2")
    for split, (inputs, labels) in splits.items():
        if inputs.dtype != dtype or (images and inputs.ndim != 4) or inputs.ndim < 2:
            raise ValueError(
                f"{split} inputs {'with' if images else 'without'} normalisation must be {dtype} "
                f"with {ndim} dimensions, got {inputs.dtype} of shape {tuple(inputs.shape)}"
            )
        if inputs.shape[1:] != splits["train"].inputs.shape[1:]:
            raise ValueError(f"{split} inputs have another shape than the training inputs")
        if labels.dtype != torch.int64 or labels.shape != inputs.shape[:1]:
            raise ValueError(
                f"{split} labels must be int64 of shape ({len(inputs)},), "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )
        if len(labels) > 0 and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
            raise ValueError(f"{split} labels must lie in 0..{num_classes - 1}")
