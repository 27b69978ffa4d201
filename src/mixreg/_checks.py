"""Inputs, labels and batches as every function takes them, and what is said of others."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

Network = Callable[[Tensor], Tensor]
SampleName = Callable[[int], str]  # words for a row, for messages

Key = str | int
Place = Key | Sequence[Key] | Callable[[Any], Any]
"""Where in a batch inputs or labels are: a key, a position, several, or a function of the batch."""

_LABEL_SUM_TOLERANCE = 1e-5


def dense_targets(y: Tensor, num_classes: int | None, *, dtype: torch.dtype) -> Tensor:
    """Labels as real vectors that can be averaged: one-hot for class indices, else as they are.

    An index out of range is named on the CPU; on an accelerator, where a look at the values would
    stop the stream, the device itself asserts it.

    Args:
        y: class indices, integer of shape (n,), which need `num_classes`; or soft labels or
            regression targets, floating point of shape (n,) or (n, c, ...).
        num_classes: number of classes c of a classification problem, else None.
        dtype: floating dtype of the one-hot vectors. Floating labels keep their own.

    Returns:
        Shape (n, c) for class indices, else `y` itself.

    Raises:
        TypeError: integer labels without `num_classes`, or floating class indices with it.
        ValueError: a class index outside 0..c−1, or soft labels of another width than c.
        RuntimeError: any other failure of the device.

    Example:
        >>> dense_targets(torch.tensor([1, 0]), 2, dtype=torch.float32)
        tensor([[0., 1.],
                [1., 0.]])
    """
    check_num_classes(num_classes)
    check_tensor(y, "labels", "y")
    if y.ndim == 0:
        raise ValueError("labels need a batch dimension, got a scalar; use y.unsqueeze(0)")
    if y.is_floating_point():
        check_floating_targets(y, num_classes)
        return y
    num_classes = _check_indices(y, num_classes)
    one_hot = torch.zeros(y.shape[0], num_classes, dtype=dtype, device=y.device)
    try:
        return one_hot.scatter_(1, y.long().unsqueeze(1), 1.0)
    except RuntimeError:
        _check_range(y, num_classes)
        raise


def mixed_one_hot(
    y: Tensor, shift: int, shares: Tensor, num_classes: int | None, ignored: int | None = None
) -> Tensor:
    """s_i0 e_{y_i} + s_i1 e_{y_j}, j = (i + shift) mod n, also of maps; ignored classes add 0."""
    num_classes = _check_indices(y, num_classes, maps=y.ndim > 2 or ignored is not None)
    n = y.shape[0]
    mixed = shares.new_zeros(n, num_classes, *y.shape[1:])
    if y.ndim == 1 and ignored is None:
        pairs = torch.cat((y, y)).long().as_strided((n, 2), (1, shift))
    else:
        pairs = torch.stack((y, torch.roll(y, -shift, 0)), 1).long()
        shares = shares.view(n, 2, *(1,) * (y.ndim - 1)).expand_as(pairs)
    if ignored is not None:
        left_out = pairs == ignored
        pairs, shares = pairs.masked_fill(left_out, 0), shares.masked_fill(left_out, 0)
    try:
        return mixed.scatter_add_(1, pairs, shares)
    except RuntimeError:
        _check_range(y if ignored is None else y[y != ignored], num_classes)
        raise


def check_tensor(values: object, what: str, name: str) -> None:
    """Refuse NumPy arrays, lists, and sparse, nested or quantised tensors."""
    if not isinstance(values, Tensor):
        kind = f"{type(values).__module__}.{type(values).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"{what} must be a torch.Tensor, got {kind}; use torch.as_tensor({name})")
    if values.layout is not torch.strided:
        raise TypeError(f"{what} must be dense, got {values.layout}; use {name}.to_dense()")
    if values.is_nested or values.is_quantized:
        kind, remedy = (
            ("nested", "to_padded_tensor(0.0)")
            if values.is_nested
            else ("quantised", "dequantize()")
        )
        raise TypeError(f"{what} must be an ordinary tensor, got a {kind} one; use {name}.{remedy}")


def check_inputs(x: Tensor) -> None:
    """Refuse inputs that are not floating point, as raw pixels and token ids are not."""
    check_tensor(x, "inputs", "x")
    if not x.is_floating_point():
        advice = {
            torch.uint8: "convert and normalise pixels as the model takes them, for example "
            "x.float() / 255",
            torch.int16: "scale samples of sound as the model takes them, for example "
            "x.float() / 32768",
        }.get(x.dtype, "token ids cannot be averaged, so pass embeddings; numbers as x.float()")
        raise TypeError(f"inputs must be floating point, got {x.dtype}; {advice}")


def check_floating(values: Tensor, what: str, name: str) -> None:
    """Refuse values that are not floating point, as class indices are not."""
    check_tensor(values, what, name)
    if not values.is_floating_point():
        remedy = (
            "; turn class indices into one-hot vectors with mixreg.dense_targets(y, num_classes, "
            "dtype=...)"
        )
        raise TypeError(
            f"{what} must be floating point, got {values.dtype}{remedy * (what == 'targets')}"
        )


def check_examples(x: Tensor, y: Tensor) -> None:
    """Refuse inputs and labels that are not one row an example each."""
    check_inputs(x)
    check_tensor(y, "labels", "y")
    if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0]:
        raise ValueError(
            "inputs and labels must have one row an example, got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )


def check_num_classes(num_classes: int | None) -> None:
    """Refuse a number of classes that is not a positive integer or None."""
    if num_classes is None:
        return
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__"):
        raise TypeError(f"num_classes must be an integer or None, got {num_classes!r}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")


def check_floating_targets(y: Tensor, num_classes: int | None) -> None:
    """Refuse floating labels that do not fit the number of classes."""
    if num_classes is None:
        return
    if y.ndim == 1:
        raise TypeError(
            f"with num_classes={num_classes}, labels of shape (n,) must be integer class indices, "
            f"got {y.dtype}; use y.long(), or leave num_classes out for regression targets"
        )
    if y.shape[1] != num_classes:
        remedy = "; for class indices use y.squeeze(1).long()" if y.shape[1:] == (1,) else ""
        raise ValueError(
            f"soft labels must have shape (n, {num_classes}) for num_classes={num_classes}, "
            f"got {tuple(y.shape)}{remedy}"
        )


def check_label_sums(labels: Tensor, what: str) -> None:
    """Refuse labels that do not sum to one, as cross-entropy assumes (equation 3, Corollary 1)."""
    sums = labels.sum(1)
    error = (sums - 1).abs()
    if error.max() > max(_LABEL_SUM_TOLERANCE, 2 * torch.finfo(labels.dtype).eps):
        row = int(error.argmax())
        raise ValueError(
            f"with cross-entropy {what} must sum to one, got {sums[row].item():.6g} in row {row}; "
            "normalise them, or use the logistic loss for independent labels"
        )


def as_rows(weights: Tensor, values: Tensor) -> Tensor:
    """Weights (n,) like values (n, ...), shaped to multiply their rows."""
    weights = weights.to(values.dtype).to(values.device, non_blocking=True)
    return weights.view(-1, *(1,) * (values.ndim - 1))


def sample_name(start: int) -> SampleName:
    """Words for the rows of a chunk that starts at a given sample."""
    return lambda row: f"sample {start + row}"


def first_not_finite(values: Tensor) -> int | None:
    """The first row that holds NaN or infinity, or None."""
    finite = torch.isfinite(values).reshape(len(values), -1).all(1)
    return None if bool(finite.all()) else int(finite.logical_not().nonzero()[0])


def fits(x: Tensor, mean: Tensor) -> bool:
    """Whether a mean has the shape of one input, or is one number for each of its channels."""
    pairs = zip(mean.shape, x.shape[1:], strict=False)
    return x.ndim == mean.ndim + 1 and all(m in (1, size) for m, size in pairs)


def dims(mean: Tensor) -> str:
    """The shape of one input or output, in words."""
    return ", ".join(map(str, mean.shape)) or "no further axis"


def logits_of(outputs: object) -> Tensor:
    """The outputs of a network: a tensor, or the logits in an output of Hugging Face's kind."""
    logits = getattr(outputs, "logits", outputs)
    if not (isinstance(logits, Tensor) and logits.is_floating_point()):
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(
            f"outputs must be one floating-point tensor, got {got}; wrap the model in one that "
            "returns its logits or values alone"
        )
    return logits


