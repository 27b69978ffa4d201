"""Every data set by its name: where it comes from and how its inputs are prepared.

Sources of those that scikit-learn makes: digits, the test part of Alpaydin and Kaynak, "Optical
Recognition of Handwritten Digits", UCI, 1998; Wolberg et al., "Breast Cancer Wisconsin
(Diagnostic)", UCI, 1995; Aeberhard and Forina, "Wine", UCI, 1991; two moons, Carratino et al., "On
Mixup Regularization", appendix B.3.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mixreg._random import derive_seed, generator
from mixreg.data.augmentation import CropAndFlip, Normalisation, Preprocessing
from mixreg.data.published import (
    TEST_FRACTION,
    TEST_SEED,
    Published,
    Root,
    Samples,
    data_root,
    stratified_holdout,
)
from mixreg.data.releases import DEBIAN_FOLDER, read_cifar, read_fashion_mnist

MOONS = 300
MOON_NOISE = 0.01
LABEL_NOISE = 0.2


@dataclass(frozen=True)
class Entry:
    """A data set that is held in memory, and how its inputs are prepared."""

    read: Callable[[Root, int], Published[Samples]]  # from the folder of all and the seed
    normalisation: Normalisation | None = None  # by the published training images
    standardised: bool = False  # features by the training split
    augmentation: CropAndFlip | None = None
    label_noise: float = 0.0


def read_sklearn(name: str) -> Published[Samples]:
    """The 8×8 "digits", uint8 from 0 to 16, or the table "breast-cancer" (569 × 30) or "wine"."""
    from sklearn import datasets  # late: it takes a second, and not all need it

    bunch = getattr(datasets, "load_" + name.replace("-", "_"))()
    if name == "digits":
        inputs = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
    else:
        inputs = torch.from_numpy(bunch.data).float()
    everything = Samples(inputs, torch.from_numpy(bunch.target).to(torch.int64))
    # A quarter of each class is the test set, the same whatever seed a run has.
    source = generator(TEST_SEED, f"{name} test set")
    train, test = stratified_holdout(everything.labels, TEST_FRACTION, generator=source)
    names = tuple(str(class_name) for class_name in bunch.target_names)
    return Published(everything.take(train), everything.take(test), names)


def make_two_moons(seed: int) -> Published[Samples]:
    """An instance of the problem of appendix B.3: half of the points for testing, labels clean."""
    from sklearn.datasets import make_moons  # late, as above

    state = derive_seed(seed, "two moons") % 2**32
    points, classes = make_moons(MOONS, noise=MOON_NOISE, random_state=state)
    everything = Samples(
        torch.from_numpy(points).to(torch.float32), torch.from_numpy(classes).to(torch.int64)
    )
    order = torch.randperm(MOONS, generator=generator(seed, "two moons halves"))
    train, test = order.tensor_split(2)
    return Published(everything.take(train), everything.take(test), ("upper", "lower"))


def _read_fashion_mnist(root: Root, _seed: int) -> Published[Samples]:
    """Debian's folder is looked at last, and only where no folder is named."""
    return read_fashion_mnist(data_root(root), [DEBIAN_FOLDER] if root is None else [])


_DIGITS = Normalisation((0.3047,), (0.3757,), largest=16.0)
_FASHION = Normalisation((0.2860,), (0.3530,))
_CIFAR10 = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
_CIFAR100 = Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
# The constants of torchvision's ImageNet models.
IMAGENET = Preprocessing((224,), (256,), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# For Fashion-MNIST as in Zhong et al., "Random Erasing Data Augmentation".
_AUGMENTATION = CropAndFlip(padding=4)

IN_MEMORY = {
    "digits": Entry(lambda *_: read_sklearn("digits"), _DIGITS),
    "breast-cancer": Entry(lambda *_: read_sklearn("breast-cancer"), standardised=True),
    "wine": Entry(lambda *_: read_sklearn("wine"), standardised=True),
    # Appendix B.3 uses the points as they are (its random features have a scale to match them).
    "two-moons": Entry(lambda _, seed: make_two_moons(seed), label_noise=LABEL_NOISE),
    "fashion-mnist": Entry(_read_fashion_mnist, _FASHION, augmentation=_AUGMENTATION),
    "cifar10": Entry(
        lambda root, _: read_cifar("cifar10", data_root(root)), _CIFAR10, augmentation=_AUGMENTATION
    ),
    "cifar100": Entry(
        lambda root, _: read_cifar("cifar100", data_root(root)),
        _CIFAR100,
        augmentation=_AUGMENTATION,
    ),
}
DATASETS = (*IN_MEMORY, "imagenet")
