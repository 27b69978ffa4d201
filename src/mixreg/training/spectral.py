"""Spectral regularization: every layer's weight held at spectral norm one (Table 1).

The paper compares mixup with Parseval networks, which keep the Lipschitz constant of every layer
near one. Here PyTorch's own parametrization does so: W is replaced by W/‖W‖₂, with ‖W‖₂ estimated
by power iteration during training.
"""

from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def apply_spectral_norm(net: nn.Module, *, power_iterations: int = 1) -> nn.Module:
    """Hold the weight of every linear and convolutional layer at spectral norm one.

    What is bounded: for a linear layer, ‖W‖₂, its Lipschitz constant. For a convolution, the norm
    of the kernel as a matrix (out channels) × (in channels · kernel size), as in Miyato et al.;
    the convolution itself, as a linear map of images, has at most that norm times the square root
    of the number of output positions that one input position reaches, ⌈k/stride⌉ along each axis.
    Biases, normalization layers and the joint projection of `nn.MultiheadAttention` are not
    touched; with one of these the network as a whole has no such bound.

    The norm is estimated from below, by `power_iterations` steps with every forward pass in
    training mode; after 15 steps at the start the weight is close to norm one, not exactly there.

    Args:
        net: the network; changed in place. Layers are found wherever they are in it.
        power_iterations: steps of power iteration with each forward pass in training mode.

    Returns:
        `net`, whose parameters are now the weights before division, under other keys.

    Raises:
        ValueError: no such layer in the network, one has the parametrization already, or
            `power_iterations` is below 1.

    Source: Carratino et al., Table 1; Cissé et al., "Parseval Networks", 2017; Miyato et al.,
    "Spectral Normalization for Generative Adversarial Networks", 2018.

    Example:
        >>> import torch
        >>> net = apply_spectral_norm(nn.Linear(3, 3)).eval()
        >>> round(torch.linalg.matrix_norm(net.weight, 2).item(), 2)
        1.0
    """
    if power_iterations < 1:
        raise ValueError(f"power_iterations must be at least 1, got {power_iterations}")
    layers = {
        name: m for name, m in net.named_modules() if isinstance(m, (nn.Linear, *_CONVOLUTIONS))
    }
    if not layers:
        raise ValueError("spectral normalization found no linear or convolutional layer in net")
    for name, layer in layers.items():
        if parametrize.is_parametrized(layer, "weight"):
            raise ValueError(f"the weight of layer {name!r} has a parametrization already")
    for layer in layers.values():
        spectral_norm(layer, n_power_iterations=power_iterations)
    return net
