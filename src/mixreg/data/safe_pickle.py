"""Read the pickles of the CIFAR releases without running anything that a pickle can name.

A pickle may call any function it names. The releases need three names, all of NumPy, and these are
replaced here by stand-ins that can only build an array of bytes; any other name is refused.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixreg._errors import DataError


def load_pickle(path: Path, content: bytes) -> dict[bytes, Any]:
    """The dictionary in a pickle of plain values and byte arrays.

    Args:
        path: the file, for the message.
        content: its bytes.

    Returns:
        The dictionary; strings of Python 2 are bytes, arrays are NumPy arrays of dtype uint8.

    Raises:
        DataError: the pickle names anything else than such arrays, is damaged, or holds no
            dictionary.

    Example:
        >>> load_pickle(Path("example"), pickle.dumps({b"labels": [1, 2]}, protocol=3))
        {b'labels': [1, 2]}
    """
    try:
        values = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(values, dict):
            raise DataError(f"holds a {type(values).__name__}, expected a dictionary")
        return {k: v.array() if isinstance(v, _Array) else v for k, v in values.items()}
    except DataError as refusal:
        raise DataError(f"{path} {refusal}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path} is not a readable pickle: {error!r}") from error


class _ByteType:
    """Stand-in for the NumPy dtype of unsigned bytes."""

    __slots__ = ()

    def __init__(self, name: bytes | str, _align: object, _copy: object) -> None:
        if name not in (b"u1", "u1"):
            raise DataError(f"holds an array of dtype {name!r}, expected bytes ('u1')")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment mean nothing for bytes."""


class _Array:
    """Stand-in for a NumPy array of bytes, filled by the pickle's state."""

    __slots__ = ("_fortran", "_raw", "_shape")

    _fortran: bool
    _raw: bytes
    _shape: tuple[int, ...]

    def __setstate__(self, state: tuple[int, tuple[int, ...], _ByteType, bool, bytes]) -> None:
        _, self._shape, _, self._fortran, self._raw = state

    def array(self) -> NDArray[np.uint8]:
        """The array, over the bytes of the pickle."""
        values = np.frombuffer(self._raw, np.uint8)
        return values.reshape(self._shape[::-1]).T if self._fortran else values.reshape(self._shape)


def _empty_array(_kind: object, _shape: object, _typecode: object) -> _Array:
    """Stand-in for the NumPy function that makes the array to be filled."""
    return _Array()


class _PlainUnpickler(pickle.Unpickler):  # noqa: S301 (this class is what makes it safe)
    """An unpickler to which only byte arrays are known."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return _empty_array
            case "numpy", "ndarray":
                return _Array
            case "numpy", "dtype":
                return _ByteType
        raise DataError(f"names {module}.{name}, which the published files do not; not loaded")
