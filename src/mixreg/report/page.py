"""The page that all reports share: one HTML file that needs nothing else, not even its script."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from mixreg.report.claims import Claim
from mixreg.report.style import DARK, variable
from mixreg.report.wording import effect_texts

_NUMBER = re.compile(r"(?:\w+ = )?([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?=$|[\s%±(|,;])")


class Article(NamedTuple):
    """One result: all of a page, or a part of it.

    title: heading.
    subtitle: on what data, with how many samples and seeds.
    template: its template, which takes `values` besides the level of its headings and `key`, what
        its ids begin with.
    values: what the template shows.
    sections: id and name of each of its sections.
    claims: sentences of the paper that were tested.
    missing: what should be there and is not.
    source: where its numbers are, as a link from the page.
    """

    title: str
    subtitle: str
    template: str
    values: Mapping[str, Any]
    sections: Sequence[tuple[str, str]]
    claims: Sequence[Claim] = ()
    missing: Sequence[str] = ()
    source: str | None = None


class _LedgerRow(NamedTuple):
    claim: Claim
    effect: str
    interval: str
    title: str
    anchor: str
    source: str | None


class _Part(NamedTuple):
    anchor: str
    title: str
    subtitle: str
    source: str | None
    claims: int
    missing: Sequence[str]
    body: str


def render_page(
    articles: Sequence[Article],
    *,
    title: str | None = None,
    subtitle: str = "",
    missing: Sequence[str] = (),
) -> str:
    """A page of one or several results, with all their claims in one table.

    Args:
        articles: the results, at least one.
        title: heading; by default the page is all about its only article, and named after it.
        subtitle: what stands below the heading.
        missing: what should be on the page and is not.

    Returns:
        The HTML document.
    """
    environment = _environment()
    alone = title is None
    first = articles[0]
    parts = [_part(environment, article, k, alone) for k, article in enumerate(articles, 1)]
    rows = [
        _LedgerRow(claim, *effect_texts(claim.effect), article.title, part.anchor, article.source)
        for article, part in zip(articles, parts, strict=True)
        for claim in article.claims
    ]
    contents = [("claims", "Claims")] if rows else []
    contents += first.sections if alone else [(part.anchor, part.title) for part in parts]
    script = resources.files("mixreg.report").joinpath("templates/page.js").read_text("utf-8")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        title=first.title if title is None else title,
        subtitle=first.subtitle if alone else subtitle,
        contents=contents,
        missing=[*missing, *first.missing] if alone else missing,
        claims=rows,
        alone=alone,
        articles=parts,
        colours=[(variable(light), light, dark) for light, dark in DARK.items()],
        script=script,
        script_hash=f"sha256-{digest}",
    )


def _part(environment: Environment, article: Article, place: int, alone: bool) -> _Part:
    """An article made into HTML."""
    key, level = ("", 2) if alone else (f"result-{place}-", 3)
    template = environment.get_template(article.template)
    return _Part(
        anchor="result" if alone else f"result-{place}",
        title=article.title,
        subtitle=article.subtitle,
        source=article.source,
        claims=len(article.claims),
        missing=article.missing,
        body=template.render(article.values, key=key, level=level),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mixreg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sort_value"] = sort_value
    return environment


def sort_value(text: str) -> float | None:
    """The number by which a cell of a table is sorted.

    Args:
        text: what stands in the cell.

    Returns:
        The number it begins with, or that it gives a name; None where there is none.

    Example:
        >>> [sort_value(text) for text in ("−1.40 ± 0.2", "50%", "α = 0.25", "✓ | ✓", "3-mixup")]
        [-1.4, 50.0, 0.25, None, None]
    """
    found = _NUMBER.match(text.strip().replace("−", "-"))
    return float(found[1]) if found else None
