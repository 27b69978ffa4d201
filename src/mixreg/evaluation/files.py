"""Files that are whole or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A place to write a file that takes its name only once it is complete.

    Args:
        path: where the file shall be; missing folders are made, an existing file is replaced.

    Yields:
        The partial file beside it, removed again if the writing fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a UTF-8 text file, whole or not at all.

    Args:
        path: the file.
        text: its content, written with the line ends it has.

    Returns:
        The path.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
    return Path(path)
