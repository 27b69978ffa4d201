"""Measure the law of any transform of batches by running it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixreg._checks import dense_targets


@dataclass(frozen=True, eq=False)
class EstimatedLaw:
    """What a transform of batches did to inputs and labels, on average.

    Args:
        input_shrinkage: E(1 − θ_p) of every entry of an input, float64.
        input_second: E(1 − θ_p)².
        label_shrinkage: E(1 − θ) of the labels, smoothing apart.
        label_second: E(1 − θ)² of the labels.
        label_smoothing: s, what every class gets without being mixed in, times K.
        input_error: standard errors of `input_shrinkage`.
        label_error: standard error of `label_shrinkage`.
        count: number of mixed examples.
    """

    input_shrinkage: Tensor
    input_second: Tensor
    label_shrinkage: float
    label_second: float
    label_smoothing: float
    input_error: Tensor
    label_error: float
    count: int


def estimate_law(
    transform: Callable[[Tensor, Tensor], Any],
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    batches: int = 1000,
    batch_size: int | None = None,
) -> EstimatedLaw:
    """The two numbers of inputs and labels of any transform that mixes pairs of a batch.

    Example i of each batch has the constant input i and the label i, so that the mixed label names
    the pair, and the mixed input gives the weight of the owner in every entry. An example whose
    partner has a label weight below 10⁻⁶ but a part in the input is left out of the inputs'
    averages.

    Args:
        transform: takes inputs (n, *input_shape) and class indices (n,), returns mixed inputs and
            mixed labels (n, K); it may work in place.
        input_shape: shape of one input.
        num_classes: K, of the labels that the transform returns.
        batches: how often to run it.
        batch_size: n; by default the even number of at most 64 examples and K classes.

    Returns:
        The averages over all examples, with standard errors over batches.

    Raises:
        ValueError: the transform returns no pair of inputs and label distributions, an example is
            mixed from more than two, or more than one in a hundred have a partner that their labels
            do not name (two examples a batch name each other).

    Example:
        >>> from mixreg import Beta, Mixup
        >>> mixup = Mixup(Beta(1.0), num_classes=10, generator=torch.Generator().manual_seed(0))
        >>> law = estimate_law(lambda x, y: mixup(x, y)[:2], (1,), 10, batches=2000)
        >>> abs(law.label_shrinkage - 0.225) < 0.01  # a tenth of the pairs are of one example
        True
    """
    n = batch_size or min(64, num_classes - num_classes % 2)
    if not 2 <= n <= num_classes:
        raise ValueError(f"need 2 <= batch_size <= num_classes, got {n} and {num_classes}")
    values = torch.arange(n, dtype=torch.float32).view(n, *[1] * len(input_shape))
    shrunk, second = [], []
    label_shrunk, label_second, smoothing = [], [], []
    unnamed = 0
    for _ in range(batches):
        result = transform(values.expand(n, *input_shape).clone(), torch.arange(n))
        mixed, labels = _checked(result, n, input_shape, num_classes)
        floor = labels.amin(1, keepdim=True)
        smoothing.append(float(floor.mean()) * num_classes)
        weights = (labels - floor) / (1 - num_classes * floor)
        top, pair = weights[:, :n].topk(2, 1)
        if float(top.sum(1).min()) < 1 - 1e-3:
            raise ValueError("an example is mixed from more than two; only pairs can be measured")
        owner, partner = (pair[:, k].view(values.shape).double() for k in (0, 1))
        given = (mixed.double() - owner) / (partner - owner)
        is_named = (top[:, 1] >= 1e-6) | (given.flatten(1).abs().amax(1) <= 1e-6) | (n == 2)
        unnamed += n - int(is_named.sum())
        if bool(is_named.any()):
            shrunk.append(given[is_named].mean(0))
            second.append(given[is_named].square().mean(0))
        label_shrunk.append(float((1 - top[:, 0]).mean()))
        label_second.append(float((1 - top[:, 0]).square().mean()))
    if unnamed > batches * n / 100:
        raise ValueError(
            "inputs are mixed where labels are not, so that labels do not name the partner; "
            "measure this transform with batch_size=2"
        )
    inputs = torch.stack(shrunk)
    first = torch.tensor(label_shrunk, dtype=torch.float64)
    root = batches**0.5
    return EstimatedLaw(
        input_shrinkage=inputs.mean(0),
        input_second=torch.stack(second).mean(0),
        label_shrinkage=float(first.mean()),
        label_second=float(torch.tensor(label_second, dtype=torch.float64).mean()),
        label_smoothing=sum(smoothing) / batches,
        input_error=inputs.std(0) / len(inputs) ** 0.5,
        label_error=float(first.std()) / root,
        count=batches * n,
    )


def _checked(
    result: Any, n: int, input_shape: tuple[int, ...], num_classes: int
) -> tuple[Tensor, Tensor]:
    """Mixed inputs and dense labels, or what is wrong with what came."""
    try:
        mixed, labels = result[0], result[1]
        if labels.ndim == 1:
            labels = dense_targets(labels, num_classes, dtype=torch.float64)
        if (
            mixed.shape[1:] == input_shape
            and labels.shape == (len(mixed), num_classes)
            and len(mixed) == n
        ):
            return mixed, labels.double()
    except (TypeError, IndexError, KeyError, AttributeError):
        pass
    raise ValueError(
        f"the transform must return inputs of shape ({n}, {', '.join(map(str, input_shape))}) and "
        f"label distributions of shape ({n}, {num_classes})"
    )
