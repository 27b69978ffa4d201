"""LeNet with ReLU and max-pooling, the small network of the paper's CIFAR-10 experiments."""

from collections.abc import Sequence

from torch import Tensor, nn

from mixreg.models.shapes import check_sizes, image_channels

PADDING = {32: 0, 28: 2}


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
        """Outputs of a batch.

        Args:
            x: images, shape (n, *input_shape).

        Returns:
            Shape (n, num_outputs).
        """
        outputs: Tensor = self.classifier(self.features(x))
        return outputs
