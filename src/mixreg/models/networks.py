"""The networks of the paper: MLP, LeNet, random features, ResNets, and what all ask of sizes.

The residual networks are ResNet-20 and ResNet-34 for 32×32 images, ResNet-50 for ImageNet.

Source: He et al., "Deep Residual Learning for Image Recognition", 2016. Blocks and the names of
parameters are torchvision's, so that its weights for ResNet-50 load. Convolutions start from
N(0, 2/fan-out), batch normalisations at 1 and 0; no branch is zeroed at the start. The paper
trains "ResNet-34" on CIFAR without saying how it is adapted to 32×32 images; a 3×3 stem without
pooling is the field's usual answer. Dropout is before the last layer.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixreg._errors import ConfigurationError, require

PADDING = {32: 0, 28: 2}


class MLP(nn.Module):
    """Flattened inputs, equal hidden layers, linear outputs; PyTorch's default initialisation.

    Args:
        input_shape: shape of one input, flattened.
        num_outputs: number of outputs.
        width: units in a hidden layer.
        depth: number of hidden layers.
        activation: makes the activation after each hidden layer.
        dropout: probability of dropping a hidden unit, after its activation.

    Raises:
        ValueError: a size is out of range.

    Example:
        >>> model = MLP((2,), 3, width=8, depth=1)
        >>> sum(p.numel() for p in model.parameters())
        51
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        *,
        width: int = 256,
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(input_shape, num_outputs, dropout)
        if width < 1 or depth < 0:
            raise ValueError(f"need width >= 1 and depth >= 0, got {width} and {depth}")
        layers: list[nn.Module] = []
        size = math.prod(input_shape)
        for _ in range(depth):
            layers += [nn.Linear(size, width), activation(), nn.Dropout(dropout)]
            size = width
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(size, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, num_outputs) of inputs (n, *input_shape)."""
        outputs: Tensor = self.output(self.hidden(x.flatten(1)))
        return outputs


class LeNet(nn.Module):
    """Two 5×5 convolutions of 6 and 16 channels, then 120, 84 and c units.

    28×28 images are padded to 32×32 in the first convolution, as in LeNet-5. The paper names the
    network only; ReLU and max-pooling are today's reading of it. ReLU follows the pooling, which
    gives the same outputs and gradients from a quarter of the work. The initialisation is PyTorch's
    default.

    Args:
        input_shape: (channels, 32, 32) or (channels, 28, 28).
        num_outputs: number of outputs c.
        dropout: probability of dropping a unit, before each fully connected layer.

    Raises:
        ValueError: the images have another size, or a size is out of range.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", section II.B.

    Example:
        >>> sum(p.numel() for p in LeNet((3, 32, 32), 10).parameters())
        62006
    """

    def __init__(
        self, input_shape: Sequence[int], num_outputs: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_sizes(input_shape, num_outputs, dropout)
        channels = image_channels("lenet", input_shape, smallest=28)
        height, width = input_shape[1:]
        if height != width or height not in PADDING:
            raise ValueError(f"lenet needs images of 32×32 or 28×28, got {height}×{width}")
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=PADDING[height]),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(84, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, num_outputs) of images (n, *input_shape)."""
        outputs: Tensor = self.classifier(self.features(x))
        return outputs


class RandomFourierFeatures(nn.Module):
    """f(x) = Wᵀφ(x) with φ(x) = cos(Sx + B)/√M; only W is trained (appendix B.3).

    S has entries N(0, σ²) and B has entries uniform on [0, 2π]; both are buffers. There is no
    bias. The paper does not say where W starts: here at zero, where every class is as likely.

    Args:
        input_shape: shape of one input, flattened to d values.
        num_outputs: number of outputs.
        num_features: M.
        scale: σ.
        dropout: probability of dropping a feature.

    Raises:
        ValueError: a size is out of range.

    Source: Carratino et al., "On Mixup Regularization", appendix B.3, after Rahimi and Recht,
    "Random Features for Large-Scale Kernel Machines".

    Example:
        >>> model = RandomFourierFeatures((2,), 2)
        >>> model(torch.ones(1, 2))
        tensor([[0., 0.]], grad_fn=<MmBackward0>)
    """

    S: Tensor
    B: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        *,
        num_features: int = 1000,
        scale: float = 10.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(input_shape, num_outputs, dropout)
        if num_features < 1 or not 0 < scale < math.inf:
            raise ValueError(
                f"need num_features >= 1 and a positive scale, got {num_features} and {scale}"
            )
        self.register_buffer("S", scale * torch.randn(num_features, math.prod(input_shape)))
        self.register_buffer("B", 2 * math.pi * torch.rand(num_features))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(num_features, num_outputs, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, num_outputs) of inputs (n, *input_shape)."""
        outputs: Tensor = self.output(self.dropout(self.features(x)))
        return outputs

    def features(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, num_features)."""
        return torch.cos(x.flatten(1) @ self.S.T + self.B) / math.sqrt(len(self.B))


def check_sizes(input_shape: Sequence[int], num_outputs: int, dropout: float) -> None:
    """Refuse sizes that no model can have."""
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"input_shape must be sizes of at least 1, got {tuple(input_shape)}")
    if num_outputs < 1:
        raise ValueError(f"num_outputs must be at least 1, got {num_outputs}")
    if not 0 <= dropout < 1:
        raise ValueError(f"need 0 <= dropout < 1, got {dropout}")


def image_channels(model: str, input_shape: Sequence[int], *, smallest: int) -> int:
    """The number of channels of an image shape (channels, height, width) that is large enough."""
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise ValueError(
            f"{model} needs images, input_shape (channels, height, width) with height and width "
            f"of at least {smallest}, got {tuple(input_shape)}"
        )
    return input_shape[0]


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
