"""Logistic regression on random Fourier features, the model of the two-moon experiments."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixreg.models.shapes import check_sizes


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
        """Outputs of a batch.

        Args:
            x: inputs, shape (n, *input_shape).

        Returns:
            Shape (n, num_outputs).
        """
        outputs: Tensor = self.output(self.dropout(self.features(x)))
        return outputs

    def features(self, x: Tensor) -> Tensor:
        """φ(x).

        Args:
            x: inputs, shape (n, *input_shape).

        Returns:
            Shape (n, num_features).
        """
        return torch.cos(x.flatten(1) @ self.S.T + self.B) / math.sqrt(len(self.B))
