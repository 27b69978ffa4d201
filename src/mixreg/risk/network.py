"""What the theory asks of a network: finite outputs (n, c), a function of one sample each."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mixreg._errors import MixregError

Network = Callable[[Tensor], Tensor]
SampleName = Callable[[int], str]


def check_network(net: Network, x: Tensor) -> None:
    """Refuse a network whose outputs are random or depend on the other samples of the batch.

    BatchNorm layers in training mode are looked for, since evaluating them would change their
    running statistics; the rest shows when two samples are evaluated together, again and alone.

    Args:
        net: f, (n, ...) → (n, c) or (n,).
        x: inputs, shape (n, ...), of which the first two are evaluated.

    Raises:
        ValueError: outputs that are not a function of one sample each.
    """
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
    """f(x) without a graph.

    Args:
        net: f.
        inputs: shape (k, ...).
        name: words for row k, for messages.

    Returns:
        Outputs as the network gives them, shape (k, c) or (k,).

    Raises:
        TypeError: the network does not return a floating-point tensor.
        ValueError: outputs of another shape.
        MixregError: an output is NaN or infinite.
    """
    with torch.no_grad():
        outputs = net(inputs)
    check_outputs(outputs, len(inputs), name)
    return outputs


def check_outputs(outputs: Tensor, rows: int, name: SampleName) -> None:
    """Refuse outputs of another shape than (rows, c) or (rows,), NaN and infinity.

    Args:
        outputs: what the network returned.
        rows: how many samples it was given.
        name: words for row k, for messages.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: another shape.
        MixregError: an output is NaN or infinite.
    """
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        kind = outputs.dtype if isinstance(outputs, Tensor) else type(outputs).__name__
        raise TypeError(f"net must return a floating-point tensor, got {kind}")
    if outputs.ndim not in (1, 2) or len(outputs) != rows:
        raise ValueError(
            f"net must return shape (n, c) or (n,), got {tuple(outputs.shape)} for {rows} samples; "
            "flatten or pool its outputs"
        )
    row = first_not_finite(outputs.detach())
    if row is not None:
        raise MixregError(f"net returned NaN or infinity for {name(row)}")


def first_not_finite(values: Tensor) -> int | None:
    """The first row that holds NaN or infinity.

    Args:
        values: shape (n, ...).

    Returns:
        Its index, or None.
    """
    finite = torch.isfinite(values).reshape(len(values), -1).all(1)
    return None if bool(finite.all()) else int(finite.logical_not().nonzero()[0])


def sample_name(start: int) -> SampleName:
    """Words for the rows of a chunk that starts at a given sample.

    Args:
        start: index of the first sample.

    Returns:
        A function from row to words.
    """
    return lambda row: f"sample {start + row}"
