"""What an experiment, a comparison or a diagnosis found: sentences, tables, pictures, numbers."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from mixreg.report.claims import Claim
from mixreg.report.figures import Picture, PictureSequence
from mixreg.report.records import Record, Records
from mixreg.report.tables import Entry, Table

_WIDTH = 100
_FILE_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True)
class Document:
    """What was found.

    Args:
        title: heading.
        subtitle: on what data, with how many samples and seeds.
        findings: what the numbers say, in sentences; those of one heading stand together.
        advice: what to do, in sentences.
        caveats: what the numbers do not say.
        tables: the numbers as texts.
        pictures: the pictures.
        frames: pictures at several values of a parameter, each shown as a slider.
        claims: sentences of the paper that were tested.
        settings: configuration, one JSON-safe mapping for each run.
        environment: versions and hardware, one mapping for each run.
        missing: what should be here and is not, and why: runs left out, data not at hand.
        records: the measured numbers.
        numbers: further JSON-safe numbers.

    Raises:
        ValueError: two pictures, sequences or tables have one name, or a name is none for a file.

    Example:
        >>> print(Document("Figure 2", "two seeds", findings=[Entry("It rises.")]).text(), end="")
        Figure 2: two seeds
        <BLANKLINE>
        - It rises.
    """

    title: str
    subtitle: str = ""
    _: KW_ONLY
    findings: Sequence[Entry] = ()
    advice: Sequence[str] = ()
    caveats: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    frames: Sequence[PictureSequence] = ()
    claims: Sequence[Claim] = ()
    settings: Sequence[Mapping[str, Any]] = ()
    environment: Sequence[Mapping[str, Any]] = ()
    missing: Sequence[str] = ()
    records: Sequence[Record] = Records()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", Records(self.records))
        pictures = [picture.name for picture in self.all_pictures]
        sequences = [sequence.name for sequence in self.frames]
        for names in ([*pictures, *sequences], [table.name for table in self.tables]):
            twice = sorted({name for name in names if names.count(name) > 1})
            odd = [name for name in names if not _FILE_NAME.fullmatch(name)]
            if twice:
                raise ValueError(f"names must be unique on a page, got several of {twice}")
            if odd:
                raise ValueError(f"names are also those of files, got {odd}")

    @property
    def all_pictures(self) -> tuple[Picture, ...]:
        """The pictures, those of the sequences included."""
        framed = (frame.picture for sequence in self.frames for frame in sequence.frames)
        return (*self.pictures, *framed)

    def text(self) -> str:
        """Tables and sentences for the terminal."""
        title = f"{self.title}: {self.subtitle}" if self.subtitle else self.title
        tables = [f"{table.text()}\n" for table in self.tables if "text" in table.media]
        return "\n".join([f"{title}\n", *tables, *self._sentences()]) + "\n"

    def _sentences(self) -> Iterator[str]:
        heading = ""
        for finding in self.findings:
            if finding.beside != heading:
                heading = finding.beside
                yield f"{heading}"
            yield _wrapped(finding.text)
        holes = (f"missing: {hole}" for hole in self.missing)
        claims = (claim.text for claim in self.claims)
        yield from map(_wrapped, (*self.advice, *claims, *self.caveats, *holes))


def _wrapped(sentence: str) -> str:
    return textwrap.fill(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  ")
