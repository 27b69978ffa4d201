"""`mixreg report`: one page of any runs and results, with all claims in one table."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from mixreg._errors import CheckpointError, ConfigurationError
from mixreg._files import write_bytes
from mixreg.experiments.reporting.comparing import RunComparison, compare_runs
from mixreg.experiments.reporting.finding import find_results
from mixreg.experiments.reporting.stored import (
    Stored,
    StoredComparison,
    StoredRun,
    StoredStudy,
)
from mixreg.report.claims import Claim
from mixreg.report.comparison_page import comparison_article
from mixreg.report.page import Article, render_page
from mixreg.report.study import study_article

__all__ = ["Collected", "ReportOptions", "collect", "report"]

_TITLE = "Report"


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What to put on the page.

    Args:
        runs: directories of evaluated runs, what `compare`, `reproduce` or `diagnose` wrote, or
            folders of these.
        output: directory of the page.

    Raises:
        ConfigurationError: nothing is named.
    """

    runs: list[Path]
    output: Path = Path("mixreg-runs/report")

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigurationError("name at least one run or result to report")


class Collected(NamedTuple):
    """The parts of a page, and sentences about results that cannot be shown."""

    articles: list[Article]
    missing: list[str]

    def text(self) -> str:
        """What is on the page, for the terminal.

        Returns:
            Lines without an ending line break.
        """
        return "\n".join(_lines(self.articles, self.missing))

    def write(self, output: Path) -> Path:
        """Write report.html, which needs nothing else, and claims.csv.

        Args:
            output: directory of the page, made if missing.

        Returns:
            The page's path.
        """
        output.mkdir(parents=True, exist_ok=True)
        page = output / "report.html"
        counts = f"{len(self.articles)} result{'s' if len(self.articles) > 1 else ''}"
        html = render_page(self.articles, title=_TITLE, subtitle=counts, missing=self.missing)
        write_bytes(output / "claims.csv", _claims_csv(self.articles).encode())
        write_bytes(page, html.encode())
        return page


def collect(paths: Sequence[Path], output: Path) -> Collected:
    """Read results.

    Args:
        paths: results, or folders of them.
        output: directory of the page, from which links lead to the results.

    Returns:
        What can be shown.

    Raises:
        MixregError: a path holds no result, or one that cannot be read.
    """
    results: dict[Path, Stored] = {}
    missing: list[str] = []
    for path in paths:
        found = find_results(path)
        results |= {_place(result).resolve(): result for result in found.results}
        missing += found.missing
    return Collected(_articles(list(results.values()), output), missing)


def report(options: ReportOptions) -> tuple[str, Path]:
    """Write report.html, which needs nothing else, and claims.csv.

    Args:
        options: results, and where the page goes.

    Returns:
        What is on the page for the terminal, and the page's path.

    Raises:
        MixregError: a path holds no result, or one that cannot be read.
    """
    collected = collect(options.runs, options.output)
    return collected.text(), collected.write(options.output)


def _place(result: Stored) -> Path:
    return result.path if isinstance(result, StoredRun) else result.file


def _articles(results: Sequence[Stored], output: Path) -> list[Article]:
    """Studies and comparisons in their order; single runs, compared, where the first one stands."""
    runs = [result for result in results if isinstance(result, StoredRun)]
    articles: list[Article] = []
    for result in results:
        if isinstance(result, StoredStudy):
            articles.append(study_article(result.study, source=_link(result.file, output)))
        elif isinstance(result, StoredComparison):
            articles.append(_comparison(result, _link(result.file, output)))
        elif result is runs[0]:
            articles += map(_comparison, compare_runs(runs))
    return list(_distinct(articles))


def _distinct(articles: Sequence[Article]) -> Iterator[Article]:
    """Articles of one title told apart by the folders of their numbers."""
    counts = Counter(article.title for article in articles)
    for article in articles:
        if counts[article.title] > 1 and article.source is not None:
            folder = unquote(Path(article.source).parent.name)
            yield article._replace(title=f"{article.title} ({folder})")
        else:
            yield article


def _comparison(result: StoredComparison | RunComparison, source: str | None = None) -> Article:
    try:
        return comparison_article(
            result.runs,
            title=result.title,
            baseline=result.baseline,
            missing=result.missing,
            source=source,
        )
    except ValueError as error:
        raise CheckpointError(f"{result.title}: these runs cannot be compared: {error}") from error


def _link(file: Path, output: Path) -> str:
    """A file as a link from the page."""
    return quote(Path(os.path.relpath(file, output)).as_posix())


def _claims_csv(articles: Sequence[Article]) -> str:
    file = io.StringIO()
    rows = [_claim_values(claim, article) for article in articles for claim in article.claims]
    if rows:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file.getvalue()


def _claim_values(claim: Claim, article: Article) -> dict[str, str | float | None]:
    return {
        "claim": claim.statement,
        "place": claim.place,
        "setting": claim.setting,
        "measured": claim.measured,
        "n": claim.effect.n,
        "effect": claim.effect.mean,
        "low": claim.effect.low,
        "high": claim.effect.high,
        "verdict": claim.verdict,
        "result": article.title,
        "numbers": article.source,
    }


def _lines(articles: Sequence[Article], missing: Sequence[str]) -> Iterator[str]:
    for article in articles:
        found = Counter(claim.verdict for claim in article.claims)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.items()))
        yield f"{article.title}{f' (claims: {counts})' if counts else ''}"
        yield from (f"  missing: {sentence}" for sentence in article.missing)
    yield from (f"missing: {sentence}" for sentence in missing)