PROBABILITIES = (
    "the outputs of the network lie in [0, 1] and sum to one in every row, as probabilities do; "
    "this needs logits: take them before the network's softmax, or p.log()"
)


def are_probabilities(outputs: Tensor) -> bool:
    """Whether all rows lie in [0, 1] and sum to one, as those after a softmax do."""
    if outputs.ndim != 2 or outputs.shape[1] < 2 or len(outputs) == 0:
        return False
    values = outputs.detach().float()
    off = (values.sum(1) - 1).abs().max()
    tolerance = max(1e-5, outputs.shape[1] * torch.finfo(outputs.dtype).eps)
    return bool((values >= 0).all() & (values <= 1).all() & (off <= tolerance))


def split(batch: Any, inputs: Place | None, labels: Place | None) -> tuple[Any, Tensor]:
    """The inputs of a batch, one tensor or a nest, and its labels."""
    if labels is None:
        if not isinstance(batch, Sequence) or len(batch) < 2:
            raise TypeError(
                f"batches must be sequences (x, y, ...), got {_kind(batch)}; for others say where "
                "the labels are, with labels=..."
            )
        inputs, labels = 0 if inputs is None else inputs, 1
    y = _found(batch, labels, "labels")
    check_tensor(y, "labels", "y")
    if inputs is not None:
        return _found(batch, inputs, "inputs"), y
    x = [values for values in tensors(batch, "name the inputs with inputs=...") if values is not y]
    return x[0] if len(x) == 1 else x, y


