"""Data sets that the runs of a sweep need and that are not there."""

from collections.abc import Sequence

from mixreg.data.location import MissingDataError
from mixreg.training import RunDirectory, TrainConfig
from mixreg.training.train import load_data


def find_missing(runs: Sequence[TrainConfig]) -> list[str]:
    """Load every data set that unfinished runs need, once, before any of them begins.

    Where runs ask for it, this is also what fetches a missing one.

    Args:
        runs: the runs.

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
            known[place] = _try(run)
        found.append(known[place])
    return found


def _try(run: TrainConfig) -> str:
    try:
        load_data(run)
    except MissingDataError as error:
        return str(error)
    return ""
