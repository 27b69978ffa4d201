"""The idx format of MNIST and its successors, plain or gzip-compressed."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixreg._errors import DataError
from mixreg.data.location import read_file

UNSIGNED_BYTE = 8


def read_idx_bytes(path: Path, *, limit: int) -> bytes:
    """The content of an idx file, decompressed if its name ends in .gz.

    Args:
        path: the file.
        limit: no more than this many bytes are unpacked.

    Returns:
        The content, or its first `limit` bytes.

    Raises:
        DataError: the file cannot be read or decompressed.
    """
    if path.suffix != ".gz":
        return read_file(path)[:limit]
    try:
        with gzip.open(path) as stream:
            return stream.read(limit)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged, or no gzip file: {error}") from error


def parse_idx(path: Path, content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes.

    Args:
        path: the file, for the message.
        content: two zero bytes, the type, the number of dimensions, the dimensions as big-endian
            32-bit integers, then the values.
        shape: the shape expected.

    Returns:
        The array, over the bytes of the file.

    Raises:
        DataError: the header or the size differs from what the shape asks for.

    Example:
        >>> content = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])
        >>> parse_idx(Path("labels"), content, (2,)).tolist()
        [7, 9]
    """
    header = bytes([0, 0, UNSIGNED_BYTE, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    if content[: len(header)] != header:
        raise DataError(
            f"{path} is no idx file of unsigned bytes of shape {shape}: it begins with "
            f"{content[: len(header)].hex()}, expected {header.hex()}"
        )
    values = np.frombuffer(content, np.uint8, offset=len(header))
    if values.size != np.prod(shape):
        raise DataError(f"{path} holds {values.size} values, expected {np.prod(shape)}")
    return values.reshape(shape)
