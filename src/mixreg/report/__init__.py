"""From measured numbers to documents: records, claims, tables, pictures, and the page of all."""

from mixreg.report.comparison import comparison
from mixreg.report.document import Document, Entry, Table, table
from mixreg.report.figures import Frame, Picture, PictureSequence, draw
from mixreg.report.files import check_replaceable, read_document, write_document
from mixreg.report.groups import Group, RunResult
from mixreg.report.records import (
    Claim,
    Expected,
    Record,
    Records,
    Sentence,
    Verdict,
    paired,
    records_of,
)

__all__ = [
    "Claim",
    "Document",
    "Entry",
    "Expected",
    "Frame",
    "Group",
    "Picture",
    "PictureSequence",
    "Record",
    "Records",
    "RunResult",
    "Sentence",
    "Table",
    "Verdict",
    "check_replaceable",
    "comparison",
    "draw",
    "paired",
    "read_document",
    "records_of",
    "table",
    "write_document",
]
