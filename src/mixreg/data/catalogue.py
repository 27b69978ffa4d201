"""Every data set by its name: where it comes from and how its inputs are prepared."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from mixreg.data.augmentation import CropAndFlip, Normalisation
from mixreg.data.cifar import CIFAR10, CIFAR100, read_cifar
from mixreg.data.digits import read_digits
from mixreg.data.fashion_mnist import read_fashion_mnist
from mixreg.data.official import Official
from mixreg.data.two_moons import LABEL_NOISE, make_two_moons

Root = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Entry:
    """A data set that is held in memory.

    Args:
        read: from the folder of the data sets and the seed, its published samples.
        normalisation: mean and standard deviation of the published training images, in units of
            the largest pixel value; None for features used as they are.
        augmentation: of training images.
        label_noise: fraction of training labels replaced unless the caller says otherwise.
    """

    read: Callable[[Root, int], Official]
    normalisation: Normalisation | None = None
    augmentation: CropAndFlip | None = None
    label_noise: float = 0.0


IN_MEMORY = {
    "digits": Entry(
        lambda _root, _seed: read_digits(), Normalisation((0.3047,), (0.3757,), largest=16.0)
    ),
    # Appendix B.3 uses the points as they are (its random features have a scale to match them).
    "two-moons": Entry(lambda _root, seed: make_two_moons(seed), label_noise=LABEL_NOISE),
    # Crop and flip as in Zhong et al., "Random Erasing Data Augmentation", for this data set.
    "fashion-mnist": Entry(
        lambda root, _seed: read_fashion_mnist(root),
        Normalisation((0.2860,), (0.3530,)),
        CropAndFlip(padding=4),
    ),
    "cifar10": Entry(
        lambda root, _seed: read_cifar(CIFAR10, root),
        Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        CropAndFlip(padding=4),
    ),
    "cifar100": Entry(
        lambda root, _seed: read_cifar(CIFAR100, root),
        Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        CropAndFlip(padding=4),
    ),
}

# The constants of torchvision's ImageNet models.
IMAGENET_NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

DATASETS = (*IN_MEMORY, "imagenet")
