"""What a reader has to know about holes in the numbers of a comparison."""

from collections.abc import Iterator, Mapping, Sequence

from mixreg.evaluation import CORRECTIONS, Correction
from mixreg.report.results import Group, RunResult


def remarks(groups: Mapping[Group, Sequence[RunResult]], baseline: Group) -> tuple[str, ...]:
    """Unpaired seeds, missing corrections, and temperatures that are bounds.

    Args:
        groups: runs by group.
        baseline: the group that differences are taken to.

    Returns:
        Sentences.
    """
    found = [*_unpaired(groups, baseline)]
    for group, runs in groups.items():
        for correction in CORRECTIONS:
            name = f"{group.label}, {correction}"
            found += [f"{name}: {reason}" for reason in _absences(runs, correction)]
            found += [f"{name}: {reason}" for reason in _bounds(runs, correction)]
    return tuple(found)


def _unpaired(groups: Mapping[Group, Sequence[RunResult]], baseline: Group) -> Iterator[str]:
    expected = [run.seed for run in groups[baseline]]
    for group, runs in groups.items():
        seeds = [run.seed for run in runs]
        if seeds != expected:
            yield (
                f"{group.label} has the seeds {seeds} and the baseline {expected}; differences "
                "are taken over those that both have."
            )


def _absences(runs: Sequence[RunResult], correction: Correction) -> Iterator[str]:
    reasons = [run.evaluation.absent.get(correction) for run in runs]
    for reason in dict.fromkeys(filter(None, reasons)):
        yield f"absent in {reasons.count(reason)} of {len(runs)} runs, since it {reason}."


def _bounds(runs: Sequence[RunResult], correction: Correction) -> Iterator[str]:
    results = [run.evaluation.results.get(correction) for run in runs]
    reasons = [result.remark for result in results if result is not None]
    for reason in dict.fromkeys(filter(None, reasons)):
        yield (
            f"in {reasons.count(reason)} of {len(runs)} runs {reason}; there the temperature is "
            "a bound, not a minimum."
        )
