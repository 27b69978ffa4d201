"""The 8×8 digits that come with scikit-learn.

Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
"""

import torch

from mixreg._random import generator
from mixreg.data.in_memory import Samples
from mixreg.data.official import Official
from mixreg.data.splits import stratified_holdout

TEST_FRACTION = 0.25
TEST_SEED = 0


def read_digits() -> Official:
    """The digits, with a quarter of each class as the test set.

    The data set has no official test set. This one is drawn with a seed of its own, so that it is
    the same whatever seed a run has.

    Returns:
        The training and test images, uint8 from 0 to 16, shape (n, 1, 8, 8).

    Example:
        >>> official = read_digits()
        >>> len(official.train.labels), len(official.test.labels)
        (1347, 450)
    """
    from sklearn.datasets import load_digits  # late: it takes a second, and not all need it

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
    everything = Samples(images, torch.from_numpy(bunch.target).to(torch.int64))
    source = generator(TEST_SEED, "digits test set")
    train, test = stratified_holdout(everything.labels, TEST_FRACTION, generator=source)
    names = tuple(str(name) for name in bunch.target_names)
    return Official(everything.take(train), everything.take(test), names)
