"""Settings, versions and hardware of the runs: what all share, and what differs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """Values of several runs by dotted name.

    `shared` are pairs of name and value that all runs have in common; `names` are those that
    differ, with one list of values for each run in `each`.
    """

    shared: list[tuple[str, str]]
    names: list[str]
    each: list[list[str]]


def settings(values: Sequence[Mapping[str, Any]]) -> Settings:
    """Split nested values, one mapping a run, into shared and differing ones, by dotted name."""
    flat = [_flatten(run) for run in values]
    names = list(dict.fromkeys(name for run in flat for name in run))
    shared = [name for name in names if len({run.get(name, "") for run in flat}) == 1]
    differing = [name for name in names if name not in shared]
    return Settings(
        [(name, flat[0][name]) for name in shared],
        differing,
        [[run.get(name, "") for name in differing] for run in flat],
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names; everything else as JSON, strings as they are."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[f"{prefix}{name}"] = text
    return flat
