"""Figure 6: what the rescaling, and each other correction, does as corruption grows."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from mixreg.data.corruptions import CORRUPTIONS
from mixreg.evaluation import CORRECTIONS, Correction, MeanInterval, MetricName
from mixreg.experiments import _runs, fig5
from mixreg.experiments._runs import Setting
from mixreg.experiments.evaluate_shift import METRICS, Effects, curves, severity_table
from mixreg.experiments.fig5 import Shifted, severities
from mixreg.report import Claim, Document, Entry, Records, Sentence, Table, figures, paired
from mixreg.report.document import effect_cell, entries
from mixreg.report.records import METRIC_FORMATS, OPPOSITE, mean_over_seeds, number
from mixreg.settings import ReproduceOptions

SHOWN: tuple[Correction, ...] = tuple(
    name for name in CORRECTIONS if name not in ("raw", "shrink-only")
)
"""Corrections whose differences to the raw prediction are shown."""

KINDS = {"all": CORRUPTIONS, "the 15 of the benchmark": CORRUPTIONS[:15]}

PLACE = "section 5, figure 6"
GROWS = Sentence(
    "As corruption grows the gap between rescaled and standard Mixup grows in favour of the "
    "standard one.",
    PLACE,
)
LOW = Sentence(
    "Rescaled Mixup is better than the standard one only where corruption is low.", PLACE
)
HIGH = (4, 5)
"""Severities that are not low."""

NO_MCE = (
    "The mean corruption error (mCE) divides errors by those of AlexNet, which its authors "
    "published for ImageNet-C alone (`mixreg reproduce table2`); for other sets the tables have "
    "the accuracy itself."
)

runs, plan = fig5.runs, fig5.plan


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, score on every corrupted set, and write the figure."""
    made, shifted = fig5.scored(options)
    return _runs.write(options, document(shifted, made))


def document(shifted: Sequence[Shifted], made: _runs.Made) -> Document:
    """Differences to the raw prediction by severity and by corruption."""
    mixup = [item for item in shifted if item.run.method == "mixup"]
    drawn = list(fig5.by_alpha(mixup, made))
    return _runs.figure_document(
        made,
        "Figure 6: corrections by severity of the corruption",
        records=Records(
            record
            for *_, own in drawn
            for item in own
            for severity in severities(own)
            for record in item.means(severity)
            if record.prediction in ("raw", *SHOWN)
        ),
        claims=[claim for part in drawn for claim in claims(*part)],
        caveats=[*fig5.sources(shifted, made), NO_MCE],
        tables=[
            table
            for part in drawn
            for table in (by_severity(*part), by_corruption(*part), numbers(*part))
        ],
        pictures=[picture for part in drawn for picture in pictures(*part)],
    )


def levels(
    own: Sequence[Shifted], prediction: str, metric: MetricName, kinds: Sequence[str] = CORRUPTIONS
) -> dict[int, dict[int, float]]:
    """A metric, mean over corruptions: by severity, then by seed."""
    found = {s: Records(r for item in own for r in item.means(s, kinds)) for s in severities(own)}
    return {s: records.by_seed(metric, prediction=prediction) for s, records in found.items()}


def effects(
    own: Sequence[Shifted], prediction: str, metric: MetricName, kinds: Sequence[str] = CORRUPTIONS
) -> dict[int, dict[int, float]]:
    """The same less the raw prediction."""
    raw = levels(own, "raw", metric, kinds)
    found = levels(own, prediction, metric, kinds)
    return {s: difference for s in raw if (difference := paired(found[s], raw[s]))}


def intervals(by_seed: Mapping[int, Mapping[int, float]]) -> dict[int, MeanInterval]:
    """Means over seeds by severity."""
    return {s: mean for s, values in by_seed.items() if (mean := mean_over_seeds(values))}


