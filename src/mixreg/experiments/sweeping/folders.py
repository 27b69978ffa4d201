"""The directory that a sweep puts its runs in, and the version that may go on with it."""

import json
from collections.abc import Iterable
from pathlib import Path

from mixreg._errors import MixregError
from mixreg._files import write_json
from mixreg.training import TrainConfig, environment

FORMAT = "mixreg.Sweep/1"
_FILE = "sweep.json"


def folders_of(runs: Iterable[TrainConfig]) -> list[Path]:
    """Where runs lie side by side.

    Args:
        runs: the runs.

    Returns:
        The directories that hold theirs, each once.
    """
    return list(dict.fromkeys(run.directory.parent for run in runs))


def check_folder(folder: Path) -> bool:
    """Refuse what another version of this package has made.

    Args:
        folder: the directory of a sweep.

    Returns:
        Whether it says which version made it. Where it does not, each run in it says so itself.

    Raises:
        MixregError: another version made it, or its `sweep.json` cannot be read.
    """
    file = folder / _FILE
    if not file.is_file():
        return False
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        found, version = stored["format"], stored.get("mixreg", "unknown")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MixregError(
            f"{file} is damaged ({error!r}); if this version of mixreg made the runs beside it, "
            "delete that file, else choose another --output"
        ) from error
    if found != FORMAT:
        raise MixregError(
            f"{folder} holds a sweep in the format {found!r} of another version of mixreg "
            f"({version}); this one reads and writes {FORMAT!r}. Nothing was changed. To go on "
            "with it, use that version. To migrate, choose another --output and move the run "
            "directories into the same place there: those that this version can read are kept, "
            "and the others are named"
        )
    return True


def claim_folder(folder: Path) -> None:
    """Make the directory of a sweep, or check that it is one of this version.

    Args:
        folder: the directory.

    Raises:
        MixregError: another version made it, or its `sweep.json` cannot be read.
    """
    if not check_folder(folder):
        folder.mkdir(parents=True, exist_ok=True)
        version = environment()["packages"]["mixreg"]
        write_json(folder / _FILE, {"format": FORMAT, "mixreg": version})
