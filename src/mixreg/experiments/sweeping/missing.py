"""Data sets that the runs of a sweep need and that are not there."""

from collections.abc import Sequence
from dataclasses import replace

from mixreg.data.location import MissingDataError
from mixreg.training import RunDirectory, TrainConfig
from mixreg.training.train import load_data


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


def whole_seeds(runs: Sequence[TrainConfig], missing: Sequence[str]) -> list[TrainConfig]:
    """The runs of those repetitions of which none was left out.

    Args:
        runs: all runs.
        missing: for each what is missing, or an empty text.

    Returns:
        Runs that can be compared seed by seed.

    Raises:
        MissingDataError: there are none.
    """
    broken = {run.seed for run, message in zip(runs, missing, strict=True) if message}
    whole = [run for run in runs if run.seed not in broken]
    if not whole:
        raise MissingDataError("nothing is left to report: " + next(filter(None, missing)))
    return whole


def _try(run: TrainConfig) -> str:
    try:
        load_data(run)
    except MissingDataError as error:
        return str(error)
    return ""
