"""The noisy two-moon problem of the paper (appendix B.3)."""

import torch

from mixreg._random import derive_seed, generator
from mixreg.data.in_memory import Samples
from mixreg.data.official import Official

SIZE = 300
NOISE = 0.01
LABEL_NOISE = 0.2


def make_two_moons(seed: int) -> Official:
    """One instance: 300 points with noise 0.01, half for training and half for testing.

    The paper then flips `LABEL_NOISE` of the training labels, which is done where validation
    points have been set apart.

    Args:
        seed: seed of the instance; the paper uses 30 of them.

    Returns:
        Points, float32 of shape (150, 2), and labels without noise.

    Source: Carratino et al., "On Mixup Regularization", appendix B.3.

    Example:
        >>> make_two_moons(0).test.inputs.shape
        torch.Size([150, 2])
    """
    from sklearn.datasets import make_moons  # late: it takes a second, and not all need it

    state = derive_seed(seed, "two moons") % 2**32
    points, classes = make_moons(SIZE, noise=NOISE, random_state=state)
    everything = Samples(
        torch.from_numpy(points).to(torch.float32), torch.from_numpy(classes).to(torch.int64)
    )
    order = torch.randperm(SIZE, generator=generator(seed, "two moons halves"))
    train, test = order.tensor_split(2)
    return Official(everything.take(train), everything.take(test), ("upper", "lower"))
