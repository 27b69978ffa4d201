"""Run directories whose files cannot be read: found, and set aside with nothing deleted."""

from itertools import count
from pathlib import Path

from mixreg.training import RunDirectory


def find_damage(run: RunDirectory) -> str:
    """Look at every file that a run is read from.

    Args:
        run: the run, begun or not.

    Returns:
        Which file cannot be read and why; empty if the run is sound, or has not begun.

    Raises:
        OSError: the file system fails, which says nothing about the file.
    """
    return run.corrupt()


def set_aside(run: RunDirectory) -> Path:
    """Move all files of a run into a new directory beside it.

    The lock stays, so that whoever holds it goes on holding it. The settings move last, so that a
    move that is interrupted is found and finished the next time.

    Args:
        run: the run, locked by the caller.

    Returns:
        The new directory, NAME.corrupt-1, or the next number that is free.
    """
    place = next(p for k in count(1) if not (p := _numbered(run.path, k)).exists())
    place.mkdir()
    files = [file for file in run.path.iterdir() if file.suffix != ".lock"]
    for file in sorted(files, key=lambda file: file.name == "config.json"):
        file.rename(place / file.name)
    return place


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.corrupt-{number}")
