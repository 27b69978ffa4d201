"""Which results a path stands for: a file, the directory of a run, a folder of results."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mixreg._errors import CheckpointError, MixregError
from mixreg.experiments.reporting.stored import Stored, is_run, read_file, read_run

_RUNS = "runs"


class Found(NamedTuple):
    """Results, and sentences about those that are there but cannot be shown."""

    results: list[Stored]
    missing: list[str]


def find_results(path: Path) -> Found:
    """The results that a path stands for.

    A folder that holds no result itself stands for those below it; a result there that cannot be
    read is missing, while one that is named itself must be readable. A folder `runs` beside other
    results holds what these were made from, and is passed over.

    Args:
        path: a result's file, the directory of a run, or a folder with results in it or below.

    Returns:
        At least one result.

    Raises:
        CheckpointError: there is no such path, no result in it, or none that can be read.
    """
    if not path.exists():
        raise CheckpointError(f"there is nothing at {path}; name a run, a result or a folder")
    if path.is_file():
        result = read_file(path)
        if result is None:
            raise CheckpointError(f"{path} is no result: {_EXPECTED}")
        return Found([result], [])
    results = list(_held(path))
    if results:
        return Found(results, [])
    found = _below(path)
    if not found.results:
        told = f", and none that can be shown: {'; '.join(found.missing)}" if found.missing else ""
        raise CheckpointError(f"{path} holds no result{told}. {_EXPECTED}")
    return found


_EXPECTED = (
    "A result is the directory of a run that `mixreg train` and `mixreg evaluate` finished, or "
    "what `mixreg compare`, `mixreg reproduce` or `mixreg diagnose` wrote"
)


def _held(folder: Path) -> Iterator[Stored]:
    """The results that lie in the folder itself."""
    if is_run(folder):
        yield read_run(folder)
        return
    for file in sorted(folder.glob("*.json")):
        result = read_file(file)
        if result is not None:
            yield result


def _below(folder: Path) -> Found:
    """The results of all folders below; those of `runs` only where there is nothing else."""
    # Links are not followed: they may lead back.
    folders = sorted(f for f in folder.iterdir() if f.is_dir() and not f.is_symlink())
    found = Found([], [])
    for inner in sorted(folders, key=lambda f: f.name == _RUNS):
        if inner.name == _RUNS and found.results:
            break
        try:
            held = list(_held(inner))
        except MixregError as error:
            found.missing.append(str(error))
            continue
        deeper = Found(held, []) if held else _below(inner)
        found.results.extend(deeper.results)
        found.missing.extend(deeper.missing)
    return found
