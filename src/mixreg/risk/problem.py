"""A network, data and a loss that are checked to fit together; what every risk evaluates."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mixreg._checks import check_examples, dense_targets
from mixreg.losses import Loss, LossFunction, cross_entropy, logistic, resolve_loss, squared_error
from mixreg.risk.network import (
    Network,
    SampleName,
    check_network,
    evaluate,
    first_not_finite,
    sample_name,
)

_LABEL_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Problem:
    """A network f, inputs, dense float64 targets and an unreduced loss.

    Args:
        net: f, (n, ...) → (n, c) or (n,).
        x: inputs, floating point, shape (n, ...).
        y: targets, float64; for the losses of the package in the shape of the outputs.
        loss: ℓ(y, u) → (n,).
    """

    net: Network
    x: Tensor
    y: Tensor
    loss: LossFunction

    def losses(self, inputs: Tensor, targets: Tensor, name: SampleName) -> Tensor:
        """ℓ(y, f(x)) of each row, the loss taken in float64.

        Args:
            inputs: shape (k, ...).
            targets: float64, shape (k, ...).
            name: words for row k, for messages.

        Returns:
            Shape (k,), float64.
        """
        outputs = evaluate(self.net, inputs, name).double()
        with torch.no_grad():
            values = self.loss(targets, outputs)
        check_losses(values, len(inputs))
        return values.double()


def prepare(net: Network, x: Tensor, y: Tensor, loss: Loss, *, pairs: bool = False) -> Problem:
    """Check that a network, data and a loss fit together.

    Args:
        net: f, (n, ...) → (n, c) or (n,). Its outputs must be a function of one sample each:
            batch statistics and dropout are refused. Nothing in it is changed.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or floating-point targets.
        loss: a name, or a callable (y, u) → (n,).
        pairs: whether samples are mixed with each other, which takes at least two.

    Returns:
        The problem, with class indices as one-hot vectors.

    Raises:
        TypeError: integer inputs, or targets that cannot be mixed.
        ValueError: shapes or labels that do not fit the loss, too few samples, data that are not
            finite, a network whose outputs depend on chance or on other samples.
    """
    _check_data(x, y, pairs)
    function = resolve_loss(loss)
    check_network(net, x)
    output_shape = evaluate(net, x[:1], sample_name(0)).shape[1:]
    targets = _targets(y.detach(), function, output_shape).double().to(x.device)
    if function is cross_entropy:
        _check_label_sums(targets)
    return Problem(net, x.detach(), targets, function)


def mean_loss(problem: Problem, chunk_size: int) -> float:
    """Mean loss of a problem.

    Args:
        problem: network, data and loss.
        chunk_size: samples evaluated at once.

    Returns:
        The mean, accumulated in float64.
    """
    total = 0.0
    for rows in chunks(len(problem.x), chunk_size):
        losses = problem.losses(problem.x[rows], problem.y[rows], sample_name(rows.start))
        total += float(losses.sum())
    return total / len(problem.x)


def check_losses(values: Tensor, rows: int) -> None:
    """Refuse a loss that does not return one value for each sample.

    Args:
        values: what the loss returned.
        rows: how many samples it was given.

    Raises:
        ValueError: another shape than (rows,).
    """
    if values.shape != (rows,):
        raise ValueError(
            f"loss must return one value for each sample, shape ({rows},), got "
            f"{tuple(values.shape)}; sum over outputs but do not average over samples inside it"
        )


def chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover 0..total.

    Args:
        total: number of rows.
        size: rows of a chunk.

    Yields:
        The slices, in order.

    Raises:
        ValueError: the size is below one.
    """
    if size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {size}")
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _check_data(x: Tensor, y: Tensor, pairs: bool) -> None:
    check_examples(x, y)
    if len(x) < 1 + pairs:
        raise ValueError(
            f"need at least {1 + pairs} samples{' to mix' if pairs else ''}, got {len(x)}"
        )
    for what, values in (("inputs", x), ("labels", y)):
        row = first_not_finite(values)
        if row is not None:
            raise ValueError(f"{what} must be finite, got NaN or infinity in sample {row}")


def _targets(y: Tensor, loss: LossFunction, output_shape: torch.Size) -> Tensor:
    """Targets that can be mixed, in the shape the loss takes."""
    width = output_shape.numel()
    if loss is cross_entropy:
        if width < 2:
            raise ValueError(
                "cross-entropy needs a net with outputs of shape (n, c), c at least 2, got (n, "
                f"{width}); for one logit use the logistic loss"
            )
        return dense_targets(y, width, dtype=torch.float64)
    if loss not in (logistic, squared_error):
        classes = None if y.is_floating_point() or width < 2 else width
        return dense_targets(y, classes, dtype=torch.float64)
    if loss is logistic and not y.is_floating_point():
        y = dense_targets(y, 2, dtype=torch.float64)[:, 1]
    y = dense_targets(y, None, dtype=torch.float64)
    if y.ndim > 2 or y.shape[1:].numel() != width:
        expected = f"(n, {width})" if width > 1 else "(n,) or (n, 1)"
        raise ValueError(
            f"this loss needs labels like the outputs, of shape {expected}, got {tuple(y.shape)}"
        )
    return y.reshape(len(y), *output_shape)


def _check_label_sums(targets: Tensor) -> None:
    error = (targets.sum(1) - 1).abs()
    if error.max() > _LABEL_SUM_TOLERANCE:
        row = int(error.argmax())
        raise ValueError(
            "cross-entropy needs labels that sum to one (Corollary 1 assumes it), those of "
            f"sample {row} sum to {float(targets[row].sum()):.6g}; normalise them, or use the "
            "logistic loss for independent labels"
        )
