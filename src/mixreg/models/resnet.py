"""Residual networks: ResNet-20 and ResNet-34 for 32×32 images, ResNet-50 for ImageNet.

Source: He et al., "Deep Residual Learning for Image Recognition", 2016. Blocks and the names of
parameters are torchvision's, so that its weights for ResNet-50 load. Convolutions start from
N(0, 2/fan-out), batch normalisations at 1 and 0; no branch is zeroed at the start. The paper
trains "ResNet-34" on CIFAR without saying how it is adapted to 32×32 images; a 3×3 stem without
pooling is the field's usual answer. Dropout is before the last layer.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from mixreg._errors import ConfigurationError, require
from mixreg.models.small import check_sizes, image_channels

_DEPTHS = {64: 3, 128: 4, 256: 6, 512: 3}


class ZeroPaddedShortcut(nn.Module):
    """Option A of section 4.2: every stride-th pixel, and new channels of zeros; no parameters."""

    def __init__(self, stride: int, new_channels: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, new_channels

    def forward(self, x: Tensor) -> Tensor:
        """The shortcut of a batch of feature maps."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, 0, self.new_channels))


def resnet20(
    input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """ResNet-20 for images of at least 8×8: shortcuts without parameters, 0.27 M parameters."""
    check_sizes(input_shape, num_outputs, dropout)
    stem = _small_stem(image_channels("resnet20", input_shape, smallest=8), 16)
    return _network(stem, "BasicBlock", {16: 3, 32: 3, 64: 3}, num_outputs, dropout, option="A")


def resnet34(
    input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """ResNet-34 for images of at least 8×8: torchvision's after a 3×3 stem without pooling."""
    check_sizes(input_shape, num_outputs, dropout)
    stem = _small_stem(image_channels("resnet34", input_shape, smallest=8), 64)
    return _network(stem, "BasicBlock", _DEPTHS, num_outputs, dropout)


def resnet50(
    input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """ResNet-50 for images of at least 32×32: torchvision's, a 7×7 stem with pooling."""
    check_sizes(input_shape, num_outputs, dropout)
    channels = image_channels("resnet50", input_shape, smallest=32)
    convolution = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    stem = _stem(convolution) | {"maxpool": nn.MaxPool2d(3, stride=2, padding=1)}
    return _network(stem, "Bottleneck", _DEPTHS, num_outputs, dropout)


def _small_stem(channels: int, width: int) -> dict[str, nn.Module]:
    """A 3×3 convolution that keeps the resolution."""
    return _stem(nn.Conv2d(channels, width, 3, padding=1, bias=False))


def _stem(convolution: nn.Conv2d) -> dict[str, nn.Module]:
    norm = nn.BatchNorm2d(convolution.out_channels)
    return {"conv1": convolution, "bn1": norm, "relu": nn.ReLU()}


def _network(
    stem: dict[str, nn.Module],
    block_name: str,
    depths: dict[int, int],
    num_outputs: int,
    dropout: float,
    *,
    option: str = "B",
) -> nn.Sequential:
    """Stem, a stage of blocks for each width, global average and linear layer, initialised."""
    blocks = require(
        "torchvision.models.resnet", extra="cli", purpose="a ResNet", error=ConfigurationError
    )
    block = getattr(blocks, block_name)
    network = nn.Sequential(OrderedDict(stem))
    channels = next(iter(depths))
    for number, (width, depth) in enumerate(depths.items(), 1):
        stage = nn.Sequential()
        for index in range(depth):
            stride = 2 if number > 1 and index == 0 else 1
            out = width * block.expansion
            stage.append(block(channels, width, stride, _shortcut(channels, out, stride, option)))
            channels = out
        network.add_module(f"layer{number}", stage)
    network.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("dropout", nn.Dropout(dropout))
    network.add_module("fc", nn.Linear(channels, num_outputs))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _shortcut(channels: int, out_channels: int, stride: int, option: str) -> nn.Module | None:
    """What a block adds to its output: its input, padded (A) or projected (B) if shapes differ."""
    if stride == 1 and channels == out_channels:
        return None
    if option == "A":
        return ZeroPaddedShortcut(stride, out_channels - channels)
    projection = nn.Conv2d(channels, out_channels, 1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(out_channels))
