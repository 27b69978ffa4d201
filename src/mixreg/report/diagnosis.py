"""A diagnosis as tables, sentences and JSON-safe values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixreg.diagnostics import Diagnosis, EntropyReport
from mixreg.report.diagnosis_pictures import diagnosis_pictures
from mixreg.report.document import Document, Entry, Table

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_SAMPLES = (
    "The samples are taken as the whole training set, in the model's input space without "
    "augmentation; the intervals cover the draws of the Mixup risk, not the choice of samples."
)
_ENTROPIES: tuple[tuple[str, str], ...] = (
    ("predictions", "predictions at x"),
    ("modified_predictions", "predictions at x̃"),
    ("modified_labels", "smoothed labels ỹ"),
    ("bound", "bound of Proposition 1"),
    ("class_means", "class means ȳ"),
)


class Subject(NamedTuple):
    """What was diagnosed: its name, the data, the method it was trained by, and the reference.

    `assumed_law` tells that the method itself mixes nothing.
    """

    name: str
    data: str
    method: str
    assumed_law: bool
    reference: str | None


def diagnosis_document(
    found: Diagnosis,
    subject: Subject,
    *,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    caveats: Sequence[str] = (),
) -> Document:
    """The page of a diagnosis, with the settings and environment it was made in."""
    return Document(
        title=f"Diagnosis of {subject.name}",
        subtitle=f"{found.samples} training samples of {subject.data}, without augmentation",
        findings=[Entry(sentence) for sentence in _findings(found, subject)],
        caveats=[*_caveats(found, subject), *caveats],
        tables=_tables(found),
        pictures=list(diagnosis_pictures(found)),
        settings=[settings],
        environment=[environment],
        numbers=_numbers(found),
    )


def _numbers(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON-safe values, norms as mean and quantiles."""
    terms = found.approximate
    names = ("modified", "r1", "r2", "r3", "r4", "r1_plus_r3", "total")
    return {
        "samples": found.samples,
        "law": found.law.to_dict(),
        "theta_mean": found.law.theta_mean,
        "theta_variance": found.law.theta_variance,
        "gamma_squared": found.law.gamma_squared,
        "label_smoothing": found.label_smoothing,
        "empirical": found.empirical,
        **{name: getattr(terms, name) for name in names},
        "second_order": terms.second_order,
        "rank": terms.rank,
        "cut_off": terms.cut_off,
        "mixup": found.mixup.value,
        "mixup_standard_error": found.mixup.standard_error,
        "mixup_evaluations": found.mixup.samples,
        "gap": found.gap,
        "ci95_half_width": found.half_width,
        "jacobian": {name: _spread(norms) for name, _, norms in _norms(found)},
        "roughness": found.roughness._asdict(),
        "entropy": None if found.entropy is None else found.entropy._asdict(),
    }


def _spread(values: Tensor) -> dict[str, float]:
    """Mean and quantiles."""
    quantiles = torch.quantile(values, torch.tensor(_QUANTILES, dtype=values.dtype)).tolist()
    named = {f"quantile_{q:g}": value for q, value in zip(_QUANTILES, quantiles, strict=True)}
    return {"mean": float(values.mean()), **named}


def _norms(found: Diagnosis) -> Iterator[tuple[str, str, Tensor]]:
    jacobian = found.jacobian
    yield "outputs", "‖∇f‖_F", jacobian.outputs.cpu()
    yield "data_metric", "‖∇f‖ in the metric Σ_xx", jacobian.data_metric.cpu()
    if jacobian.probabilities is not None:
        yield "probabilities", "‖∇p‖_F of probabilities", jacobian.probabilities.cpu()


def _tables(found: Diagnosis) -> list[Table]:
    terms, law = found.approximate, found.law
    risks = [
        ("empirical risk (2)", found.empirical),
        ("loss on modified data (20)", terms.modified),
        ("  R1, Jacobian against J(i)", terms.r1),
        ("  R2, curvature of the network", terms.r2 if terms.second_order else None),
        ("  R3, through the outputs only", terms.r3),
        ("  R4, curvature in the labels", terms.r4),
        ("  R1 + R3, square not completed", terms.r1_plus_r3),
        ("approximate Mixup risk (12)", terms.total),
    ]
    error = f"± {_number(found.half_width)}" if found.half_width else "all pairs"
    rows = [(name, [Entry(_number(value)), Entry("")]) for name, value in risks]
    rows.append(("Mixup risk (4)", [Entry(_number(found.mixup.value)), Entry(error)]))
    rows.append(("gap, (4) less (12)", [Entry(_number(found.gap)), Entry(error)]))
    tables = [
        Table(
            "law",
            f"Law of λ: {law}",
            "Moments of θ = max(λ, 1 − λ), and the label smoothing that mixup amounts to.",
            ["", "value"],
            [
                ("θ̄", [Entry(_number(law.theta_mean))]),
                ("σ²", [Entry(_number(law.theta_variance))]),
                ("γ²", [Entry(_number(law.gamma_squared))]),
                ("equivalent label smoothing ε = 1 − θ̄", [Entry(_number(found.label_smoothing))]),
            ],
        ),
        Table(
            "risks",
            "Risks and regularizers",
            "Equation numbers are the paper's. The samples are taken as the whole training set: "
            "x̄, ȳ and all covariances are theirs.",
            ["", "value", "95% CI"],
            rows,
        ),
    ]
    if found.entropy is not None:
        tables.append(_entropy_table(found.entropy))
    return [*tables, _jacobian_table(found)]


