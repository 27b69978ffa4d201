"""The report as files: a page that needs nothing else, numbers, and pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mixreg._files import write_bytes, write_json
from mixreg.report.comparison_page import comparison_article, ordered_runs, single_pictures
from mixreg.report.page import render_page
from mixreg.report.results import RunResult
from mixreg.report.summary import Comparison
from mixreg.report.text_tables import csv_table
from mixreg.report.verdict import verdict

REPORT_FORMAT = "mixreg.Report/1"


@dataclass(frozen=True)
class ReportPaths:
    """Where the parts of a report lie.

    Args:
        page: report.html.
        metrics: metrics.json, every run and every summary.
        table: table.csv.
        figures: the pictures as SVG.
    """

    page: Path
    metrics: Path
    table: Path
    figures: tuple[Path, ...]


def write_report(
    runs: Sequence[RunResult],
    output_dir: str | Path,
    *,
    title: str,
    baseline: str,
    missing: Sequence[str] = (),
) -> ReportPaths:
    """Write report.html, metrics.json, table.csv and figures/*.svg, each whole or not at all.

    The same runs and title give the same bytes.

    Args:
        runs: trained models, evaluated on one test set.
        output_dir: the folder; made if missing, files of the same names are replaced.
        title: heading, such as data set and model.
        baseline: method whose raw prediction the others are compared with.
        missing: runs that should be there and are not.

    Returns:
        The paths.

    Raises:
        ValueError: no runs, two of the same method, α and seed, other test sets, or a baseline
            that is none of the methods or stands for several α.
    """
    article = comparison_article(
        runs, title=title, baseline=baseline, missing=missing, source="metrics.json"
    )
    comparison = article.values["comparison"]
    folder = Path(output_dir)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    figures = []
    for picture in single_pictures(article.values["pictures"]):
        figures.append(folder / "figures" / f"{picture.name}.svg")
        write_bytes(figures[-1], picture.svg.encode())
    paths = ReportPaths(
        folder / "report.html", folder / "metrics.json", folder / "table.csv", tuple(figures)
    )
    write_bytes(paths.table, csv_table(comparison).encode())
    ordered = ordered_runs(comparison, runs)
    write_json(paths.metrics, _numbers(comparison, ordered, title) | {"missing": list(missing)})
    write_bytes(paths.page, render_page([article]).encode())
    return paths


def _numbers(comparison: Comparison, runs: Sequence[RunResult], title: str) -> dict[str, object]:
    found = verdict(comparison)
    return {
        "format": REPORT_FORMAT,
        "title": title,
        "comparison": comparison.to_dict(),
        "verdict": asdict(found),
        "runs": [run.to_dict() for run in runs],
    }
