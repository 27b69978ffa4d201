"""What every benchmark shares: interleaved timing, the environment, and JSON results."""

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

Timings = dict[str, list[float]]


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, help="rounds, each of which times every candidate")
    return parser


def interleaved(
    candidates: Mapping[str, Callable[[], Any]], repeats: int, *, at_least: float = 0.0
) -> Timings:
    """Seconds a call of every candidate in every round, after one round of warm-up.

    A round times each candidate once, so that a change in the machine's load meets all of them
    alike; the order is turned by one place from round to round.

    Args:
        candidates: what to time.
        repeats: number of rounds.
        at_least: seconds that one timing lasts; a short candidate is called several times in a row.

    Returns:
        One value a round for each candidate.
    """
    calls = {name: _calls(run, at_least) for name, run in candidates.items()}
    names = list(candidates)
    seconds: Timings = {name: [] for name in names}
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(_timed(candidates[name], calls[name]))
    return seconds


def _calls(run: Callable[[], Any], at_least: float) -> int:
    """How many calls fill the time, found after a first call to warm up."""
    run()
    return max(1, math.ceil(at_least / max(_timed(run, 1), 1e-9)))


def _timed(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def summary(seconds: Timings, *, baseline: str) -> dict[str, dict[str, float]]:
    """Median, quartiles and minimum in milliseconds, and the median ratio to the baseline.

    The ratio is the median over rounds of the candidate's time to the baseline's in that round.

    Args:
        seconds: what `interleaved` returned.
        baseline: the candidate to compare with.

    Returns:
        One row a candidate.
    """
    table = {}
    for name, values in seconds.items():
        ratios = [own / base for own, base in zip(values, seconds[baseline], strict=True)]
        low, middle, high = quartiles(values)
        table[name] = {
            "median_ms": 1e3 * middle,
            "lower_quartile_ms": 1e3 * low,
            "upper_quartile_ms": 1e3 * high,
            "minimum_ms": 1e3 * min(values),
            f"ratio_to_{baseline}": statistics.median(ratios),
        }
    return table


def quartiles(values: list[float]) -> list[float]:
    """Lower quartile, median and upper quartile; the value itself if there is only one."""
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def environment(*packages: str) -> dict[str, Any]:
    """Hardware, threads, versions and date."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", *packages)},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def report(title: str, table: Mapping[str, Mapping[str, float]]) -> None:
    """Print one table of `summary`."""
    print(f"\n{title}")
    width = max(map(len, table))
    for name, row in table.items():
        ratio = next(value for key, value in row.items() if key.startswith("ratio"))
        spread = f"{row['lower_quartile_ms']:.3f}-{row['upper_quartile_ms']:.3f}"
        print(f"  {name:<{width}}  {row['median_ms']:10.3f} ms  ({spread})  x{ratio:.3f}")


def write(path: Path | None, results: Mapping[str, Any]) -> None:
    """Store the results, if a path was given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=2) + "\n")


def _cpu_model() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
