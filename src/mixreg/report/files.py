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
    figures = {f"figures/{p.name}.svg": p.svg.encode() for p in document.all_pictures}
    tables = {f"{t.name}.csv": t.csv().encode() for t in document.tables if "csv" in t.media}
    html = render_page([Result(document, f"{name}.json")])
    stored = _stored.encode(_File(_FORMAT, _with_pictures(document, _named)))
    write_files(
        folder,
        {f"{name}.json": stored, **figures, **tables, f"{page or name}.html": html.encode()},
        ours=_written_before(folder, name),
    )
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
    if file.is_file() and (found := document_format(file)) not in {_FORMAT, ""}:
        command = _COMMANDS.get(found.partition("/")[0], f"reproduce {file.stem}")
        raise CheckpointError(
            f"{file} has the format {found!r}, and this version of mixreg reads {_FORMAT!r}; run "
            f"the same `mixreg {command}` again, which repeats no finished run"
        )
    stored = _stored.decode(file, _File, remedy=_AGAIN).document

    def read(picture: Picture) -> Picture:
        beside = file.parent / "figures" / f"{picture.name}.svg"
        try:
            drawn = replace(picture, svg=beside.read_text(encoding="utf-8"))
            drawn.inline()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{beside} cannot be shown: {reason}; {_AGAIN}") from error
        return drawn

    return _with_pictures(stored, read)


def document_format(file: Path, remedy: str = _AGAIN) -> str:
    """The format that a JSON file tells of itself, "" where it is no result of this package."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Head).format
    except msgspec.ValidationError:
        return ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file} is damaged: {reason}; {remedy}") from error
    return found if found.startswith("mixreg.") else ""


def check_replaceable(folder: Path, *, name: str, page: str | None = None) -> None:
    """Refuse to replace the numbers or the page of somebody else, before any work is done.

    Raises:
        CheckpointError: a file there is of another version, or was not written by this package.
    """
    files = dict.fromkeys((f"{name}.json", f"{page or name}.html"), b"")
    _check_ours(folder, files, _written_before(folder, name))


def write_files(folder: Path, files: Mapping[str, bytes], ours: Collection[str]) -> None:
    """Write files below a folder; those there that this package did not write are kept.

    Args:
        folder: where to; made if missing.
        files: content by name.
        ours: those that this package is known to have written; its pages tell it themselves.

    Raises:
        CheckpointError: one is there with another content, and not ours.
    """
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
        if old is None or (old != data and not _is_our_page(path, old)):
            raise CheckpointError(
                f"{path} is there and was not written by this version of mixreg; nothing was "
                "changed. Choose another --output, or move it away: finished runs are not repeated"
            )


def _is_our_page(path: Path, data: bytes) -> bool:
    return path.suffix == ".html" and GENERATOR.encode() in data[:1000]


def _written_before(folder: Path, name: str) -> set[str]:
    """The files that the numbers in a folder tell to be beside them; none without numbers."""
    file = folder / f"{name}.json"
    remedy = "nothing was changed; choose another --output, or move it away"
    if not file.is_file() or document_format(file, remedy) != _FORMAT:
        return set()
    document = _stored.decode(file, _File, remedy=remedy).document
    figures = {f"figures/{picture.name}.svg" for picture in document.all_pictures}
    return {file.name, *figures, *(f"{table.name}.csv" for table in document.tables)}


def _named(picture: Picture) -> Picture:
    return replace(picture, svg=f"figures/{picture.name}.svg")


def _with_pictures(document: Document, change: Callable[[Picture], Picture]) -> Document:
    """The document with each of its pictures changed."""
    frames = [
        replace(s, frames=[Frame(value, change(picture)) for value, picture in s.frames])
        for s in document.frames
    ]
    return replace(document, pictures=[change(p) for p in document.pictures], frames=frames)
