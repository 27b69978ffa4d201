"""`mixreg report`: one page of any runs and results; and the ledger of all that they claim."""

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import quote, unquote

from mixreg._errors import CheckpointError, ConfigurationError, MixregError
from mixreg.experiments.evaluate import run_result
from mixreg.report import Claim, Document, RunResult, Table, Verdict, comparison, read_document
from mixreg.report.document import entries
from mixreg.report.files import document_format, write_files
from mixreg.report.page import Result, render_page, settings
from mixreg.report.records import effect_texts
from mixreg.settings import ReportOptions
from mixreg.training import RunDirectory

_RUNS = "runs"
_VARIED = ("method", "alpha", "seed")
_EXPECTED = (
    "A result is the directory of a run that `mixreg train` and `mixreg evaluate` finished, or "
    "what `mixreg compare`, `mixreg reproduce` or `mixreg diagnose` wrote"
)
_COLUMNS = ["claim", "place", "setting", "measured", "n", "effect", "low", "high"]
_COLUMNS += ["verdict", "result", "numbers"]


class Collected(NamedTuple):
    """The results of a page, and sentences about those that cannot be shown."""

    results: list[Result]
    missing: list[str]


class _Run(NamedTuple):
    path: Path
    result: RunResult


_Held = dict[Path, Document | _Run]


def report(options: ReportOptions) -> tuple[str, Path]:
    """Write report.html and claims.csv; what is on the page, for the terminal, and its path."""
    collected = collect(options.runs, options.output)
    return "\n".join(_lines(collected)), write(collected, options.output)


def collect(paths: Sequence[Path], output: Path) -> Collected:
    """Read results, or folders of them; links lead from the output to where they are."""
    held: _Held = {}
    missing: list[str] = []
    for path in paths:
        for place, result in _at(path, missing).items():
            held.setdefault(place.resolve(), result)
    runs = [result for result in held.values() if isinstance(result, _Run)]
    results: list[Result] = []
    for place, result in held.items():
        if isinstance(result, Document):
            link = quote(Path(os.path.relpath(place, output.resolve())).as_posix())
            results.append(Result(result, link))
        elif result is runs[0]:
            results += [Result(document) for document in _compared(runs)]
    return Collected(_distinct(results), missing)


def write(collected: Collected, output: Path, **further: str) -> Path:
    """Write the page, which needs nothing else, the claims as CSV, and further Markdown."""
    results, missing = collected
    counts = f"{len(results)} result{'s' if len(results) > 1 else ''}"
    html = render_page(results, title="Report", subtitle=counts, missing=missing)
    texts = {"claims.csv": _claims_csv(results)} | {f"{k}.md": text for k, text in further.items()}
    # These tell by their first line who wrote them, as a page does in its head.
    ours = [
        name
        for name, text in texts.items()
        if (output / name).is_file()
        and (output / name).read_bytes().startswith(f"{text.splitlines()[0]}\n".encode())
    ]
    files = {name: text.encode() for name, text in {**texts, "report.html": html}.items()}
    write_files(output, files, ours)
    return output / "report.html"


def _claims_csv(results: Sequence[Result]) -> str:
    rows = []
    for document, source in results:
        for claim in document.claims:
            effect, tested = claim.effect, (claim.place, claim.setting, claim.measured)
            numbers = (effect.n, effect.mean, effect.low, effect.high, claim.verdict)
            rows.append((claim.statement, entries([*tested, *numbers, document.title, source])))
    return Table("claims", "", "", _COLUMNS, rows).csv()


def _at(path: Path, missing: list[str]) -> _Held:
    """The results that a path stands for; those below it that cannot be read are missing."""
    if not path.exists():
        raise CheckpointError(f"there is nothing at {path}; name a run, a result or a folder")
    if path.is_file() and not document_format(path):
        raise CheckpointError(f"{path} is no result: {_EXPECTED}")
    if held := _in(path):
        return held
    unreadable: list[str] = []
    below = _below(path, unreadable)
    if not below:
        reasons = f", and none that can be shown: {'; '.join(unreadable)}" if unreadable else ""
        raise CheckpointError(f"{path} holds no result{reasons}. {_EXPECTED}")
    missing += unreadable
    return below


def _in(path: Path) -> _Held:
    """The results that are a path itself, or lie in the folder itself."""
    if all((path / name).is_file() for name in ("config.json", "environment.json")):
        return {path: _read_run(path)}
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    return {file: read_document(file) for file in files if document_format(file)}


