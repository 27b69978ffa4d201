"""From a figure's name to its trainings, its numbers and its page."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from mixreg._errors import MixregError
from mixreg.experiments.images.ablation import ablation
from mixreg.experiments.images.fig2 import fig2
from mixreg.experiments.images.fig3 import fig3
from mixreg.experiments.images.fig4 import fig4
from mixreg.experiments.images.fig7 import fig7
from mixreg.experiments.images.measurement import measure
from mixreg.experiments.images.outcomes import Outcome, Outcomes, read_outcomes
from mixreg.experiments.images.parts import Show
from mixreg.experiments.images.runs import FigureName, figure_runs
from mixreg.experiments.images.settings import ImageScale, settings_of
from mixreg.experiments.sweeping import SweepSettings, sweep
from mixreg.report.claims import Claim
from mixreg.report.replacing import check_replaceable
from mixreg.report.study import Entry, Study, write_study
from mixreg.report.wording import Judgement
from mixreg.training import TrainConfig

IMAGE_FIGURES: tuple[FigureName, ...] = get_args(FigureName)

_FORMAT = "mixreg.ImageFigure/1"
_TITLES: dict[FigureName, str] = {
    "fig2": "Figure 2: Mixup and its approximation",
    "fig3": "Figure 3: the terms of the approximate Mixup risk",
    "fig4": "Figure 4: rescaled prediction against α",
    "fig7": "Figure 7: confidence of the predictions",
    "ablation": "Section 5: parts of Mixup",
}
_SHOW: dict[FigureName, Show] = {
    "fig2": fig2,
    "fig3": fig3,
    "fig4": fig4,
    "fig7": fig7,
    "ablation": ablation,
}
_JUDGED: dict[str, Judgement] = {"holds": "better", "does not hold": "worse"}


def figure_trainings(
    figure: FigureName, scale: ImageScale, output: Path, data_root: Path | None
) -> list[TrainConfig]:
    """The runs of a figure, in the folder that the figures of one scale share.

    Args:
        figure: which figure.
        scale: how large.
        output: directory of the results.
        data_root: folder of the data sets.

    Returns:
        The runs.
    """
    return figure_runs(figure, scale, output / "runs", data_root)


def image_figure(
    figure: FigureName,
    scale: ImageScale,
    output: Path,
    *,
    data_root: Path | None = None,
    sweeping: SweepSettings | None = None,
) -> tuple[str, Path]:
    """Train what a figure needs, measure, draw, and test what the paper says of it.

    Runs that are finished, for this figure or another one of the scale, are not run again.

    Args:
        figure: which figure.
        scale: how large.
        output: directory of the results: the runs under `runs`, the figure under its name.
        data_root: folder of the data sets.
        sweeping: where and how many at a time the runs are executed.

    Returns:
        Tables and findings for the terminal, and the page's path.

    Raises:
        CheckpointError: another version wrote the figure.
        MixregError: a run failed, or no data set is there.
    """
    place = sweeping or SweepSettings()
    check_replaceable(output / figure / f"{figure}.json", _FORMAT)
    runs = figure_trainings(figure, scale, output, data_root)
    names = [run.directory.name for run in runs]
    result = sweep(
        runs,
        partial(measure, scale.alphas, scale.samples),
        names=names,
        jobs=place.jobs,
        backend=place.place,
        skip_missing=place.skip_missing,
    )
    made = [run for run in runs if run.directory.name not in result.missing]
    if not made:
        raise MixregError(f"nothing to show: {'; '.join(dict.fromkeys(result.missing.values()))}")
    outcomes = read_outcomes(made, scale.alphas, scale.samples)
    study = _study(figure, scale, outcomes, tuple(dict.fromkeys(result.missing.values())))
    numbers = {
        "format": _FORMAT,
        "figure": figure,
        "scale": scale.name,
        "runs": [_numbers(figure, run) for setting in outcomes.values() for run in setting.runs],
    }
    return study.text(), write_study(study, output / figure, numbers, name=figure)


def _study(
    figure: FigureName,
    scale: ImageScale,
    outcomes: Mapping[str, Outcomes],
    missing: Sequence[str],
) -> Study:
    shown = [setting for setting in settings_of(figure, scale) if setting.name in outcomes]
    parts = [_SHOW[figure](setting, outcomes[setting.name], scale) for setting in shown]
    runs = [run for setting in shown for run in outcomes[setting.name].runs]
    claims = [claim for part in parts for claim in part.claims]
    return Study(
        title=_TITLES[figure],
        subtitle=f"{'; '.join(setting.label for setting in shown)}; scale {scale.name}",
        findings=list(_findings(claims)),
        caveats=list(_caveats(figure, scale)),
        tables=[table for part in parts for table in part.tables],
        pictures=[picture for part in parts for picture in part.pictures],
        frames=[sequence for part in parts for sequence in part.frames],
        claims=claims,
        missing=missing,
        settings=[run.config.identity() for run in runs],
        environment=[run.environment for run in runs],
    )


def _findings(claims: Sequence[Claim]) -> Iterator[Entry]:
    """How each sentence of the paper fared over its tests."""
    for statement in dict.fromkeys(claim.statement for claim in claims):
        verdicts = [claim.verdict for claim in claims if claim.statement == statement]
        counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
        told = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
        alone = next(iter(counts)) if len(counts) == 1 else ""
        tests = "test" if len(verdicts) == 1 else "tests"
        text = f"“{statement}” {len(verdicts)} {tests}: {told}."
        yield Entry(text, _JUDGED.get(alone, "undecided"))


def _caveats(figure: FigureName, scale: ImageScale) -> Iterator[str]:
    if scale.name != "paper":
        yield (
            f"Scale {scale.name}: smaller networks, fewer epochs and fewer repetitions than the "
            "paper's; the settings are below."
        )
    if figure == "fig3":
        yield f"The terms are evaluated on {scale.samples} of the training images."
    yield "Many tests are made; one in twenty intervals misses by chance."


def _numbers(figure: FigureName, run: Outcome) -> dict[str, Any]:
    """A run as JSON-safe values; its history for the figure that shows it."""
    config = run.config
    metrics = {
        f"{alpha:g}": {name: dataclasses.asdict(r.metrics) for name, r in found.results.items()}
        for alpha, found in run.evaluations.items()
    }
    return {
        "data": config.data,
        "model": config.model,
        "method": config.method,
        "alpha": config.alpha,
        "seed": config.seed,
        "metrics": metrics,
        "history": [dict(entry) for entry in run.history] if figure == "fig2" else [],
        "terms": [dict(entry) for entry in run.terms],
    }
