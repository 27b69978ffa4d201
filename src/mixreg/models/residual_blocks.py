"""The residual blocks and shortcuts of He et al. (2016)."""

from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut.

    Args:
        channels: channels of the input.
        width: channels of the convolutions.
        stride: stride of the first convolution.
        shortcut: what brings the input to the shape of the output; None where it has it.
    """

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Output of the block for a batch of feature maps."""
        skipped = x if self.downsample is None else self.downsample(x)
        hidden = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(hidden)) + skipped)


class Bottleneck(nn.Module):
    """A 3×3 convolution between two 1×1 convolutions, around a shortcut.

    The stride is in the 3×3 convolution, as in torchvision's networks, not in the first 1×1
    convolution, as in the paper.

    Args:
        channels: channels of the input.
        width: channels of the 3×3 convolution; the output has four times as many.
        stride: stride of the 3×3 convolution.
        shortcut: what brings the input to the shape of the output; None where it has it.
    """

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Output of the block for a batch of feature maps."""
        skipped = x if self.downsample is None else self.downsample(x)
        hidden = functional.relu(self.bn1(self.conv1(x)))
        hidden = functional.relu(self.bn2(self.conv2(hidden)))
        return functional.relu(self.bn3(self.conv3(hidden)) + skipped)


class ZeroPaddedShortcut(nn.Module):
    """Option A: every `stride`-th pixel, and new channels of zeros; no parameters.

    Args:
        stride: stride of the block.
        new_channels: channels to add.
    """

    def __init__(self, stride: int, new_channels: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:
        """The shortcut of a batch of feature maps."""
        return functional.pad(
            x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels)
        )


def projection(channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Option B: a 1×1 convolution.

    Args:
        channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the block.

    Returns:
        The convolution and its batch normalisation.
    """
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
