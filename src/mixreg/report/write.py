"""The report as files: a page that needs nothing else, numbers, and pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from mixreg.files import write_bytes, write_json
from mixreg.report.page_tables import page_tables
from mixreg.report.pictures import (
    curve_pictures,
    distribution_pictures,
    effect_pictures,
    reliability_pictures,
)
from mixreg.report.results import RunResult
from mixreg.report.settings import run_settings, settings
from mixreg.report.style import DARK, Picture, variable
from mixreg.report.summary import Comparison, summarize
from mixreg.report.text_tables import csv_table
from mixreg.report.verdict import verdict

_FORMAT = "mixreg.Report/1"


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
    runs: Sequence[RunResult], output_dir: str | Path, *, title: str, baseline: str
) -> ReportPaths:
    """Write report.html, metrics.json, table.csv and figures/*.svg, each whole or not at all.

    The same runs and title give the same bytes.

    Args:
        runs: trained models, evaluated on one test set.
        output_dir: the folder; made if missing, files of the same names are replaced.
        title: heading, such as data set and model.
        baseline: method whose raw prediction the others are compared with.

    Returns:
        The paths.

    Raises:
        ValueError: no runs, two of the same method, α and seed, other test sets, or a baseline
            that is none of the methods or stands for several α.
    """
    comparison = summarize(runs, baseline)
    ordered = _ordered(comparison, runs)
    groups = {g: [run for run in ordered if run.group == g] for g in comparison.groups}
    pictures = {
        "effects": list(effect_pictures(comparison)),
        "reliability": list(reliability_pictures(comparison, groups)),
        "distributions": list(distribution_pictures(comparison, groups)),
        "training": list(curve_pictures(groups)),
    }
    folder = Path(output_dir)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    figures = []
    for picture in (picture for part in pictures.values() for picture in part):
        figures.append(folder / "figures" / f"{picture.name}.svg")
        write_bytes(figures[-1], picture.svg.encode())
    paths = ReportPaths(
        folder / "report.html", folder / "metrics.json", folder / "table.csv", tuple(figures)
    )
    write_bytes(paths.table, csv_table(comparison).encode())
    write_json(paths.metrics, _numbers(comparison, ordered, title))
    write_bytes(paths.page, _page(comparison, ordered, pictures, title).encode())
    return paths


def _ordered(comparison: Comparison, runs: Sequence[RunResult]) -> list[RunResult]:
    """Runs by group, then by seed."""
    places = {group: k for k, group in enumerate(comparison.groups)}
    return sorted(runs, key=lambda run: (places[run.group], run.seed))


def _numbers(comparison: Comparison, runs: Sequence[RunResult], title: str) -> dict[str, object]:
    found = verdict(comparison)
    return {
        "format": _FORMAT,
        "title": title,
        "comparison": comparison.to_dict(),
        "verdict": asdict(found),
        "runs": [run.to_dict() for run in runs],
    }


def _page(
    comparison: Comparison,
    runs: Sequence[RunResult],
    pictures: dict[str, list[Picture]],
    title: str,
) -> str:
    environment = Environment(
        loader=PackageLoader("mixreg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    seeds = sorted({run.seed for run in runs})
    return environment.get_template("report.html.j2").render(
        title=title,
        comparison=comparison,
        seeds=seeds,
        verdict=verdict(comparison),
        tables=page_tables(comparison),
        pictures=pictures,
        settings=run_settings(runs),
        environment=settings([run.environment for run in runs]),
        colours=[(variable(light), light, dark) for light, dark in DARK.items()],
    )
