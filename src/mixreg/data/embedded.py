"""The data sets that need no files, all made by scikit-learn.

Sources: digits, the test part of Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
UCI, 1998; Wolberg et al., "Breast Cancer Wisconsin (Diagnostic)", UCI, 1995; Aeberhard and Forina,
"Wine", UCI, 1991; two moons, Carratino et al., "On Mixup Regularization", appendix B.3.
"""

from collections.abc import Iterable

import torch

from mixreg._random import derive_seed, generator
from mixreg.data.in_memory import Samples
from mixreg.data.published import Published
from mixreg.data.splits import stratified_holdout

TEST_FRACTION = 0.25
TEST_SEED = 0
MOONS = 300
MOON_NOISE = 0.01
LABEL_NOISE = 0.2


def read_digits() -> Published:
    """The 8×8 digits, uint8 from 0 to 16."""
    from sklearn.datasets import load_digits  # late: it takes a second, and not all need it

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
    return _with_test_set("digits", images, torch.from_numpy(bunch.target), bunch.target_names)


def read_table(name: str) -> Published:
    """The table "breast-cancer" (569 × 30, 2 classes) or "wine" (178 × 13, 3 classes)."""
    from sklearn import datasets  # late, as above

    bunch = getattr(datasets, "load_" + name.replace("-", "_"))()
    features = torch.from_numpy(bunch.data).float()
    return _with_test_set(name, features, torch.from_numpy(bunch.target), bunch.target_names)


def _with_test_set(
    name: str, inputs: torch.Tensor, classes: torch.Tensor, class_names: Iterable[object]
) -> Published:
    """A quarter of each class as the test set, the same whatever seed a run has."""
    everything = Samples(inputs, classes.to(torch.int64))
    source = generator(TEST_SEED, f"{name} test set")
    train, test = stratified_holdout(everything.labels, TEST_FRACTION, generator=source)
    names = tuple(str(class_name) for class_name in class_names)
    return Published(everything.take(train), everything.take(test), names)


def make_two_moons(seed: int) -> Published:
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
