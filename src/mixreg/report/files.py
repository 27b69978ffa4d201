"""A document as files: its numbers, its page, its tables and its pictures."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from mixreg import _stored
from mixreg._errors import CheckpointError
from mixreg._files import write_bytes
from mixreg.report.document import Document
from mixreg.report.figures import Frame, Picture
from mixreg.report.page import GENERATOR, Result, render_page

_FORMAT: Literal["mixreg.Document/1"] = "mixreg.Document/1"
_AGAIN = (
    "make it again with this version by the command that wrote it, which repeats no finished run"
)

_COMMANDS = {"mixreg.Report": "compare", "mixreg.Diagnosis": "diagnose"}
"""What wrote the formats of earlier versions, where it is not `mixreg reproduce NAME`."""


@dataclass(frozen=True)
class _File:
    """What NAME.json holds; the SVG of each picture is the name of the file beside it."""

    format: Literal["mixreg.Document/1"]
    document: Document


class _Head(msgspec.Struct):
    """What tells a document of any version from other JSON."""

    format: str = ""


def write_document(document: Document, folder: Path, *, name: str, page: str | None = None) -> Path:
    """Write the numbers, the page, the tables and the pictures, each whole or not at all.

    Args:
        document: what was found.
        folder: where to; made if missing.
        name: file name of the numbers, without ending.
        page: that of the page, by default the same.

    Returns:
        The page's path.

    Raises:
        CheckpointError: a file there is of another version, or was not written by this package.
    """
    stored = _with_pictures(document, lambda p: replace(p, svg=_place(p)))
    figures = {_place(picture): picture.svg.encode() for picture in document.all_pictures}
    tables = {f"{t.name}.csv": t.csv().encode() for t in document.tables if "csv" in t.media}
    html = render_page([Result(document, f"{name}.json")])
    numbers = {f"{name}.json": _stored.encode(_File(_FORMAT, stored))}
    pages = {f"{page or name}.html": html.encode()}
    write_files(folder, {**numbers, **figures, **tables, **pages}, _written_before(folder, name))
    return folder / f"{page or name}.html"


def read_document(file: Path) -> Document:
    """Read what `write_document` wrote.

    Args:
        file: the numbers, NAME.json.

    Returns:
        The document.

    Raises:
        CheckpointError: the file or a picture is missing, damaged, or of another version.
    """
    form = document_format(file) if file.is_file() else ""
    if form not in {_FORMAT, ""}:
        command = _COMMANDS.get(form.partition("/")[0], f"reproduce {file.stem}")
        raise CheckpointError(
            f"{file} has the format {form!r}, and this version of mixreg reads {_FORMAT!r}; run "
            f"the same `mixreg {command}` again, which repeats no finished run"
        )

    def read(picture: Picture) -> Picture:
        beside = file.parent / _place(picture)
        try:
            drawn = replace(picture, svg=beside.read_text(encoding="utf-8"))
            drawn.inline()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{beside} cannot be shown: {reason}; {_AGAIN}") from error
        return drawn

    return _with_pictures(_stored.decode(file, _File, remedy=_AGAIN).document, read)


def document_format(file: Path, remedy: str = _AGAIN) -> str:
    """The format that a JSON file tells of itself, "" where it is no result of this package."""
    try:
        form = msgspec.json.decode(file.read_bytes(), type=_Head).format
    except msgspec.ValidationError:
        return ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file} is damaged: {reason}; {remedy}") from error
    return form if form.startswith("mixreg.") else ""


def check_replaceable(folder: Path, *, name: str, page: str | None = None) -> None:
    """Refuse to replace the numbers or the page of somebody else, before any work is done.

    Raises:
        CheckpointError: a file there is of another version, or was not written by this package.
    """
    files = dict.fromkeys((f"{name}.json", f"{page or name}.html"), b"")
    _check_ours(folder, files, _written_before(folder, name))


def write_files(folder: Path, files: Mapping[str, bytes], ours: Collection[str]) -> None:
    """Write files, unless one there has another content and is neither ours nor our page."""
    _check_ours(folder, files, ours)
    for file, data in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / file, data)


def _check_ours(folder: Path, files: Mapping[str, bytes], ours: Collection[str]) -> None:
    for file, data in files.items():
        path = folder / file
        if file in ours or not path.exists():
            continue
        old = path.read_bytes() if path.is_file() else None
        our_page = path.suffix == ".html" and GENERATOR.encode() in (old or b"")[:1000]
        if old is None or (old != data and not our_page):
            raise CheckpointError(
                f"{path} is there and was not written by this version of mixreg; nothing was "
                "changed. Choose another --output, or move it away: finished runs are not repeated"
            )


def _written_before(folder: Path, name: str) -> set[str]:
    """The files that the numbers in a folder tell to be beside them; none without numbers."""
    file = folder / f"{name}.json"
    remedy = "nothing was changed; choose another --output, or move it away"
    if not file.is_file() or document_format(file, remedy) != _FORMAT:
        return set()
    document = _stored.decode(file, _File, remedy=remedy).document
    figures = map(_place, document.all_pictures)
    return {file.name, *figures, *(f"{table.name}.csv" for table in document.tables)}


def _place(picture: Picture) -> str:
    return f"figures/{picture.name}.svg"


def _with_pictures(document: Document, change: Callable[[Picture], Picture]) -> Document:
    """The document with each of its pictures changed."""
    frames = [
        replace(s, frames=[Frame(value, change(picture)) for value, picture in s.frames])
        for s in document.frames
    ]
    return replace(document, pictures=[change(p) for p in document.pictures], frames=frames)