def split_one(batch: Any, inputs: Place | None, labels: Place | None) -> tuple[Tensor, Tensor]:
    """The one input of a batch, and its labels."""
    x, y = split(batch, inputs, labels)
    if not isinstance(x, Tensor) and isinstance(x, list | tuple | Mapping):
        raise TypeError(
            f"means are taken of one tensor, got {_kind(x)}; name it with inputs=..., each of "
            "several in a pass of its own"
        )
    return x, y


def tensors(nest: Any, remedy: str = "use torch.as_tensor(x)") -> list[Tensor]:
    """All leaves of a nest, which must be tensors."""
    if isinstance(nest, Tensor):
        return [nest]
    if isinstance(nest, Mapping):
        return [values for part in nest.values() for values in tensors(part, remedy)]
    if isinstance(nest, list | tuple):
        return [values for part in nest for values in tensors(part, remedy)]
    raise TypeError(f"inputs must be a torch.Tensor or a nest of them, got {_kind(nest)}; {remedy}")


def replaced(nest: Any, old: Sequence[Tensor], new: Sequence[Tensor]) -> Any:
    """A nest of the same types with some of its tensors replaced, and all else as it is."""
    change = {id(before): after for before, after in zip(old, new, strict=True)}
    seen: set[int] = set()

    def walk(part: Any) -> Any:
        if isinstance(part, Tensor):
            seen.add(id(part))
            return change.get(id(part), part)
        if isinstance(part, Mapping):
            clone: Any = copy.copy(part)
            for key, values in part.items():
                clone[key] = walk(values)
            return clone
        if isinstance(part, list | tuple):
            walked = [walk(values) for values in part]
            return type(part)(*walked) if hasattr(part, "_fields") else type(part)(walked)
        return part

    result = walk(nest)
    if not seen >= change.keys():
        raise ValueError(
            "inputs and labels must be tensors of the batch itself, not made from them"
        )
    return result


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode each module was in."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def python_float(value: object, name: str) -> float:
    """A real number of any kind, NumPy's too, as a Python float, which JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    return float(value)


def keep_float(record: object, name: str) -> None:
    """Replace a field of a frozen record, while it is made, by itself as a Python float."""
    object.__setattr__(record, name, python_float(getattr(record, name), name))


def _check_indices(y: Tensor, num_classes: int | None, *, maps: bool = False) -> int:
    if y.is_complex():
        raise TypeError(f"labels must be integer or floating point, got {y.dtype}")
    if num_classes is None:
        numbers = "; for regression targets use y.float()" if y.ndim < 3 else ""
        raise TypeError(
            f"labels of dtype {y.dtype} are class indices and need num_classes=...{numbers}"
        )
    if y.ndim != 1 and not maps:
        if y.shape[1:] == (1,):
            remedy = "use y.squeeze(1)"
        elif y.ndim == 2:
            remedy = (
                "for soft or multi-hot labels use y.float(); a class for each position is mixed by "
                "mixreg.Mixup(..., ignore_index=-100)"
            )
        else:
            remedy = "for maps of classes use one_hot(y, num_classes).movedim(-1, 1).float()"
        raise ValueError(f"class indices must have shape (n,), got {tuple(y.shape)}; {remedy}")
    if y.dtype == torch.bool:
        raise TypeError("boolean labels are ambiguous; use y.long() for classes or y.float()")
    return num_classes


def _check_range(y: Tensor, num_classes: int) -> None:
    if y.device.type == "cpu" and len(y) > 0:
        low, high = (int(edge) for edge in torch.aminmax(y.long()))
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"class indices must lie in 0..{num_classes - 1} for num_classes={num_classes}, "
                f"got values from {low} to {high}"
            )


def _found(batch: Any, place: Place, name: str) -> Any:
    if callable(place):
        return place(batch)
    if not isinstance(place, str | int):
        return [_found(batch, key, name) for key in place]
    try:
        return batch[place]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{name}={place!r} is no part of the batch, {_kind(batch)}") from error


def _kind(batch: Any) -> str:
    name = f"{type(batch).__module__}.{type(batch).__qualname__}".removeprefix("builtins.")
    if isinstance(batch, Mapping):
        return f"{name} of {', '.join(map(repr, batch))}"
    return f"{name} of {len(batch)}" if isinstance(batch, list | tuple) else name
