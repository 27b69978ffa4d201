"""Stored files as frozen types, decoded strictly by msgspec and written whole."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from mixreg._errors import CheckpointError, MixregError
from mixreg._files import write_bytes

T = TypeVar("T")

_LARGEST = 2**28
"""Bytes of the largest file that is decoded."""


def decode(file: Path, kind: type[T], *, remedy: str) -> T:
    """The value that a JSON file holds; anything else ends in one line that says what mends it."""
    if not file.is_file():
        state = "is no file" if file.exists() else "is missing"
        raise CheckpointError(f"{file} {state}; {remedy}")
    if (size := file.stat().st_size) > _LARGEST:
        raise CheckpointError(f"{file} is damaged: it has {size} bytes; {remedy}")
    return decode_bytes(file.read_bytes(), kind, name=str(file), remedy=remedy)


def decode_bytes(data: bytes, kind: type[T], *, name: str, remedy: str) -> T:
    """The value that JSON text holds; missing, unknown and repeated fields are refused."""
    try:
        value = msgspec.json.decode(data, type=kind, dec_hook=_decoded)
        raw = json.loads(
            data.decode(), object_pairs_hook=_without_repeats, parse_int=str, parse_float=str
        )
        _check_known(raw, _plain(value), "$")
    except (ValueError, RecursionError, MixregError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{name} is damaged: {reason}; {remedy}") from error
    return value


def encode(value: object) -> bytes:
    """JSON of a stable layout; numbers that are not finite are refused by the name of the field."""
    plain = _plain(value)
    _check_finite(plain, "$")
    return (_spelled(plain, "\n") + "\n").encode()


def write(file: Path, value: object) -> None:
    """Write a value as JSON, whole or not at all."""
    write_bytes(file, encode(value))


@dataclass(frozen=True)
class Kept(Generic[T]):
    """A file of one type that every folder of some kind keeps under one name."""

    name: str
    kind: type[T]
    remedy: str = "run the same command again"

    def read(self, folder: Path) -> T:
        return decode(folder / self.name, self.kind, remedy=self.remedy)

    def find(self, folder: Path) -> T | None:
        """The value, None where the file is missing or damaged."""
        try:
            return self.read(folder)
        except CheckpointError:
            return None

    def write(self, folder: Path, value: T) -> None:
        write(folder / self.name, value)


def _spelled(value: Any, line: str) -> str:
    """JSON with a line for each entry; a list of plain values, such as a record, takes one."""
    inner, deep = f"{line}  ", (dict, list, tuple)
    if isinstance(value, dict) and value:
        entries = [f"{json.dumps(key)}: {_spelled(entry, inner)}" for key, entry in value.items()]
        return "{" + inner + f",{inner}".join(entries) + line + "}"
    if isinstance(value, list | tuple) and any(isinstance(entry, deep) for entry in value):
        entries = [_spelled(entry, inner) for entry in value]
        return "[" + inner + f",{inner}".join(entries) + line + "]"
    return json.dumps(value, allow_nan=False)


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_encoded)


def _encoded(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"a {type(value).__name__} cannot be stored")


def _decoded(kind: type, value: object) -> object:
    if issubclass(kind, Path) and isinstance(value, str):
        return kind(value)
    raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {max(names, key=names.count)!r} is there twice")
    return values


def _check_known(raw: Any, kept: Any, path: str) -> None:
    """Refuse the fields of an object that its type does not have."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            if key not in kept:
                raise ValueError(f"unknown field {key!r} - at `{path}`")
            _check_known(value, kept[key], f"{path}.{key}")
    elif isinstance(raw, list):
        for k, (value, kept_value) in enumerate(zip(raw, kept, strict=True)):
            _check_known(value, kept_value, f"{path}[{k}]")


def _check_finite(plain: Any, path: str) -> None:
    if isinstance(plain, float) and not math.isfinite(plain):
        raise CheckpointError(f"{plain} is not a finite number and is not stored - at `{path}`")
    if isinstance(plain, dict):
        for key, value in plain.items():
            _check_finite(value, f"{path}.{key}")
    elif isinstance(plain, list | tuple):
        for k, value in enumerate(plain):
            _check_finite(value, f"{path}[{k}]")