def _below(folder: Path, missing: list[str]) -> _Held:
    """The results of all folders below; those of `runs` only where there is nothing else."""
    # Links are not followed: they may lead back.
    folders = sorted(f for f in folder.iterdir() if f.is_dir() and not f.is_symlink())
    results: _Held = {}
    for inner in sorted(folders, key=lambda f: f.name == _RUNS):
        if inner.name == _RUNS and results:
            break
        try:
            results |= _in(inner) or _below(inner, missing)
        except MixregError as error:
            missing.append(str(error))
    return results


def _read_run(folder: Path) -> _Run:
    """A run that is trained and evaluated."""
    run, name = RunDirectory(folder), shlex.quote(str(folder))
    config = run.read_config()
    if not run.finished:
        raise CheckpointError(
            f"{folder} is not trained to the end; run its `mixreg train` again, with --output "
            f"{name}, which goes on where it stopped, and then `mixreg evaluate {name}`"
        )
    if not run.evaluation.is_file():
        raise CheckpointError(f"{folder} is not evaluated; run `mixreg evaluate {name}`")
    return _Run(folder, run_result(config, run, run.read_evaluation()))


def _compared(runs: Sequence[_Run]) -> Iterator[Document]:
    """One comparison for each setting of everything but method, α and seed."""
    shared: dict[str, list[_Run]] = {}
    for run in runs:
        kept = {name: v for name, v in run.result.config.items() if name not in _VARIED}
        shared.setdefault(json.dumps(kept), []).append(run)
    titles = _titles([json.loads(kept) for kept in shared])
    for title, members in zip(titles, shared.values(), strict=True):
        _check_distinct(members)
        try:
            yield from _comparisons(title, [run.result for run in members])
        except ValueError as error:
            raise CheckpointError(f"{title}: these runs cannot be compared: {error}") from error


def _comparisons(title: str, runs: Sequence[RunResult]) -> Iterator[Document]:
    """Against ERM, else the first method with one α; one comparison for each α without such."""
    counts = Counter(group.method for group in dict.fromkeys(run.group for run in runs))
    single = [method for method, count in counts.items() if count == 1]
    if single:
        yield comparison(runs, title=title, baseline="erm" if "erm" in single else single[0])
        return
    for alpha in sorted({run.alpha or 0.0 for run in runs}):
        members = [run for run in runs if run.alpha == alpha]
        yield comparison(members, title=f"{title}, α = {alpha:g}", baseline=members[0].method)