def _entropy_table(entropy: EntropyReport) -> Table:
    values = entropy._asdict()
    rows = [(label, [Entry(_number(values[name]))]) for name, label in _ENTROPIES]
    if entropy.reference is not None:
        rows.insert(3, ("predictions of the reference at x", [Entry(_number(entropy.reference))]))
    rows.append(("slope of (20) in the scale of the logits", [Entry(_number(entropy.scale_slope))]))
    return Table(
        "entropies",
        "Mean entropies (nats)",
        "Smoothed labels bound the predictions at x̃ from below wherever the scale of the logits "
        "is the best one for the loss on modified data, that is where the slope is zero.",
        ["", "value"],
        rows,
    )


def _jacobian_table(found: Diagnosis) -> Table:
    rows = [
        (label, [Entry(_number(value)) for value in _spread(norms).values()])
        for _, label, norms in _norms(found)
    ]
    blank = [Entry("")] * len(_QUANTILES)
    rows.append(("roughness between samples", [Entry(_number(found.roughness.value)), *blank]))
    return Table(
        "jacobians",
        "Norms of the Jacobian at the samples",
        "In the metric Σ_xx: change of the outputs under a typical deviation of the inputs. "
        "Roughness: root mean square slope between samples over that of straight lines, at least "
        "1, whatever the scale of the outputs.",
        ["", "mean", *(f"{q:.0%}" for q in _QUANTILES)],
        rows,
    )


def _findings(found: Diagnosis, subject: Subject) -> Iterator[str]:
    terms, law = found.approximate, found.law
    yield (
        f"{'Mixing with' if not subject.assumed_law else 'Under'} {law} the network sees inputs "
        f"and labels shrunk towards their means by θ̄ = {_number(law.theta_mean)}, which is label "
        f"smoothing with ε = {_number(found.label_smoothing)}, under perturbations of both."
    )
    yield _gap_sentence(found)
    added = terms.total - terms.modified
    meaning = (
        "along the directions of mixing, what the outputs change costs more by the curvature of "
        "the loss than it gains by following the labels"
        if terms.r1_plus_r3 > 0
        else "along the directions of mixing, the outputs gain more by following the labels than "
        "their change costs by the curvature of the loss"
    )
    yield (
        f"The perturbations {'add' if added >= 0 else 'take'} {_number(abs(added))} "
        f"{'to' if added >= 0 else 'from'} the loss on modified data of {_number(terms.modified)}. "
        f"R1 + R3 is {_number(terms.r1_plus_r3)}: {meaning}."
    )
    if found.entropy is not None:
        yield from _entropy_sentences(found.entropy, subject)
    value, error, pairs = found.roughness
    if value is not None and error is not None:
        yield (
            f"Between samples the outputs have {_number(value)} times the slope that straight "
            f"lines would need (standard error {_number(error)}, {pairs} pairs): no network has "
            "less than 1, and those that are affine between samples have 1."
        )


def _gap_sentence(found: Diagnosis) -> str:
    half, gap = found.half_width, found.gap
    interval = (
        f" (95% CI {_number(gap - half)} to {_number(gap + half)}, {found.mixup.samples} draws)"
        if half
        else ""
    )
    if abs(gap) <= half:
        return (
            "These draws show no difference between the Mixup risk and its quadratic "
            f"approximation: the gap is {_number(gap)}{interval}."
        )
    share = f", {abs(gap) / found.mixup.value:.1%} of it" if found.mixup.value > 0 else ""
    return (
        f"The quadratic approximation lies {_number(abs(gap))} {'below' if gap > 0 else 'above'} "
        f"the Mixup risk{share}; gap {_number(gap)}{interval}."
    )


def _entropy_sentences(entropy: EntropyReport, subject: Subject) -> Iterator[str]:
    above = entropy.modified_predictions >= entropy.modified_labels
    slope = entropy.scale_slope
    yield (
        f"At the modified inputs the predictions have {_number(entropy.modified_predictions)} nats "
        f"of entropy, {'more' if above else 'less'} than the {_number(entropy.modified_labels)} of "
        f"the smoothed labels; {'smaller' if slope > 0 else 'larger'} logits would lower the loss "
        f"there (slope {_number(slope)})."
    )
    p = (
        f"with the entropy of {subject.reference} for p"
        if entropy.reference is not None
        else "with p sure of every sample, as of a model that fits every label"
    )
    held = entropy.modified_predictions >= entropy.bound
    yield (
        f"Proposition 1's lower bound is {_number(entropy.bound)} nats, {p}; the predictions at x̃ "
        f"{'lie above it' if held else 'lie below it'}. It is proved for linear models at the "
        "minimum; for a network it is a comparison."
    )


def _caveats(found: Diagnosis, subject: Subject) -> Sequence[str]:
    terms = found.approximate
    caveats = [_SAMPLES]
    if subject.assumed_law:
        caveats.append(
            f"The method {subject.method} mixes nothing: the law only says under which mixup the "
            "risks are evaluated (--alpha)."
        )
    if terms.cut_off:
        caveats.append(
            f"At {terms.cut_off} of {found.samples} samples the predictions are so sure that the "
            "Hessian of the loss is inverted on a part only: R1 and R3 apart depend on the cut-off "
            "there, their sum and the total do not."
        )
    if terms.rank == found.samples - 1:
        caveats.append(
            f"The {found.samples} samples are linearly independent, so that a linear model fits "
            "all labels: J(i), and with it R1 and R3 apart, belong to these samples; for those of "
            "the whole training set take more samples than the inputs have entries. R1 + R3 has "
            "no such dependence."
        )
    if not terms.second_order:
        caveats.append("R2 was left out: the total is the approximate risk without it.")
    return caveats


def _number(value: float | None) -> str:
    """Four significant digits with a true minus sign, nothing for a missing value."""
    return "" if value is None else f"{value:.4g}".replace("-", "−")
