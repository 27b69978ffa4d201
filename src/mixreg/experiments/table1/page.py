"""Table 1 as a page: verdicts beside the paper's checkmarks, numbers, pictures, sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mixreg.evaluation import MeanInterval
from mixreg.experiments.table1.effects import (
    BASELINE,
    COLUMNS,
    MEASURES,
    PAPER,
    Column,
    Effect,
    Measure,
    Measured,
    Row,
    Verdict,
)
from mixreg.experiments.table1.pictures import table1_pictures
from mixreg.report.study import Entry, Study, StudyTable
from mixreg.report.wording import Judgement, mean_text, number, range_text

_MARKS: dict[Verdict, str] = {
    "shown": "✓",
    "opposite": "✗",
    "mixed": "±",
    "not shown": "·",
    "not measured": "–",
}
_JUDGED: dict[Verdict, Judgement] = {"shown": "better", "opposite": "worse"}


def table1_study(
    rows: Sequence[Row],
    *,
    subtitle: str,
    measured: Measured,
    scales: Sequence[float],
    settings: Sequence[Mapping[str, Any]],
    environment: Sequence[Mapping[str, Any]],
    missing: Sequence[str] = (),
) -> Study:
    """The page of Table 1.

    Args:
        rows: effects and verdicts, the baseline first.
        subtitle: data, model and law.
        measured: the measurements behind the rows.
        scales: factors of the scaled inputs.
        settings: configurations of the runs.
        environment: versions and hardware of the runs.
        missing: runs that should be there and are not.

    Returns:
        The page.
    """
    seeds = rows[0].effects["accuracy"].mean.n
    return Study(
        title="Table 1, measured",
        subtitle=f"{subtitle}; {seeds} seed{'s' if seeds > 1 else ''}",
        findings=[finding for row in rows[1:] for finding in _findings(row, seeds)],
        caveats=[*_caveats(rows, seeds), *_remarks(measured)],
        tables=[_verdict_table(rows, seeds), *_measure_tables(rows)],
        pictures=list(table1_pictures(rows, measured, scales)),
        settings=settings,
        environment=environment,
        missing=missing,
    )


def table1_numbers(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All rows as JSON-safe values.

    Args:
        rows: effects and verdicts.

    Returns:
        One entry a row; the paper's checkmarks are None for rows it does not have.
    """
    return [
        {
            "row": row.key.label,
            "method": row.key.method,
            "prediction": row.key.prediction,
            "verdicts": row.verdicts,
            "paper": sorted(PAPER[row.key]) if row.key in PAPER else None,
            "effects": {name: _effect_numbers(effect) for name, effect in row.effects.items()},
        }
        for row in rows
    ]


def _effect_numbers(effect: Effect) -> dict[str, Any]:
    return {
        "by_seed": {str(seed): value for seed, value in effect.values.items()},
        "mean": effect.mean._asdict(),
        "difference_to_erm": None if effect.difference is None else effect.difference._asdict(),
        "judgement": effect.judgement,
    }


def _verdict_table(rows: Sequence[Row], seeds: int) -> StudyTable:
    shown = [row for row in rows if row.key != BASELINE]
    return StudyTable(
        "table1",
        "Measured | paper (✓ shown, ✗ the opposite, ± contradictory, · not shown, – not measured)",
        "Before the bar: ✓ shown, ✗ the opposite shown, ± claim and guard contradict each other, "
        f"· no effect that these {seeds} seeds can show, – not measured. Behind it: the checkmark "
        "of the paper, a blank where it says that none is known, – for rows it lacks. A verdict "
        "takes the 95% intervals of paired differences to ERM: of ECE, roughness, accuracy "
        "lost by label noise and by the scale of the inputs; each counts only where its guard, the "
        "NLL, ‖∇f‖_F, and the accuracy with that noise and at those inputs, is not shown to be "
        "worse.",
        ["", *COLUMNS.values()],
        [(row.key.label, [_verdict_cell(row, column) for column in COLUMNS]) for row in shown],
    )


def _verdict_cell(row: Row, column: Column) -> Entry:
    verdict = row.verdicts[column]
    paper = "–" if row.key not in PAPER else "✓" if column in PAPER[row.key] else " "
    return Entry(f"{_MARKS[verdict]} | {paper}", _JUDGED.get(verdict, "undecided"))


