"""Files that are written whole or not at all, those of tensors with a digest of every byte."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mixreg._errors import CheckpointError, MixregError

if TYPE_CHECKING:
    from torch import Tensor

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REMEDIES = dict.fromkeys(_FULL, "free some space and run the same command again") | {
    errno.EISDIR: "a file belongs there, so move the folder away",
}
_LABEL = b'sha256\\": \\"'  # as it stands in JSON within JSON
_UNSIGNED = b"0" * 64  # in the place of the digest, while it is taken


class DiskFullError(MixregError):
    """There was no room to write a file; nothing half-written was left behind."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write so that readers see the old content or the new, never a part."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    written = 0
    try:
        with partial.open("wb") as file:
            yield file
            written = file.tell()
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            size = f" ({written} bytes)" if written else ""
            raise DiskFullError(
                f"no room to write {path}{size}: {error.strerror}; nothing was left "
                "half-written, so free some space and run the same command again"
            ) from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as file:
        file.write(data)


def failure_text(error: OSError) -> str:
    """What the file system refused, where, and what mends it."""
    reason = str(error.strerror or error)
    place = "" if error.filename is None else f": {error.filename}"
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{reason}{place}; {remedy}" if remedy else reason + place


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], about: Mapping[str, Any]) -> None:
    """Write a safetensors file with JSON values about it and the SHA-256 of all its bytes."""
    from safetensors.torch import save

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    record = {"about": about, "sha256": _UNSIGNED.decode()}
    data = save(copies, metadata={"mixreg": json.dumps(record, allow_nan=False)})
    write_bytes(path, _signed(data, _UNSIGNED, hashlib.sha256(data).hexdigest().encode()))


def read_tensors(
    path: Path, *, kind: str, remedy: str
) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors and values of `write_tensors`; a CheckpointError unless every bit is as written."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise FileNotFoundError(f"no {kind} at {path}")
    data = path.read_bytes()
    try:
        record = json.loads(json.loads(_header(data))["__metadata__"]["mixreg"])
        digest, about = record["sha256"].encode(), record["about"]
        whole = hashlib.sha256(_signed(data, digest, _UNSIGNED)).hexdigest().encode()
        if not isinstance(about, dict):
            raise TypeError("its values are no mapping")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} holds no {kind} of this version, or is damaged; {remedy}"
        ) from error
    if whole != digest:
        raise CheckpointError(f"{path} was changed or damaged since it was written; {remedy}")
    try:
        return load(data), about
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} holds no {kind}: {error}; {remedy}") from error


def _header(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _signed(data: bytes, old: bytes, new: bytes) -> bytes:
    """A file with another digest in its header."""
    end = 8 + len(_header(data))
    return data[:end].replace(_LABEL + old, _LABEL + new, 1) + data[end:]
