"""The data sets that need no files, all made by scikit-learn.

Sources: digits, the test part of Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
UCI, 1998; Wolberg et al., "Breast Cancer Wisconsin (Diagnostic)", UCI, 1995; Aeberhard and Forina,
"Wine", UCI, 1991; two moons, Carratino et al., "On Mixup Regularization", appendix B.3.
"""

import torch

from mixreg._random import derive_seed, generator
from mixreg.data.published import TEST_FRACTION, TEST_SEED, Published, Samples
from mixreg.data.splits import stratified_holdout

MOONS = 300
MOON_NOISE = 0.01
LABEL_NOISE = 0.2


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
