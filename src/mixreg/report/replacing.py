"""Results of another version are not replaced."""

import json
from pathlib import Path

from mixreg._errors import CheckpointError


def check_replaceable(file: Path, form: str | int | None) -> None:
    """Refuse to replace a result in another format.

    A file that is not there, or that cannot be read, may be written.

    Args:
        file: JSON file of a result.
        form: format in which it is to be written, or None for none.

    Raises:
        CheckpointError: the file has another format.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    found = stored.get("format") if isinstance(stored, dict) else None
    if found != form:
        raise CheckpointError(
            f"{file} has the format {found!r}, and this version of mixreg writes {form!r}. Nothing "
            "was changed. To keep it, choose another --output or move it away; to make it again "
            "with this version, delete it: finished runs are not repeated"
        )
