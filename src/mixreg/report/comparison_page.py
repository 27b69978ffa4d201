"""A comparison of trained models as a part of a page."""

from collections.abc import Mapping, Sequence
from itertools import chain

from mixreg.report.comparison_claims import comparison_claims
from mixreg.report.page import Article
from mixreg.report.page_tables import page_tables
from mixreg.report.pictures import (
    curve_pictures,
    difference_pictures,
    distribution_pictures,
    effect_pictures,
    reliability_pictures,
)
from mixreg.report.results import Group, RunResult
from mixreg.report.sequence import PictureSequence, over_alpha
from mixreg.report.settings import run_settings, settings
from mixreg.report.style import Picture
from mixreg.report.summary import Comparison, summarize
from mixreg.report.verdict import verdict

Shown = Mapping[str, Sequence[Picture | PictureSequence]]


def ordered_runs(comparison: Comparison, runs: Sequence[RunResult]) -> list[RunResult]:
    """Runs by group, then by seed.

    Args:
        comparison: the comparison, which has the order of the groups.
        runs: its runs.

    Returns:
        The runs.
    """
    places = {group: k for k, group in enumerate(comparison.groups)}
    return sorted(runs, key=lambda run: (places[run.group], run.seed))


def comparison_pictures(comparison: Comparison, runs: Sequence[RunResult]) -> Shown:
    """Everything there is to draw of a comparison.

    Args:
        comparison: the summed up runs.
        runs: the runs.

    Returns:
        Pictures, and sliders for methods with several α, by the section that shows them.
    """
    groups: dict[Group, list[RunResult]] = {
        group: [run for run in ordered_runs(comparison, runs) if run.group == group]
        for group in comparison.groups
    }
    reliability = over_alpha(reliability_pictures(comparison, groups))
    return {
        "effects": [*difference_pictures(comparison), *over_alpha(effect_pictures(comparison))],
        "calibration": [*reliability, *distribution_pictures(comparison, groups)],
        "training": list(curve_pictures(groups)),
    }


def single_pictures(shown: Shown) -> list[Picture]:
    """All pictures one by one.

    Args:
        shown: pictures and sliders by section.

    Returns:
        The pictures, those of sliders included.
    """
    pictures: list[Picture] = []
    for item in chain.from_iterable(shown.values()):
        if isinstance(item, PictureSequence):
            pictures += [frame.picture for frame in item.frames]
        else:
            pictures.append(item)
    return pictures


def comparison_article(
    runs: Sequence[RunResult],
    *,
    title: str,
    baseline: str,
    missing: Sequence[str] = (),
    source: str | None = None,
) -> Article:
    """A comparison of methods over seeds as a part of a page.

    Args:
        runs: trained models, evaluated on one test set.
        title: heading, such as data set and model.
        baseline: method whose raw prediction the others are compared with.
        missing: runs that should be there and are not.
        source: where the numbers are, as a link from the page.

    Returns:
        The article.

    Raises:
        ValueError: no runs, two of the same method, α and seed, other test sets, or a baseline
            that is none of the methods or stands for several α.
    """
    comparison = summarize(runs, baseline)
    ordered = ordered_runs(comparison, runs)
    pictures = comparison_pictures(comparison, ordered)
    environment = settings([run.environment for run in ordered])
    sections = ("verdict", "tables", "calibration", "training", "settings")
    return Article(
        title=title,
        subtitle=_subtitle(comparison, ordered),
        template="comparison.html.j2",
        values={
            "comparison": comparison,
            "verdict": verdict(comparison),
            "tables": page_tables(comparison),
            "pictures": pictures,
            "settings": run_settings(ordered),
            "environment": environment if environment.shared or environment.names else None,
        },
        sections=[
            (name, name.capitalize()) for name in sections if name not in pictures or pictures[name]
        ],
        claims=comparison_claims(comparison, title),
        missing=missing,
        source=source,
    )


def _subtitle(comparison: Comparison, runs: Sequence[RunResult]) -> str:
    methods = ", ".join(group.label for group in comparison.groups)
    seeds = sorted({run.seed for run in runs})
    listed = ", ".join(map(str, seeds))
    return (
        f"{methods}; {len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({listed}); "
        f"{comparison.count} test examples, {comparison.num_classes} classes"
    )
