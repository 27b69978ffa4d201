"""Results as their files hold them: studies, comparisons and single runs."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mixreg._errors import CheckpointError
from mixreg.experiments.evaluation import run_result
from mixreg.experiments.two_moons import TwoMoonsResult, two_moons_study
from mixreg.report.results import RunResult
from mixreg.report.study import Study
from mixreg.report.write import REPORT_FORMAT
from mixreg.training import RunDirectory

_COMMANDS = {
    "mixreg.Table1": "mixreg reproduce table1 --output {folder}",
    "mixreg.Diagnosis": "mixreg diagnose",
}
_TWO_MOONS = {"settings", "outcomes", "curves", "picture"}


class StoredStudy(NamedTuple):
    """A figure, a table or a diagnosis, and the file that holds it."""

    file: Path
    study: Study


class StoredComparison(NamedTuple):
    """What `mixreg compare` or `mixreg evaluate` wrote, and the file that holds it."""

    file: Path
    title: str
    baseline: str
    runs: tuple[RunResult, ...]
    missing: tuple[str, ...]


class StoredRun(NamedTuple):
    """An evaluated run and its directory."""

    path: Path
    result: RunResult


Stored = StoredStudy | StoredComparison | StoredRun


def is_run(folder: Path) -> bool:
    """Whether a folder is the directory of a run, as far as that may have come.

    Args:
        folder: the folder.

    Returns:
        Whether its `config.json` looks like that of a run.
    """
    try:
        values = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return (folder / "config.json").is_file() and (folder / "environment.json").is_file()
    return isinstance(values, dict) and {"format", "config"} <= values.keys()


def read_run(folder: Path) -> StoredRun:
    """Read a run that is trained and evaluated.

    Args:
        folder: its directory.

    Returns:
        The run.

    Raises:
        CheckpointError: it is unfinished, not evaluated, damaged, or of another version.
        ConfigurationError: its settings are not of this version.
    """
    run, name = RunDirectory(folder), shlex.quote(str(folder))
    stored = run.read_config()
    if not run.finished:
        raise CheckpointError(
            f"{folder} is not trained to the end; run its `mixreg train` again, with --output "
            f"{name}, which goes on where it stopped, and then `mixreg evaluate {name}`"
        )
    if not run.evaluation.is_file():
        raise CheckpointError(f"{folder} is not evaluated; run `mixreg evaluate {name}`")
    config = dataclasses.replace(stored, output=folder)
    return StoredRun(folder, run_result(config, run, run.read_evaluation()))


def read_file(file: Path) -> StoredStudy | StoredComparison | None:
    """Read a JSON file that may hold a result.

    Args:
        file: the file.

    Returns:
        The result; None for JSON that is none.

    Raises:
        CheckpointError: the file is damaged, or its result is of another version.
    """
    try:
        values = json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error}; make it again with the command that wrote it"
        ) from error
    if not isinstance(values, dict):
        return None
    kind = values.get("format")
    try:
        if "study" in values:
            return StoredStudy(file, Study.from_dict(values["study"]))
        if values.keys() >= _TWO_MOONS:
            return StoredStudy(file, two_moons_study(TwoMoonsResult.from_dict(values)))
        if kind == REPORT_FORMAT:
            return _comparison(file, values)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    if isinstance(kind, str) and kind.startswith("mixreg."):
        raise CheckpointError(f"{file}: {_refusal(file, kind)}")
    return None


def _refusal(file: Path, kind: str) -> str:
    """Why a result of another version is not shown, and what to do."""
    name = kind.partition("/")[0]
    if name == REPORT_FORMAT.partition("/")[0]:
        return (
            f"the comparison has the format {kind!r} and this version of mixreg reads "
            f"{REPORT_FORMAT!r}; run the same `mixreg compare` again with this version, which "
            "repeats no finished run"
        )
    command = _COMMANDS.get(name, "").format(folder=shlex.quote(str(file.parent)))
    again = f"`{command}`, with the settings of then," if command else "the command that wrote it"
    return (
        f"the result ({kind}) has no study in it, as in versions before mixreg.Study/1, or is of a "
        f"newer kind; run {again} again with this version, which repeats no finished run"
    )


def _comparison(file: Path, values: Mapping[str, Any]) -> StoredComparison:
    try:
        runs = tuple(RunResult.from_dict(run) for run in values["runs"])
        label = values["comparison"]["baseline"]
        (baseline,) = {run.method for run in runs if run.group.label == label}
        missing = tuple(values.get("missing", ()))
        return StoredComparison(file, values["title"], baseline, runs, missing)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the comparison is damaged ({error!r}); run the same `mixreg compare` again, which "
            "repeats no finished run"
        ) from error