def claims(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Iterator[Claim]:
    """How the gap grows from the lowest to the highest severity, and its sign at high ones."""
    place = f"{setting.label}, α = {alpha:g}"
    for metric, better in _runs.BETTER.items():
        worse, by = OPPOSITE[better], effects(own, "rescaled", metric)
        low, high = min(filter(None, by)), max(by)
        compared = f"Mixup rescaled − raw, at severity {high} − at {low}"
        grown = paired(by[high], by[low])
        yield from GROWS.test(place, _runs.difference(metric, compared), grown, worse)
        for severity in (s for s in HIGH if s in by):
            measured = _runs.difference(metric, f"Mixup rescaled − raw at severity {severity}")
            yield from LOW.test(place, measured, by[severity], worse)


def by_severity(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Table:
    """Raw, and each correction less raw, at each severity."""
    return severity_table(
        f"fig6-severity-{setting.name}-alpha{alpha:g}",
        f"Correction − raw by severity: {setting.label}, Mixup, α = {alpha:g}",
        "Mean over corruptions, paired by seed, with the 95% confidence interval over "
        f"{len(own)} seeds; better or worse where it excludes 0.",
        all_effects(own),
        {
            metric: {s: mean.mean for s, mean in intervals(levels(own, "raw", metric)).items()}
            for metric in METRICS
        },
    )


def all_effects(own: Sequence[Shifted]) -> Effects:
    """The interval of every correction, metric and severity."""
    return {
        metric: {name: means for name in SHOWN if (means := intervals(effects(own, name, metric)))}
        for metric in METRICS
    }


def kinds_of(own: Sequence[Shifted]) -> list[str]:
    """The corruptions that were scored."""
    return list(dict.fromkeys(score.kind for score in own[0].scores if score.severity))


def by_corruption(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Table:
    """The rescaling on each corruption, mean over its severities."""
    kinds = kinds_of(own)
    groups = {kind: [kind] for kind in kinds} | {
        f"mean of {name}": [kind for kind in of if kind in kinds] for name, of in KINDS.items()
    }
    rows = []
    for name, chosen in groups.items():
        records, cells = Records(r for item in own for r in item.means(None, chosen)), []
        for metric in METRICS:
            form = METRIC_FORMATS[metric]._replace(factor=1)
            raw, rescaled = (records.by_seed(metric, prediction=p) for p in ("raw", "rescaled"))
            if (mean := mean_over_seeds(raw)) and (
                effect := mean_over_seeds(paired(rescaled, raw))
            ):
                cells += [Entry(number(mean.mean, form)), effect_cell(effect, form)]
        rows.append((name, cells))
    headings = [h for m in METRICS for h in (METRIC_FORMATS[m].heading, "rescaled − raw")]
    return Table(
        f"fig6-kinds-{setting.name}-alpha{alpha:g}",
        f"By corruption: {setting.label}, Mixup, α = {alpha:g}",
        f"Raw, and rescaled − raw: mean over {len(severities(own)) - 1} severities and over "
        f"{len(own)} seeds; better or worse where the 95% interval of the difference excludes 0.",
        ["corruption", *headings],
        rows,
        ["text", "page"],
    )


def numbers(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Table:
    """One line for each corruption, severity and metric, not rounded."""
    headings = ["corruption", "severity", "metric", "n", "raw", "rescaled_minus_raw", "ci95_half"]
    rows = []
    for kind in kinds_of(own):
        for metric in METRICS:
            raw = intervals(levels(own, "raw", metric, [kind]))
            for severity, mean in intervals(effects(own, "rescaled", metric, [kind])).items():
                half = "" if mean.half_width is None else f"{mean.half_width:.3g}"
                written = [f"{raw[severity].mean:.6g}", f"{mean.mean:.6g}", half]
                if severity:
                    rows.append((kind, entries([severity, metric, mean.n, *written])))
    name = f"fig6-{setting.name}-alpha{alpha:g}"
    return Table(name, f"Numbers of {name}", "", headings, rows, ["csv"])


def pictures(setting: Setting, alpha: float, own: Sequence[Shifted]) -> Iterator[figures.Picture]:
    """Corrections by severity, and the rescaling by corruption and severity."""
    place = f"{setting.label}, α = {alpha:g}"
    yield figures.Picture(
        f"fig6-{setting.name}-alpha{alpha:g}",
        f"Correction − raw by severity: {place}",
        "Mean over corruptions, differences paired by seed; severity 0 are the clean images. Bars "
        "are 95% confidence intervals over seeds. Temperatures are fitted on clean held-out "
        "examples.",
        "The same numbers stand in the table by severity.",
        figures.draw(partial(curves, all_effects(own))),
    )
    yield figures.Picture(
        f"fig6-kinds-{setting.name}-alpha{alpha:g}",
        f"Rescaled − raw by corruption and severity: {place}",
        "Blue: the rescaled prediction is better. Red: it is worse. White: the 95% confidence "
        "interval of the difference over seeds includes 0. The scale ends at the largest effect.",
        "Means over severities stand in the table by corruption.",
        figures.draw(partial(heat_maps, own)),
    )


def heat_maps(own: Sequence[Shifted]) -> Figure:
    """One panel for each metric, a row for each corruption, a column for each severity."""
    kinds, shown = kinds_of(own), [s for s in severities(own) if s]
    drawn, axes = figures.panels(len(METRICS), size=(3.6, 0.9 + 0.22 * len(kinds)))
    for panel, metric in zip(axes, METRICS, strict=True):
        form = METRIC_FORMATS[metric]
        values = np.zeros((len(kinds), len(shown)))
        for row, kind in enumerate(kinds):
            means = intervals(effects(own, "rescaled", metric, [kind]))
            values[row] = [means[s].mean if means[s].sign else 0 for s in shown]
        most = max(abs(values).max(), 1e-12)
        mesh = panel.pcolormesh(
            values * form.direction, cmap="RdBu", norm=TwoSlopeNorm(0, -most, most), edgecolor="w"
        )
        most_shown = number(most, form._replace(factor=1))
        panel.set(title=f"{form.label} ({form.step}), up to {most_shown}", xlabel="severity")
        panel.set_xticks(np.arange(len(shown)) + 0.5, list(map(str, shown)))
        panel.set_yticks(np.arange(len(kinds)) + 0.5, [kind.replace("_", " ") for kind in kinds])
        panel.tick_params(length=0, labelleft=panel is axes[0])
        panel.invert_yaxis()
        panel.grid(visible=False)
        mesh.set_linewidth(0.5)
    return drawn
