"""A multilayer perceptron."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mixreg.models.shapes import check_sizes


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
        """Outputs of a batch.

        Args:
            x: inputs, shape (n, *input_shape).

        Returns:
            Shape (n, num_outputs).
        """
        outputs: Tensor = self.output(self.hidden(x.flatten(1)))
        return outputs
