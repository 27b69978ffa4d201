"""Files of weights, in the containers that trainings leave; nothing in them is executed."""

import argparse
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from mixreg._errors import CheckpointError
from mixreg._files import read_tensors

_ENTRIES = ("state_dict", "model", "model_state_dict", "net")
"""Usual names of the trained weights, the first of which is taken."""

_AVERAGED = {"ema", "swa"}

_SAVE = "save net.state_dict() with torch.save or safetensors"
_LISTED = 3
_LEVELS = 4  # of entries within entries; a mapping may hold itself
_HALVES = {"torch.float16", "torch.bfloat16"}


class _Place(NamedTuple):
    """Where in a file weights are: the entry, "" for the file itself, and the prefix of their keys.

    Places are sorted: averaged weights first, then those of the usual names, then the others.
    """

    order: tuple[bool, int]
    entry: str
    prefix: str

    @classmethod
    def of(cls, entry: str, prefix: str) -> "_Place":
        words = f"{entry}.{prefix}".replace("_", ".").lower().split(".")
        usual = [_ENTRIES.index(part) for part in entry.split(".") if part in _ENTRIES]
        return cls((not _AVERAGED & {*words}, min(usual, default=len(_ENTRIES))), entry, prefix)

    @property
    def names(self) -> set[str]:
        """By what they can be asked for."""
        return {self.entry, self.prefix.rstrip(".")} - {""}


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file of weights holds: state dicts by entry ("" for the file), and timm's settings.

    Keys may have a prefix before those of the network: "module." of DistributedDataParallel,
    "_orig_mod." of torch.compile, the name of the network in a LightningModule.
    """

    path: Path
    states: Mapping[str, Mapping[str, Any]]
    arguments: Mapping[str, Any] | None = None
    is_own: bool = False

    def put(self, net: nn.Module, name: str | None = None) -> list[str]:
        """Load the weights of that name, else averaged, else trained ones; what was done."""
        wanted = net.state_dict()
        places = [place for place in self._places(wanted) if name is None or name in place.names]
        held = {place: _within(self.states[place.entry], place.prefix) for place in places}
        count = {place: sum(key in held[place] for key in wanted) for place in places}
        most = max(count.values(), default=0)
        best = sorted(place for place in places if count[place] == most)
        names = ", ".join(sorted(set().union(*(place.names for place in best))))
        if not best:
            known = set().union(*(place.names for place in self._places(wanted)))
            raise CheckpointError(
                f"{self.path} holds no weights named {name!r}, only {', '.join(sorted(known))}"
            )
        (taken, *others), notes = best, []
        if (
            others
            and most > 0
            and taken.order == others[0].order
            and (taken.entry != others[0].entry or taken.prefix)
        ):
            raise CheckpointError(
                f"{self.path} holds several weights of the model: {names}; choose with --weights"
            )
        if others:
            notes.append(
                f"{self.path.name} holds several weights of the model: {names}; those of "
                f"{' '.join(sorted(taken.names))} were taken (--weights)."
            )
        if taken.prefix and not self.is_own:
            notes.append(f"The prefix {taken.prefix} of all keys in {self.path.name} was stripped.")
        return notes + _load(self.path, held[taken], net)

    def _places(self, wanted: Mapping[str, Tensor]) -> Iterator[_Place]:
        """Each state as it is, and with each prefix of the network's longest key in it."""
        longest = max(wanted, key=len, default="")
        for entry, state in self.states.items():
            ends = {key.removesuffix(longest) for key in state if key.endswith(longest)}
            for prefix in {"", *(end for end in ends if end.endswith("."))}:
                yield _Place.of(entry, prefix)


class _NumberType:
    """The type of a NumPy number as a pickle describes it, which makes no object of NumPy's."""

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biuf":
            raise ValueError(f"{code} is no number")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _number(kind: _NumberType, data: bytes) -> float:
    """The number that a pickle holds as bytes."""
    value: float = np.frombuffer(data, kind.dtype).item()
    return value


