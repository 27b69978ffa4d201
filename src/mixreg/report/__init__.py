"""From measured numbers to documents: records, claims, tables, pictures, and the page of all."""

from mixreg.report.claims import Claim, Expected, Sentence, Verdict
from mixreg.report.comparison import comparison
from mixreg.report.document import Document
from mixreg.report.figures import Frame, Picture, PictureSequence, draw
from mixreg.report.files import check_replaceable, read_document, write_document
from mixreg.report.groups import Group, RunResult
from mixreg.report.records import Record, Records, paired, records_of
from mixreg.report.summary import Comparison, Row, summarize
from mixreg.report.tables import Entry, Table, table
from mixreg.report.text_tables import csv_table, print_table
from mixreg.report.write import ReportPaths, write_report

__all__ = [
    "Claim",
    "Comparison",
    "Document",
    "Entry",
    "Expected",
    "Frame",
    "Group",
    "Picture",
    "PictureSequence",
    "Record",
    "Records",
    "ReportPaths",
    "Row",
    "RunResult",
    "Sentence",
    "Table",
    "Verdict",
    "check_replaceable",
    "comparison",
    "csv_table",
    "draw",
    "paired",
    "print_table",
    "read_document",
    "records_of",
    "summarize",
    "table",
    "write_document",
    "write_report",
]
