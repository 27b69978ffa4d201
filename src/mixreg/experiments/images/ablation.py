"""What becomes of Mixup without a part of its perturbations (section 5)."""

from collections.abc import Iterator

from mixreg.evaluation import mean_interval, paired_difference
from mixreg.experiments.images.outcomes import Outcomes
from mixreg.experiments.images.parts import one_alpha
from mixreg.experiments.images.testing import BETTER, Sentence
from mixreg.report.claims import Claim
from mixreg.report.study import Entry, StudyTable
from mixreg.report.wording import JUDGED, SCALES, judge, mean_text

PLACE = "section 5"
_METHODS = {
    "mixup": "Mixup",
    "inputs-only": "inputs only",
    "labels-only": "labels only",
    "independent": "inputs and labels independently",
    "gaussian": "Gaussian, same covariance",
    "erm": "ERM",
}
_WORSE = {
    "inputs-only": "Mixup on inputs only performs worse than Mixup.",
    "independent": "Independent Mixup of inputs and labels performs worse than Mixup.",
}


def _table(outcomes: Outcomes) -> StudyTable:
    rows = []
    for method, label in _METHODS.items():
        runs = outcomes.of(method)
        if runs:
            cells = []
            for metric in JUDGED:
                values = outcomes.metric(method, "raw", metric)
                effect = paired_difference(values, outcomes.metric("mixup", "raw", metric))
                text = mean_text(mean_interval(list(values.values())), SCALES[metric])
                cells.append(Entry(text, judge(effect, SCALES[metric].direction)))
            rows.append((label, [*cells, Entry(str(len(runs)))]))
    return StudyTable(
        "ablation",
        "Test performance of the raw prediction",
        "Mean over seeds ± half the width of its 95% confidence interval; better or worse than "
        "Mixup where the 95% confidence interval of the difference, paired by seed, excludes 0.",
        ["perturbation of", *(SCALES[metric].heading for metric in JUDGED), "n"],
        rows,
    )


def _claims(outcomes: Outcomes, setting: str) -> Iterator[Claim]:
    """Less than the whole of Mixup does worse."""
    for method, statement in _WORSE.items():
        for metric, expected in BETTER.items():
            yield from Sentence(statement, PLACE, setting).metric_claim(
                metric,
                f"Mixup − {_METHODS[method]}",
                outcomes.metric("mixup", "raw", metric),
                outcomes.metric(method, "raw", metric),
                expected,
            )


ablation = one_alpha(None, _table, _claims)
