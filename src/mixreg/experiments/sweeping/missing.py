"""Data sets that the runs of a sweep need and that are not there."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mixreg.data.location import MissingDataError
from mixreg.training import RunDirectory, TrainConfig, load_data


def find_missing(runs: Sequence[TrainConfig], *, fetch: bool) -> list[str]:
    """Load every data set that unfinished runs need, once, before any of them begins.

    Args:
        runs: the runs.
        fetch: whether to fetch a missing one where the runs ask for that.

    Returns:
        For each run what was looked for, where, and how to get it; empty if nothing is missing.

    Raises:
        DataError: a data set is there but damaged.
    """
    known: dict[tuple[object, ...], str] = {}
    found = []
    for run in runs:
        place = run.data, run.data_root, run.download
        if RunDirectory(run.directory).finished:
            found.append("")
            continue
        if place not in known:
            known[place] = _try(run if fetch else replace(run, download=False))
        found.append(known[place])
    return found


class WholeSeeds(NamedTuple):
    """Runs that can be compared seed by seed, and what is not there of all that was asked for."""

    runs: list[TrainConfig]
    holes: tuple[str, ...]


def whole_seeds(runs: Sequence[TrainConfig], missing: Sequence[str]) -> WholeSeeds:
    """The runs of those repetitions of which none was left out.

    Args:
        runs: all runs.
        missing: for each what is missing, or an empty text.

    Returns:
        These runs, and a sentence for each other seed.

    Raises:
        MissingDataError: there are none.
    """
    broken: dict[int, str] = {}
    for run, message in zip(runs, missing, strict=True):
        if message:
            broken.setdefault(run.seed, message)
    whole = [run for run in runs if run.seed not in broken]
    if not whole:
        raise MissingDataError("nothing is left to report: " + next(filter(None, missing)))
    return WholeSeeds(
        whole, tuple(f"seed {seed} is left out: {message}" for seed, message in broken.items())
    )


def _try(run: TrainConfig) -> str:
    try:
        load_data(run)
    except MissingDataError as error:
        return str(error)
    return ""
