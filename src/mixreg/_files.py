"""Files that are written whole or not at all."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from mixreg._errors import MixregError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskFullError(MixregError):
    """There was no room to write a file; nothing half-written was left behind."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    The bytes go to a neighbour first, reach the disk, and replace the file in one step.

    Args:
        path: the file; its folder exists.
        data: the content.

    Raises:
        DiskFullError: the disk or the quota is full.
        OSError: any other failure of the file system.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise DiskFullError(
                f"no room to write {path} ({len(data)} bytes): {error.strerror}; nothing was left "
                "half-written, so free some space and run the same command again"
            ) from error
        raise


def failure_text(error: OSError) -> str:
    """What the file system refused, where, and what to do where there was no room.

    Args:
        error: its error.

    Returns:
        One line.

    Example:
        >>> failure_text(FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"))
        'No such file or directory: a.csv'
        >>> failure_text(OSError(errno.ENOSPC, "No space left on device"))
        'No space left on device; free some space and run the same command again'
    """
    reason = str(error.strerror or error)
    place = "" if error.filename is None else f": {error.filename}"
    remedy = "; free some space and run the same command again" if error.errno in _FULL else ""
    return reason + place + remedy


def write_json(path: Path, values: Any) -> None:
    """Write JSON with a stable layout, whole or not at all.

    Args:
        path: the file; its folder exists.
        values: JSON-safe values; NaN and infinity are refused.
    """
    write_bytes(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())