_NUMBERS: list[tuple[Callable[..., Any], str]] = [
    (_NumberType, "numpy.dtype"),
    *((_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""What stands for the reconstruction of NumPy's numbers, which many trainings store."""


def read_weights(path: Path) -> Stored:
    """The state dicts in a file; one that holds none, or objects, is refused by what it holds."""
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    unreadable = f"{path} is not a readable file of weights"
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if zipfile.is_zipfile(path) and (entry := zipfile.ZipFile(path).testzip()):
            raise CheckpointError(f"{path} is damaged: the checksum of {entry} is wrong")
        with torch.serialization.safe_globals([argparse.Namespace, *_NUMBERS]):
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{unreadable}: {error}") from error
    except CheckpointError:
        raise
    except Exception as error:
        # torch's own message advises to execute what the file holds.
        raise CheckpointError(
            f"{unreadable}: it is damaged, or holds pickled objects and not only tensors; {_SAVE}"
        ) from error
    states = dict(_states(stored))
    if not states:
        keys = list(map(str, stored)) if isinstance(stored, Mapping) else []
        held = f" among {', '.join(keys[:10])}{', ...' * (len(keys) > 10)}" if keys else ""
        raise CheckpointError(f"{unreadable}: no state dict{held}; {_SAVE}")
    arguments = stored.get("args")
    return Stored(
        path, states, vars(arguments) if isinstance(arguments, argparse.Namespace) else None
    )


def load_weights(path: Path, net: nn.Module) -> nn.Module:
    """Put the weights in a file, also one of a run, into a network, which is returned."""
    for note in read_weights(path).put(net):
        warnings.warn(note, stacklevel=2)
    return net


def misfit(state: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> str:
    """The first few tensors that are missing, unexpected or of another shape, in one line."""
    groups = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": sorted(key for key in state if key not in wanted),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
            for key, value in wanted.items()
            if isinstance(state.get(key), Tensor) and state[key].shape != value.shape
        ],
    }
    return "; ".join(
        f"{len(keys)} {name}: {', '.join(keys[:_LISTED])}{', ...' if len(keys) > _LISTED else ''}"
        for name, keys in groups.items()
        if keys
    )


def _read_safetensors(path: Path) -> Stored:
    """The tensors of a file; in one that this package wrote every bit is checked."""
    with safe_open(path, "pt") as file:
        is_own = "mixreg" in (file.metadata() or {})
    if is_own:
        state = read_tensors(path, kind="trained model", remedy="take another copy of it")[0]
        return Stored(path, {"": state}, is_own=True)
    return Stored(path, {"": load_safetensors(path.read_bytes())})


def _states(stored: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The state dicts in mappings of mappings, each under the name of its entry."""
    level, seen = [("", stored)], set()
    for _ in range(_LEVELS):
        below: list[tuple[str, object]] = []
        for name, mapping in level:
            if not isinstance(mapping, Mapping):
                continue
            if _is_state(mapping):
                yield name, mapping
            if id(mapping) not in seen:
                seen.add(id(mapping))
                keyed = [(key, part) for key, part in mapping.items() if isinstance(key, str)]
                below += [(f"{name}.{key}" if name else key, part) for key, part in keyed]
        level = below


def _is_state(state: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a mapping from names to, at least among others, tensors."""
    return (
        isinstance(state, Mapping)
        and all(isinstance(key, str) for key in state)
        and any(isinstance(value, Tensor) for value in state.values())
    )


def _within(state: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    if not prefix:
        return state
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _load(path: Path, state: Mapping[str, Any], net: nn.Module) -> list[str]:
    """Load a state dict of just these keys; what its values leave to be said."""
    wanted = net.state_dict()
    strange = {key: _strange(state.get(key), value) for key, value in wanted.items()}
    if wrong := [f"{key} {kind}" for key, kind in strange.items() if kind]:
        kinds = ", ".join(wrong[:_LISTED])
        raise CheckpointError(f"{path} holds no floating-point weights for the model: {kinds}")
    halves = {str(v.dtype) for v in state.values() if isinstance(v, Tensor)} & _HALVES
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = misfit(state, wanted) or " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit the model: {reason}") from error
    if not halves or any(str(value.dtype) in halves for value in wanted.values()):
        return []
    rounded = f"{path.name} holds weights of {', '.join(sorted(halves))}, rounded to fewer digits"
    return [f"{rounded} than the model's; it is evaluated with the rounded values."]


def _strange(value: Any, wanted: Tensor) -> str:
    """What kind of tensor a value is where it is nested, or not real in the place of a real one."""
    if not isinstance(value, Tensor):
        return ""
    if value.is_nested:
        return f"nested {value.dtype}"
    is_real = value.is_floating_point() or not wanted.is_floating_point()
    return "" if is_real else str(value.dtype)
