"""Where in a batch the inputs and the labels are: one convention for mixing and for averaging.

A batch is (x, y), or any nest of mappings, tuples and lists. `labels` and `inputs` each name a part
of it: by its key or position, by several of them, or by a function of the batch that returns
tensors of it. Without `inputs` these are all tensors but the labels.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from mixreg._checks import check_tensor

Key = str | int
Place = Key | Sequence[Key] | Callable[[Any], Any]


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
