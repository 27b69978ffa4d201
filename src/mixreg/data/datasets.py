"""Every data set by its name: where it comes from and how its inputs are prepared."""

from collections.abc import Callable
from dataclasses import dataclass

from mixreg.data.augmentation import CropAndFlip, Normalisation
from mixreg.data.cifar import read_cifar
from mixreg.data.embedded import LABEL_NOISE, make_two_moons, read_digits, read_table
from mixreg.data.fashion_mnist import DEBIAN_FOLDER, read_fashion_mnist
from mixreg.data.location import Root, data_root
from mixreg.data.published import Published


@dataclass(frozen=True)
class Entry:
    """A data set that is held in memory.

    read: from the folder of the data sets and the seed, its published samples.
    normalisation: mean and standard deviation of the published training images, in units of the
        largest pixel value; None for features.
    standardised: whether features are brought to mean 0 and deviation 1 on the training split.
    augmentation: of training images.
    label_noise: fraction of training labels replaced unless the caller says otherwise.
    """

    read: Callable[[Root, int], Published]
    normalisation: Normalisation | None = None
    standardised: bool = False
    augmentation: CropAndFlip | None = None
    label_noise: float = 0.0


def _read_fashion_mnist(root: Root, _seed: int) -> Published:
    """Debian's folder is looked at last, and only where no folder is named."""
    return read_fashion_mnist(data_root(root), [DEBIAN_FOLDER] if root is None else [])


def _cifar(name: str, normalisation: Normalisation) -> Entry:
    return Entry(
        lambda root, _seed: read_cifar(name, data_root(root)),
        normalisation,
        augmentation=CropAndFlip(padding=4),
    )


def _table(name: str) -> Entry:
    return Entry(lambda _root, _seed: read_table(name), standardised=True)


IN_MEMORY = {
    "digits": Entry(
        lambda _root, _seed: read_digits(), Normalisation((0.3047,), (0.3757,), largest=16.0)
    ),
    "breast-cancer": _table("breast-cancer"),
    "wine": _table("wine"),
    # Appendix B.3 uses the points as they are (its random features have a scale to match them).
    "two-moons": Entry(lambda _root, seed: make_two_moons(seed), label_noise=LABEL_NOISE),
    # Crop and flip as in Zhong et al., "Random Erasing Data Augmentation", for this data set.
    "fashion-mnist": Entry(
        _read_fashion_mnist,
        Normalisation((0.2860,), (0.3530,)),
        augmentation=CropAndFlip(padding=4),
    ),
    "cifar10": _cifar("cifar10", Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))),
    "cifar100": _cifar(
        "cifar100", Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    ),
}

# The constants of torchvision's ImageNet models.
IMAGENET_NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

DATASETS = (*IN_MEMORY, "imagenet")
