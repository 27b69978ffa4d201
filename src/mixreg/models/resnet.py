"""Residual networks: ResNet-20 and ResNet-34 for 32×32 images, ResNet-50 for ImageNet.

Source: He et al., "Deep Residual Learning for Image Recognition", 2016. Parameters have the names
of torchvision's networks, so that its weights for ResNet-50 load. Convolutions start from
N(0, 2/fan-out), batch normalisations at 1 and 0; no branch is zeroed at the start.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from mixreg.models.residual_blocks import BasicBlock, Bottleneck, ZeroPaddedShortcut, projection
from mixreg.models.shapes import check_sizes, image_channels

SMALLEST_CIFAR, SMALLEST_IMAGENET = 8, 32


def resnet20(
    input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """ResNet-20 for small images: 16, 32 and 64 channels, three blocks each, 0.27 M parameters.

    Args:
        input_shape: (channels, height, width) of at least 8×8.
        num_outputs: number of outputs.
        dropout: probability of dropping one of the averaged features.

    Returns:
        The network, with shortcuts without parameters (option A), as in section 4.2.

    Raises:
        ValueError: the shape is not that of an image, or a size is out of range.

    Example:
        >>> sum(p.numel() for p in resnet20((3, 32, 32), 10).parameters())
        269722
    """
    check_sizes(input_shape, num_outputs, dropout)
    channels = image_channels("resnet20", input_shape, smallest=SMALLEST_CIFAR)
    stages, features = _stages(
        BasicBlock, channels=16, widths=(16, 32, 64), depths=(3, 3, 3), zero_padded=True
    )
    return _network(_small_stem(channels, 16), stages, features, num_outputs, dropout)


def resnet34(
    input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """ResNet-34 for small images: a 3×3 stem without pooling, else as for ImageNet.

    The paper trains "ResNet-34" on CIFAR without saying how it is adapted to 32×32 images; this
    stem is the field's usual answer. Shortcuts are projections (option B).

    Args:
        input_shape: (channels, height, width) of at least 8×8.
        num_outputs: number of outputs.
        dropout: probability of dropping one of the averaged features.

    Returns:
        The network.

    Raises:
        ValueError: the shape is not that of an image, or a size is out of range.
    """
    check_sizes(input_shape, num_outputs, dropout)
    channels = image_channels("resnet34", input_shape, smallest=SMALLEST_CIFAR)
    stages, features = _stages(
        BasicBlock,
        channels=64,
        widths=(64, 128, 256, 512),
        depths=(3, 4, 6, 3),
        zero_padded=False,
    )
    return _network(_small_stem(channels, 64), stages, features, num_outputs, dropout)


def resnet50(
    input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """ResNet-50 for ImageNet: a 7×7 stem with pooling, bottlenecks with the stride in the 3×3.

    Args:
        input_shape: (channels, height, width) of at least 32×32.
        num_outputs: number of outputs.
        dropout: probability of dropping one of the averaged features.

    Returns:
        The network; 25,557,032 parameters for 1000 outputs.

    Raises:
        ValueError: the shape is not that of an image, or a size is out of range.
    """
    check_sizes(input_shape, num_outputs, dropout)
    channels = image_channels("resnet50", input_shape, smallest=SMALLEST_IMAGENET)
    stages, features = _stages(
        Bottleneck,
        channels=64,
        widths=(64, 128, 256, 512),
        depths=(3, 4, 6, 3),
        zero_padded=False,
    )
    stem: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    return _network(stem, stages, features, num_outputs, dropout)


def _small_stem(channels: int, width: int) -> dict[str, nn.Module]:
    """A 3×3 convolution that keeps the resolution."""
    return {
        "conv1": nn.Conv2d(channels, width, 3, padding=1, bias=False),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(),
    }


def _stages(
    block: type[BasicBlock] | type[Bottleneck],
    *,
    channels: int,
    widths: Sequence[int],
    depths: Sequence[int],
    zero_padded: bool,
) -> tuple[dict[str, nn.Module], int]:
    """The stages of blocks, each after the first at half the resolution, and their channels."""
    stages: dict[str, nn.Module] = {}
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        blocks = []
        for index in range(depth):
            stride = 2 if number > 1 and index == 0 else 1
            out = width * block.expansion
            shortcut = _shortcut(channels, out, stride, zero_padded=zero_padded)
            blocks.append(block(channels, width, stride, shortcut))
            channels = out
        stages[f"layer{number}"] = nn.Sequential(*blocks)
    return stages, channels


def _shortcut(
    channels: int, out_channels: int, stride: int, *, zero_padded: bool
) -> nn.Module | None:
    """What a block needs to add its input to its output; None where the shapes agree."""
    if stride == 1 and channels == out_channels:
        return None
    if zero_padded:
        return ZeroPaddedShortcut(stride, out_channels - channels)
    return projection(channels, out_channels, stride)


def _network(
    stem: dict[str, nn.Module],
    stages: dict[str, nn.Module],
    features: int,
    num_outputs: int,
    dropout: float,
) -> nn.Sequential:
    """Stem, stages, global average and linear layer, with initialised convolutions."""
    head: dict[str, nn.Module] = {
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "dropout": nn.Dropout(dropout),
        "fc": nn.Linear(features, num_outputs),
    }
    network = nn.Sequential(OrderedDict({**stem, **stages, **head}))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
