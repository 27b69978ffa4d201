"""Single runs put side by side: one comparison for all that differ in method, α and seed alone."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mixreg._errors import ConfigurationError
from mixreg.experiments.reporting.stored import StoredRun
from mixreg.report.results import RunResult
from mixreg.report.settings import settings

_VARIED = ("method", "alpha", "seed")


class RunComparison(NamedTuple):
    """Runs that can be compared, under a title, with the method the others are compared with."""

    title: str
    baseline: str
    runs: tuple[RunResult, ...]
    missing: tuple[str, ...] = ()


def compare_runs(stored: Sequence[StoredRun]) -> list[RunComparison]:
    """Comparisons of single runs.

    Args:
        stored: evaluated runs, from anywhere.

    Returns:
        One comparison for each setting of everything but method, α and seed. The baseline is ERM,
        else the first method with a single α; where every method has several, each α has a
        comparison of its own.

    Raises:
        ConfigurationError: two runs have the same settings.
    """
    shared: dict[str, list[StoredRun]] = {}
    for run in stored:
        shared.setdefault(_key(run.result), []).append(run)
    titles = _titles([runs[0].result for runs in shared.values()])
    for runs in shared.values():
        _check_distinct(runs)
    return [
        comparison
        for title, runs in zip(titles, shared.values(), strict=True)
        for comparison in _comparisons(title, [run.result for run in runs])
    ]


def _key(run: RunResult) -> str:
    kept = {name: value for name, value in run.config.items() if name not in _VARIED}
    return json.dumps(kept, sort_keys=True)


def _comparisons(title: str, runs: Sequence[RunResult]) -> Iterator[RunComparison]:
    groups = list(dict.fromkeys(run.group for run in runs))
    methods = list(dict.fromkeys(group.method for group in groups))
    single = [m for m in methods if sum(group.method == m for group in groups) == 1]
    if single:
        baseline = "erm" if "erm" in single else single[0]
        yield RunComparison(title, baseline, tuple(runs))
        return
    for alpha in sorted({group.alpha or 0.0 for group in groups}):
        members = tuple(run for run in runs if run.alpha == alpha)
        yield RunComparison(f"{title}, α = {alpha:g}", members[0].method, members)


def _titles(runs: Sequence[RunResult]) -> list[str]:
    """Data set and model, with the settings in which comparisons of the same differ."""
    plain = [f"{run.config['data']}, {run.config['model']}" for run in runs]
    titles = []
    for run, title in zip(runs, plain, strict=True):
        alike = [r for r, other in zip(runs, plain, strict=True) if other == title]
        found = settings([{n: v for n, v in r.config.items() if n not in _VARIED} for r in alike])
        values = found.each[alike.index(run)] if found.names else []
        differing = [f"{n} {v}" for n, v in zip(found.names, values, strict=True)]
        titles.append(f"{title} ({', '.join(differing)})" if differing else title)
    return titles


def _check_distinct(runs: Sequence[StoredRun]) -> None:
    known: dict[tuple[object, ...], StoredRun] = {}
    for run in runs:
        first = known.setdefault((run.result.group, run.result.seed), run)
        if first is not run:
            raise ConfigurationError(
                f"{first.path} and {run.path} are runs with the same settings and seed, which "
                "would count twice; name one of them"
            )
