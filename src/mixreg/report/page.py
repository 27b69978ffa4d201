"""The page of documents: one HTML file that needs nothing else, not even its script."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import groupby
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from mixreg.report.document import Document, Entry, Table, entries
from mixreg.report.figures import DARK, variable
from mixreg.report.records import effect_texts

GENERATOR = '<meta name="generator" content="mixreg">'
"""The line by which a page tells who wrote it."""

_NUMBER = re.compile(r"(?:\w+ = )?([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?=$|[\s%±(|,;])")


class Settings(NamedTuple):
    """What all runs share, then the names of what differs and its values for each run."""

    shared: list[tuple[str, str]]
    names: list[str]
    each: list[list[str]]


class Result(NamedTuple):
    """A document and where its numbers are, as a link from the page."""

    document: Document
    source: str | None = None


def render_page(
    results: Sequence[Result],
    *,
    title: str | None = None,
    subtitle: str = "",
    missing: Sequence[str] = (),
) -> str:
    """A page of documents with all claims in one table; without a title, that of its only one."""
    alone = title is None
    first = results[0].document
    keys = ["" if alone else f"result-{k}-" for k in range(1, len(results) + 1)]
    keyed = list(zip(results, keys, strict=True))
    claims = [
        (claim, *effect_texts(claim.effect), result, key.removesuffix("-") or "result")
        for result, key in keyed
        for claim in result.document.claims
    ]
    parts = _sections(first) if alone else ((k[:-1], r.document.title) for r, k in keyed)
    script = resources.files("mixreg.report").joinpath("templates/page.js").read_text("utf-8")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            generator=GENERATOR,
            title=first.title if alone else title,
            subtitle=first.subtitle if alone else subtitle,
            contents=[*([("claims", "Claims")] if claims else []), *parts],
            missing=[*missing, *first.missing] if alone else missing,
            claims=claims,
            alone=alone,
            level=2 if alone else 3,
            results=keyed,
            colours=[(variable(light), light, dark) for light, dark in DARK.items()],
            script=script,
            script_hash=f"sha256-{digest}",
        )
    )


def settings(values: Sequence[Mapping[str, Any]]) -> Settings:
    """Split nested values, one mapping a run, into shared and differing ones, by dotted name."""
    flat = [_flatten(run) for run in values]
    names = list(dict.fromkeys(name for run in flat for name in run))
    shared = [name for name in names if len({run.get(name, "") for run in flat}) == 1]
    differing = [name for name in names if name not in shared]
    return Settings(
        [(name, flat[0][name]) for name in shared],
        differing,
        [[run.get(name, "") for name in differing] for run in flat],
    )


def _settings_tables(
    values: Sequence[Mapping[str, Any]], heading: str, title: str
) -> Iterator[Table]:
    """What all runs share, a line each, and what differs, a line for each run."""
    if any(values):
        split, name = settings(values), heading.lower()
        shared = [(name, [Entry(value)]) for name, value in split.shared]
        yield Table(f"{name}-shared", title, "", [heading, "Value"], shared)
        if split.names:
            each = [(first, entries(rest)) for first, *rest in split.each]
            yield Table(f"{name}-different", "Different between runs", "", split.names, each)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names; everything else as JSON, strings as they are."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[f"{prefix}{name}"] = text
    return flat


def sort_value(text: str) -> float | None:
    """The number that a cell begins with, or gives a name, by which its column is sorted."""
    match = _NUMBER.match(text.strip().replace("−", "-"))
    return float(match[1]) if match else None


def _sections(document: Document) -> Iterator[tuple[str, str]]:
    said = document.findings or document.advice
    if said or document.caveats:
        yield "findings", "Findings" if said else "Limits"
    if document.all_pictures:
        yield "pictures", "Pictures"
    if any("page" in table.media for table in document.tables):
        yield "tables", "Tables"
    if any(document.settings) or any(document.environment):
        yield "settings", "Settings"


def _cards(findings: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """Neighbours of one heading stand together."""
    return [(heading, list(same)) for heading, same in groupby(findings, lambda f: f.beside)]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mixreg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sort_value": sort_value, "cards": _cards, "tables": _settings_tables}
    return environment
