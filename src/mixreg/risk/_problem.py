"""A network, data and a loss that are checked to fit together; what every risk evaluates."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixreg._checks import (
    Network,
    SampleName,
    check_examples,
    check_label_sums,
    dense_targets,
    first_not_finite,
    sample_name,
)
from mixreg._errors import MixregError
from mixreg.losses import (
    CANONICAL,
    Loss,
    LossFunction,
    check_values,
    cross_entropy,
    logistic,
    resolve_loss,
)


@dataclass(frozen=True)
class Problem:
    """A network f, inputs, dense float64 targets and an unreduced loss."""

    net: Network
    x: Tensor
    y: Tensor
    loss: LossFunction

    def losses(self, inputs: Tensor, targets: Tensor, name: SampleName) -> Tensor:
        """ℓ(y, f(x)) of each row, the loss taken in float64."""
        outputs = evaluate(self.net, inputs, name).double()
        with torch.no_grad():
            values = self.loss(targets, outputs)
        check_values(values, len(inputs))
        return values.double()


def prepare(net: Network, x: Tensor, y: Tensor, loss: Loss, *, pairs: bool = False) -> Problem:
    """Check that a network, data and a loss fit together."""
    _check_data(x, y, pairs)
    function = resolve_loss(loss)
    check_network(net, x)
    output_shape = evaluate(net, x[:1], sample_name(0)).shape[1:]
    targets = _targets(y.detach(), function, output_shape).double().to(x.device)
    if function is cross_entropy:
        check_label_sums(targets, "labels")
    return Problem(net, x.detach(), targets, function)


def mean_loss(problem: Problem, chunk_size: int) -> float:
    """Mean loss of a problem."""
    total = 0.0
    for rows in chunks(len(problem.x), chunk_size):
        losses = problem.losses(problem.x[rows], problem.y[rows], sample_name(rows.start))
        total += float(losses.sum())
    return total / len(problem.x)


def chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover 0..total."""
    if size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {size}")
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def check_network(net: Network, x: Tensor) -> None:
    """Refuse a network whose outputs are random or depend on the other samples of the batch."""
    # BatchNorm in training mode is looked for, since evaluating it changes its running statistics;
    # the rest shows when two samples are evaluated together, again and alone.
    for name, module in net.named_modules() if isinstance(net, nn.Module) else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ValueError(
                f"layer {name!r} ({type(module).__name__}) is in training mode, where the outputs "
                "depend on the whole batch; call net.eval() first"
            )
    together, again, alone = (evaluate(net, part, sample_name(0)) for part in (x[:2], x[:2], x[:1]))
    tolerance = torch.finfo(together.dtype).eps ** 0.5 * (1 + together.abs().max())
    for other, problem in ((again, "change from call to call"), (alone, "depend on the batch")):
        if (together[: len(other)] - other).abs().max() > tolerance:
            raise ValueError(
                f"the outputs of net {problem}; they must be a function of one sample each: "
                "call net.eval() to switch off dropout and batch statistics"
            )


def evaluate(net: Network, inputs: Tensor, name: SampleName) -> Tensor:
    """f(x) without a graph."""
    with torch.no_grad():
        outputs = net(inputs)
    check_outputs(outputs, len(inputs), name)
    return outputs


def check_outputs(outputs: Tensor, rows: int, name: SampleName) -> None:
    """Refuse outputs of another shape than (rows, c) or (rows,), NaN and infinity."""
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        kind = outputs.dtype if isinstance(outputs, Tensor) else type(outputs).__name__
        raise TypeError(f"net must return a floating-point tensor, got {kind}")
    check_output_shape(outputs, rows)
    row = first_not_finite(outputs.detach())
    if row is not None:
        raise MixregError(f"net returned NaN or infinity for {name(row)}")


def check_output_shape(outputs: Tensor, rows: int) -> None:
    """Refuse outputs of another shape than (rows, c) or (rows,)."""
    if outputs.ndim not in (1, 2) or len(outputs) != rows:
        raise ValueError(
            f"net must return shape (n, c) or (n,), got {tuple(outputs.shape)} for {rows} samples; "
            "flatten or pool its outputs"
        )


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
    if loss not in CANONICAL:
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
