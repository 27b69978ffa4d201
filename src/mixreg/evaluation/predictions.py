"""Logits of a trained classifier, computed once: every correction and metric starts from them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from mixreg._checks import evaluating
from mixreg._errors import CheckpointError
from mixreg._files import read_tensors, write_tensors
from mixreg.calibration import check_logits, row_blocks
from mixreg.laws import MixingLaw
from mixreg.losses import two_class_logits
from mixreg.prediction import shrink
from mixreg.recipes.recipe import PixelLaw

FORMAT = "mixreg.Predictions/2"


@dataclass(frozen=True, eq=False)
class Predictions:
    """A classifier's logits at the inputs of a data set and at the same inputs shrunk.

    Args:
        raw: f(x), floating point, shape (n, c) with c ≥ 2.
        shrunk: f(x̃) with x̃ = x̄ + θ̄ (x − x̄), the same shape.
        labels: class indices, shape (n,).

    Raises:
        TypeError: logits that are not floating point, or labels that are not integers.
        ValueError: shapes that do not fit, no example, logits that are not finite, or a label
            that is no class.

    Example:
        >>> Predictions(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 2])).num_classes
        3
    """

    raw: Tensor
    shrunk: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for logits in (self.raw, self.shrunk):
            check_logits(logits, self.labels)
        if self.raw.shape != self.shrunk.shape:
            raise ValueError(
                "raw and shrunk logits must have the same shape, got "
                f"{tuple(self.raw.shape)} and {tuple(self.shrunk.shape)}"
            )

    @property
    def count(self) -> int:
        """Number of examples n."""
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes c."""
        return self.raw.shape[1]

    def parts(self) -> Iterator[Self]:
        """Consecutive rows, a few at a time, for one pass over many examples in little memory."""
        for rows in row_blocks(self.raw):
            yield type(self)(self.raw[rows], self.shrunk[rows], self.labels[rows])

    def save(self, path: str | Path, *, source: str = "") -> None:
        """Write one safetensors file with a digest of its content, whole or not at all.

        Args:
            path: the file, in a folder that exists; an existing one is replaced.
            source: what tells apart whose predictions they are, such as a digest of the weights.
        """
        write_tensors(Path(path), vars(self), {"format": FORMAT, "source": source})

    @classmethod
    def load(cls, path: str | Path, *, source: str | None = None) -> Self:
        """Read what `save` wrote, and check its digest.

        Args:
            path: the file.
            source: the source it must have been saved with; None for any.

        Returns:
            The predictions, on the CPU.

        Raises:
            FileNotFoundError: no such file.
            CheckpointError: the file is damaged, or holds something else, or other predictions.
        """
        remedy = "delete it and run the evaluation again"
        tensors, about = read_tensors(Path(path), kind="predictions", remedy=remedy)
        if about.get("format") != FORMAT:
            raise CheckpointError(f"{path} holds no predictions ({FORMAT}); {remedy}")
        if source is not None and about.get("source") != source:
            raise CheckpointError(
                f"{path} holds predictions of other weights, settings or data; {remedy}"
            )
        try:
            return cls(**tensors)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path} holds no predictions: {error}; {remedy}") from error


def predict(
    net: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    x_mean: Tensor,
    law: MixingLaw | PixelLaw,
    *,
    device: torch.device | str = "cpu",
) -> Predictions:
    """Run a classifier over a data set, at its inputs and at the shrunk inputs of equation 21.

    The network is moved to the device, runs in evaluation mode without gradients, and is left in
    the mode it was in. The outputs u of a network with one logit, of shape (n,) or (n, 1), become
    the two-class logits (0, u).

    Args:
        net: f, (n, ...) → (n, c), (n, 1) or (n,).
        batches: pairs of inputs (n, ...) and class indices (n,).
        x_mean: x̄ of the training data, the shape of one input.
        law: law of λ that sets θ̄ of the inputs.
        device: where to run.

    Returns:
        Logits in at least float32, and labels, on the CPU.

    Raises:
        ValueError: no batches; outputs of another shape; or what `Predictions` refuses, such as
            logits that are not finite.

    Example:
        >>> from mixreg import Beta
        >>> net, batch = nn.Linear(2, 3), (torch.ones(4, 2), torch.zeros(4, dtype=torch.long))
        >>> predict(net, [batch], torch.zeros(2), Beta(1.0)).raw.shape
        torch.Size([4, 3])
    """
    net = net.to(device)
    raw, shrunk, labels = [], [], []
    with evaluating(net), torch.inference_mode():
        for x, y in batches:
            inputs = x.to(device)
            raw.append(class_logits(net(inputs)))
            shrunk.append(class_logits(net(shrink(inputs, x_mean, law))))
            labels.append(y.cpu())
    if not labels:
        raise ValueError("there is nothing to predict: the loader yields no batches")
    with torch.no_grad():
        return Predictions(_joined(raw), _joined(shrunk), torch.cat(labels))


def _joined(parts: list[Tensor]) -> Tensor:
    """One tensor of all parts, which are given up."""
    whole = torch.cat(parts)
    parts.clear()
    return whole


def class_logits(outputs: Tensor) -> Tensor:
    """Logits (n, c) on the CPU, in float32 or better."""
    if outputs.ndim not in (1, 2):
        raise ValueError(
            "the network of a classifier must return logits of shape (n, c), (n, 1) or (n,), "
            f"got {tuple(outputs.shape)}"
        )
    outputs = outputs.to("cpu", torch.promote_types(outputs.dtype, torch.float32))
    return two_class_logits(outputs)