def _titles(configs: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Data set and model, with the settings in which comparisons of the same differ."""
    plain = [f"{config['data']}, {config['model']}" for config in configs]
    for config, title in zip(configs, plain, strict=True):
        alike = [c for c, other in zip(configs, plain, strict=True) if other == title]
        split = settings(alike)
        values = zip(split.names, split.each[alike.index(config)], strict=True)
        differing = ", ".join(f"{name} {value}" for name, value in values)
        yield f"{title} ({differing})" if differing else title


def _check_distinct(runs: Sequence[_Run]) -> None:
    known: dict[tuple[object, ...], _Run] = {}
    for run in runs:
        first = known.setdefault((run.result.group, run.result.seed), run)
        if first is not run:
            raise ConfigurationError(
                f"{first.path} and {run.path} are runs with the same settings and seed, which "
                "would count twice; name one of them"
            )


def _distinct(results: Sequence[Result]) -> list[Result]:
    """Documents of one title told apart by the folders of their numbers."""
    counts = Counter(document.title for document, _ in results)
    distinct = []
    for document, source in results:
        if counts[document.title] > 1 and source is not None:
            title = f"{document.title} ({unquote(Path(source).parent.name)})"
            document = replace(document, title=title)
        distinct.append(Result(document, source))
    return distinct


def _lines(collected: Collected) -> Iterator[str]:
    for document, _ in collected.results:
        verdicts = Counter(claim.verdict for claim in document.claims)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        yield f"{document.title}{f' (claims: {counts})' if counts else ''}"
        yield from (f"  missing: {sentence}" for sentence in document.missing)
    yield from (f"missing: {sentence}" for sentence in collected.missing)


# -- the ledger: every sentence of the paper that results test -------------------------------------

_READING = (
    "Generated by `mixreg reproduce claims` from the results; no verdict is written by hand. An "
    "effect is a mean over seeds with its 95% confidence interval. A sentence holds where all of "
    "the interval lies where the sentence puts the effect, does not hold where all of it lies "
    "elsewhere, and is undecided otherwise. No interval is widened for the number of tests: one in "
    "twenty misses by chance."
)
_ONCE = (
    "Left out, since the same was measured in the same setting with at least as many repetitions:"
)
_FOLDER = "claims"
_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Line(NamedTuple):
    """A claim and the file with the numbers behind it, relative to the folder of the ledger."""

    claim: Claim
    source: str

    @property
    def situation(self) -> tuple[str, ...]:
        """What was measured of which sentence in which setting, however methods are written."""
        claim = self.claim
        return tuple(text.casefold() for text in (claim.statement, claim.setting, claim.measured))

    def text(self) -> str:
        """The claim in one line, for the list of those that are left out."""
        n, verdict = self.claim.effect.n, self.claim.verdict
        return f"{self.claim.setting}; {self.claim.measured}; n = {n}: {verdict}, `{self.source}`"


def claims(folder: Path) -> tuple[str, Path]:
    """Write the claims of all results below a folder to its subfolder `claims`."""
    collected = collect([folder], folder / _FOLDER)
    kept, left_out = counted_once(lines_of(collected))
    counted = {id(line.claim) for line in kept}
    results = [
        Result(replace(document, claims=[c for c in document.claims if id(c) in counted]), source)
        for document, source in collected.results
    ]
    missing = [*collected.missing, *(f"{_ONCE} {line.text()}" for line in left_out)]
    text = markdown(kept, left_out, collected.missing)
    page = write(Collected(results, missing), folder / _FOLDER, claims=text)
    lines = [*_table(_summary(kept)), *(f"missing: {reason}" for reason in collected.missing)]
    if left_out:
        lines.append(f"{len(left_out)} left out, listed in {page.with_name('claims.md')}")
    return "\n".join(lines), page


def lines_of(collected: Collected) -> list[Line]:
    """The claims by their place in the paper, section 3 before section 10, then by sentence."""
    lines = [
        # A link from the ledger's folder, as a path from the results.
        Line(claim, unquote(source or "").removeprefix("../"))
        for document, source in collected.results
        for claim in document.claims
    ]

    def order(line: Line) -> tuple[object, ...]:
        words = re.findall(r"\d+|\D+", line.claim.place)
        place = [(int(word), "") if word.isdigit() else (0, word) for word in words]
        return place, line.claim.statement

    return sorted(lines, key=order)


def counted_once(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Each situation once, with the most repetitions, and the lines that are left out."""
    best: dict[tuple[str, ...], Line] = {}
    for line in lines:
        first = best.setdefault(line.situation, line)
        if line.claim.effect.n > first.claim.effect.n:
            best[line.situation] = line
    kept = [line for line in lines if best[line.situation] is line]
    return kept, [line for line in lines if best[line.situation] is not line]


def markdown(
    lines: Sequence[Line], left_out: Sequence[Line] = (), missing: Sequence[str] = ()
) -> str:
    """The ledger as Markdown: a summary, then the tests of each sentence."""
    parts = [_READING, "", *_table(_summary(lines))]
    if missing:
        parts += ["", "Missing, since it cannot be read:", ""]
        parts += [f"- {reason}" for reason in missing]
    if left_out:
        parts += ["", _ONCE, "", *(f"- {line.text()}" for line in left_out)]
    for statement, tests in _by_statement(lines).items():
        parts += ["", f"## {statement.rstrip('.')}", "", *_table(_tests(tests))]
    return "\n".join(parts) + "\n"


def _by_statement(lines: Sequence[Line]) -> dict[str, list[Line]]:
    tests: dict[str, list[Line]] = {}
    for line in lines:
        tests.setdefault(line.claim.statement, []).append(line)
    return tests


def _summary(lines: Sequence[Line]) -> Iterator[Sequence[str]]:
    yield ("sentence", "in the paper", "tests", *_VERDICTS)
    for statement, tests in _by_statement(lines).items():
        places = ", ".join(dict.fromkeys(line.claim.place for line in tests))
        counts = Counter(line.claim.verdict for line in tests)
        yield (statement, places, str(len(tests)), *(str(counts[v]) for v in _VERDICTS))


def _tests(lines: Sequence[Line]) -> Iterator[Sequence[str]]:
    yield ("setting", "measured", "n", "effect", "95% interval", "verdict", "numbers")
    for claim, source in lines:
        n, numbers = str(claim.effect.n), f"`{source}`" if source else ""
        effect = effect_texts(claim.effect)
        yield (claim.setting, claim.measured, n, *effect, claim.verdict, numbers)


def _table(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    for k, row in enumerate(rows):
        cells = [cell.replace("|", r"\|") for cell in row]
        yield f"| {' | '.join(cells)} |"
        if k == 0:
            yield "| " + " | ".join("---" for _ in row) + " |"