def _measure_tables(rows: Sequence[Row]) -> Iterator[StudyTable]:
    """One table for each column of the paper, and one of what decides nothing."""
    for column, title in COLUMNS.items():
        deciding = [m for m in MEASURES if m.column == column and m.role != "shown"]
        yield _measure_table(rows, deciding, column, title)
    yield _measure_table(rows, [m for m in MEASURES if m.role == "shown"], "further", "Further")


def _measure_table(
    rows: Sequence[Row], measures: Sequence[Measure], name: str, title: str
) -> StudyTable:
    return StudyTable(
        name,
        title,
        "Mean ± half the width of its 95% confidence interval over seeds, and the difference to "
        "ERM, paired by seed, with its interval. Label noise and input scales are averages over "
        "their levels.",
        ["", *(text for m in measures for text in (m.scale.heading, "to ERM (95% CI)"))],
        [(row.key.label, [cell for m in measures for cell in _cells(row, m)]) for row in rows],
    )


def _cells(row: Row, measure: Measure) -> tuple[Entry, Entry]:
    effect = row.effects.get(measure.name)
    if effect is None:
        return Entry("–"), Entry("–")
    mean = Entry(mean_text(effect.mean, measure.scale))
    if effect.difference is None:
        return mean, Entry("")
    difference = number(effect.difference.mean, measure.scale, signed=True)
    interval = range_text(effect.difference, measure.scale)
    return mean, Entry(f"{difference} ({interval})", effect.judgement)


def _findings(row: Row, seeds: int) -> Iterator[Entry]:
    """What is shown, and what the paper has a checkmark for and is not."""
    checked = PAPER.get(row.key, frozenset())
    for column, title in COLUMNS.items():
        verdict = row.verdicts[column]
        if verdict == "not measured" or (verdict == "not shown" and column not in checked):
            continue
        said = {
            "shown": "shown",
            "opposite": "the opposite is shown",
            "mixed": "claim and guard contradict each other",
            "not shown": f"no effect that these {seeds} seeds can show",
        }[verdict]
        paper = ""
        if row.key in PAPER:
            paper = ", ✓ in the paper" if column in checked else ", not known to the paper"
        evidence = "; ".join(
            f"{measure.scale.label} {_evidence(row.effects[measure.name], measure)}"
            for measure in MEASURES
            if measure.column == column and measure.role != "shown"
        )
        judgement = _JUDGED.get(verdict, "undecided")
        yield Entry(f"{row.key.label}, {title.lower()}: {said}{paper} ({evidence}).", judgement)


def _evidence(effect: Effect, measure: Measure) -> str:
    difference: MeanInterval | None = effect.difference
    assert difference is not None
    step = f" {measure.scale.step}" if measure.scale.step else ""
    mean = number(difference.mean, measure.scale, signed=True)
    return f"{mean}{step}, 95% CI {range_text(difference, measure.scale)}"


def _caveats(rows: Sequence[Row], seeds: int) -> Iterator[str]:
    if seeds == 1:
        yield "There is one seed, so there are no intervals and nothing here is shown."
        return
    judged = sum(len(row.effects) for row in rows if row.key != BASELINE)
    yield (
        f"Many comparisons: this page holds {judged} paired 95% intervals. If nothing differed at "
        f"all, about {max(1, round(judged / 20))} of them would still exclude 0; none is widened "
        "for that."
    )
    if seeds < 5:
        yield (
            f"With {seeds} seeds the width of the intervals is itself uncertain; five or more are "
            "better."
        )
    yield (
        "The intervals (Student's t over seeds) describe the spread of repeated training on this "
        "data with these settings; other data and networks can turn out otherwise."
    )
    yield (
        "Label noise replaces labels by another class drawn uniformly, in the training samples "
        "only; all but the robustness to it is measured without it."
    )


def _remarks(measured: Measured) -> Iterator[str]:
    """Temperatures that are bounds."""
    clean = [found for key, found in measured.items() if key.noise == 0]
    remarks = [found["temperature"].remark for found in clean if "temperature" in found]
    for remark in dict.fromkeys(filter(None, remarks)):
        yield (
            f"In {remarks.count(remark)} of {len(remarks)} runs {remark}; there the temperature is "
            "a bound, not a minimum."
        )
