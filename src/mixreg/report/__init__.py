"""From runs over seeds to tables, pictures and a verdict in plain words."""

from mixreg.report.results import Group, RunResult
from mixreg.report.summary import Comparison, Row, summarize
from mixreg.report.text_tables import csv_table, print_table
from mixreg.report.verdict import Verdict, verdict
from mixreg.report.write import ReportPaths, write_report

__all__ = [
    "Comparison",
    "Group",
    "ReportPaths",
    "Row",
    "RunResult",
    "Verdict",
    "csv_table",
    "print_table",
    "summarize",
    "verdict",
    "write_report",
]
