"""`mixreg diagnose`: the regularization of the theory, measured on one trained classifier."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm.auto import tqdm

from mixreg._errors import ConfigurationError
from mixreg._random import generator
from mixreg.diagnostics import Diagnosis, EntropyReport, diagnose
from mixreg.experiments._foreign import assumptions
from mixreg.experiments.evaluate import beside, load_checkpoint
from mixreg.report import Document, Entry, Picture, Table, check_replaceable, draw, write_document
from mixreg.report import figures as style
from mixreg.risk.exact import folded_rule
from mixreg.settings import DiagnoseOptions
from mixreg.training import METHODS, TrainedClassifier, environment, load_data

_QUADRATURE_ORDER = 16
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BINS = 30
_SMALLEST, _SMALLEST_SHARE = 1e-12, 1e-6
"""Norms below these, the second a share of the largest, are counted in the first bin."""

_LAW = "Moments of θ = max(λ, 1 − λ), and the label smoothing that mixup amounts to."
_RISKS = (
    "Equation numbers are the paper's. The samples are taken as the whole training set: x̄, ȳ and "
    "all covariances are theirs."
)
_ENTROPIES = (
    "Smoothed labels bound the predictions at x̃ from below wherever the scale of the logits is "
    "the best one for the loss on modified data, that is where the slope is zero."
)
_JACOBIANS = (
    "In the metric Σ_xx: change of the outputs under a typical deviation of the inputs. Roughness: "
    "root mean square slope between samples over that of straight lines, at least 1, whatever the "
    "scale of the outputs."
)
_RISKS_DRAWN = (
    "Left: the empirical risk, the loss on modified data, the approximate Mixup risk, and the "
    "Mixup risk with its 95% interval. Right: what lies between the second and the third; R1 and "
    "R3 stand for their sum, since each alone may be arbitrarily large where predictions are sure."
)
_ENTROPIES_DRAWN = (
    "Entropy of the predictions at the samples and at the modified inputs, of the smoothed labels, "
    "which bounds the one at the modified inputs where the scale of the logits is the best, and "
    "the bound of Proposition 1."
)
_JACOBIANS_DRAWN = (
    "Share of the samples by the norm of their Jacobian, on a logarithmic scale; the line is the "
    "mean."
)
_SAMPLES = (
    "The samples are taken as the whole training set, in the model's input space without "
    "augmentation; the intervals cover the draws of the Mixup risk, not the choice of samples."
)


def diagnose_checkpoint(options: DiagnoseOptions) -> tuple[str, Path]:
    """Diagnose one trained classifier and write the report; the text and the page."""
    output = options.output or beside(options.checkpoint, "diagnosis")
    check_replaceable(output, name="diagnosis")
    trained = load_checkpoint(options)
    diagnosis = _diagnose(trained, _reference(trained, options), options)
    document = diagnosis_document(diagnosis, trained, options)
    return document.text(), write_document(document, output, name="diagnosis")


def _reference(trained: TrainedClassifier, options: DiagnoseOptions) -> TrainedClassifier | None:
    """The model of Proposition 1; one of other samples or other labels is refused."""
    if (path := options.reference) is None:
        return None
    # A run knows how its inputs were normalised.
    own: dict[str, Any] = {"mean": [], "std": [], "weights": None} if path.is_dir() else {}
    reference = load_checkpoint(replace(options, checkpoint=path, **own))
    here, there = trained.config, reference.config
    if reference.run is not None and there.method != "erm":
        raise ConfigurationError(
            f"the reference {path} was trained with the method {there.method}; Proposition 1 needs "
            "a model fitted to the labels as they are, a run with the method erm"
        )
    other = [
        f"{name} {getattr(there, name)!r} there, {getattr(here, name)!r} here"
        for name in ("data", "seed", "validation_fraction", "label_noise", "loss")
        if getattr(there, name) != getattr(here, name)
    ]
    if other:
        raise ConfigurationError(
            f"the reference {path} was trained on other data ({'; '.join(other)}); Proposition 1 "
            "compares models of one training set"
        )
    return reference


def _samples(trained: TrainedClassifier, options: DiagnoseOptions) -> tuple[Tensor, Tensor]:
    """Training samples without augmentation, the same for every model of this data and seed."""
    config = trained.config
    data = load_data(replace(config, augment=False))
    size = data.size("train")
    n = min(500, size) if options.samples is None else options.samples
    if n > size:
        raise ConfigurationError(
            f"samples={n}, but the training set of {config.data} has {size} samples; take at most "
            f"--samples {size}"
        )
    x, y = next(iter(data.train_batches(n, seed=options.seed, epoch=0)))
    return x, y.float().unsqueeze(1) if config.loss == "logistic" else y


def _diagnose(
    trained: TrainedClassifier, reference: TrainedClassifier | None, options: DiagnoseOptions
) -> Diagnosis:
    """The diagnosis, on an accelerator if there is one."""
    x, y = _samples(trained, options)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nodes = len(folded_rule(trained.law, _QUADRATURE_ORDER).nodes)
    mixtures = nodes * len(x) ** 2 if options.exact else options.draws
    # Empirical, approximate with its second order, Jacobians, roughness, entropies at two inputs.
    seen = (6 + options.second_order) * len(x) + options.pairs + mixtures
    with _progress(trained.net, seen, options.progress):
        return diagnose(
            trained.net.to(device),
            x.to(device),
            y.to(device),
            trained.config.loss,
            trained.law,
            generator=generator(options.seed, "diagnosis"),
            draws=None if options.exact else options.draws,
            pairs=options.pairs,
            second_order=options.second_order,
            reference=None if reference is None else reference.net.to(device),
        )


@contextmanager
def _progress(net: nn.Module, total: int, show: bool) -> Iterator[None]:
    """A progress bar that counts the samples the network sees."""
    with tqdm(total=total, unit="sample", disable=None if show else True, delay=1) as bar:

        def advance(_net: nn.Module, _inputs: object, outputs: Tensor) -> None:
            bar.update(min(len(outputs), bar.total - bar.n))

        hook = net.register_forward_hook(advance)
        try:
            yield
        finally:
            hook.remove()


# -- the document ----------------------------------------------------------------------------------


class _Norm(NamedTuple):
    name: str
    label: str
    colour: str
    values: Tensor

    @property
    def spread(self) -> dict[str, float]:
        """Mean and quantiles."""
        levels = torch.tensor(_QUANTILES, dtype=self.values.dtype)
        quantiles = zip(_QUANTILES, torch.quantile(self.values, levels).tolist(), strict=True)
        return {"mean": float(self.values.mean())} | {f"quantile_{q:g}": v for q, v in quantiles}


def diagnosis_document(
    diagnosis: Diagnosis, trained: TrainedClassifier, options: DiagnoseOptions
) -> Document:
    """The page of a diagnosis, with the settings and environment it was made in."""
    norms = list(_norms(diagnosis))
    asked = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    unmixed = None  # a method that mixes nothing, under a law that is only assumed
    if trained.run is not None and not METHODS[trained.config.method].mixes:
        unmixed = trained.config.method
    reference = options.reference.resolve().name if options.reference else None
    return Document(
        f"Diagnosis of {options.checkpoint.resolve().name}",
        f"{diagnosis.samples} training samples of {trained.config.data}, without augmentation",
        findings=[Entry(sentence) for sentence in _findings(diagnosis, unmixed, reference)],
        caveats=[*_caveats(diagnosis, unmixed), *assumptions(trained)],
        tables=list(_tables(diagnosis, norms)),
        pictures=list(_pictures(diagnosis, norms)),
        settings=[{"diagnose": asked, "train": trained.config.identity()}],
        environment=[environment()],
        numbers=_numbers(diagnosis, norms),
    )


def _norms(diagnosis: Diagnosis) -> Iterator[_Norm]:
    jacobian = diagnosis.jacobian
    yield _Norm("outputs", "‖∇f‖_F", style.BLUE, jacobian.outputs.cpu())
    yield _Norm("data_metric", "‖∇f‖ in the metric Σ_xx", style.GREEN, jacobian.data_metric.cpu())
    if jacobian.probabilities is not None:
        values = jacobian.probabilities.cpu()
        yield _Norm("probabilities", "‖∇p‖_F of probabilities", style.RED, values)


def _numbers(diagnosis: Diagnosis, norms: Sequence[_Norm]) -> dict[str, Any]:
    """The diagnosis as JSON-safe values, norms as mean and quantiles."""
    law, terms, entropy = diagnosis.law, diagnosis.approximate, diagnosis.entropy
    of_law = ("theta_mean", "theta_variance", "gamma_squared")
    of_terms = ("modified", "r1", "r2", "r3", "r4", "r1_plus_r3", "total")
    return {
        "samples": diagnosis.samples,
        "law": law.to_dict(),
        **{name: getattr(law, name) for name in of_law},
        "label_smoothing": diagnosis.label_smoothing,
        "empirical": diagnosis.empirical,
        **{name: getattr(terms, name) for name in (*of_terms, "second_order", "rank", "cut_off")},
        "mixup": diagnosis.mixup.value,
        "mixup_standard_error": diagnosis.mixup.standard_error,
        "mixup_evaluations": diagnosis.mixup.samples,
        "gap": diagnosis.gap,
        "ci95_half_width": diagnosis.half_width,
        "jacobian": {norm.name: norm.spread for norm in norms},
        "roughness": diagnosis.roughness._asdict(),
        "entropy": None if entropy is None else entropy._asdict(),
    }


def _tables(diagnosis: Diagnosis, norms: Sequence[_Norm]) -> Iterator[Table]:
    terms, law, entropy = diagnosis.approximate, diagnosis.law, diagnosis.entropy
    error = f"± {_number(diagnosis.half_width)}" if diagnosis.half_width else "all pairs"
    moments = [
        _row("θ̄", law.theta_mean),
        _row("σ²", law.theta_variance),
        _row("γ²", law.gamma_squared),
        _row("equivalent label smoothing ε = 1 − θ̄", diagnosis.label_smoothing),
    ]
    yield Table("law", f"Law of λ: {law}", _LAW, ["", "value"], moments)
    risks = [
        _row("empirical risk (2)", diagnosis.empirical, ""),
        _row("loss on modified data (20)", terms.modified, ""),
        _row("  R1, Jacobian against J(i)", terms.r1, ""),
        _row("  R2, curvature of the network", terms.r2 if terms.second_order else None, ""),
        _row("  R3, through the outputs only", terms.r3, ""),
        _row("  R4, curvature in the labels", terms.r4, ""),
        _row("  R1 + R3, square not completed", terms.r1_plus_r3, ""),
        _row("approximate Mixup risk (12)", terms.total, ""),
        _row("Mixup risk (4)", diagnosis.mixup.value, error),
        _row("gap, (4) less (12)", diagnosis.gap, error),
    ]
    yield Table("risks", "Risks and regularizers", _RISKS, ["", "value", "95% CI"], risks)
    if entropy is not None:
        means = {
            "predictions at x": entropy.predictions,
            "predictions at x̃": entropy.modified_predictions,
            "smoothed labels ỹ": entropy.modified_labels,
            "predictions of the reference at x": entropy.reference,
            "bound of Proposition 1": entropy.bound,
            "class means ȳ": entropy.class_means,
            "slope of (20) in the scale of the logits": entropy.scale_slope,
        }
        rows = [_row(name, value) for name, value in means.items() if value is not None]
        yield Table("entropies", "Mean entropies (nats)", _ENTROPIES, ["", "value"], rows)
    spreads = [_row(norm.label, *norm.spread.values()) for norm in norms]
    blank = [None] * len(_QUANTILES)
    spreads.append(_row("roughness between samples", diagnosis.roughness.value, *blank))
    headings = ["", "mean", *(f"{q:.0%}" for q in _QUANTILES)]
    yield Table("jacobians", "Norms of the Jacobian at the samples", _JACOBIANS, headings, spreads)


def _row(name: str, *values: float | str | None) -> tuple[str, list[Entry]]:
    return name, [Entry(value if isinstance(value, str) else _number(value)) for value in values]


def _number(value: float | None) -> str:
    """Four significant digits with a true minus sign, nothing for a missing value."""
    return "" if value is None else f"{value:.4g}".replace("-", "−")


def _findings(diagnosis: Diagnosis, unmixed: str | None, reference: str | None) -> Iterator[str]:
    terms, law = diagnosis.approximate, diagnosis.law
    yield (
        f"{'Under' if unmixed else 'Mixing with'} {law} the network sees inputs "
        f"and labels shrunk towards their means by θ̄ = {_number(law.theta_mean)}, which is label "
        f"smoothing with ε = {_number(diagnosis.label_smoothing)}, under perturbations of both."
    )
    yield _gap(diagnosis)
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
    if diagnosis.entropy is not None:
        yield from _of_entropies(diagnosis.entropy, reference)
    value, error, pairs = diagnosis.roughness
    if value is not None and error is not None:
        yield (
            f"Between samples the outputs have {_number(value)} times the slope that straight "
            f"lines would need (standard error {_number(error)}, {pairs} pairs): no network has "
            "less than 1, and those that are affine between samples have 1."
        )


def _gap(diagnosis: Diagnosis) -> str:
    half, gap, mixup = diagnosis.half_width, diagnosis.gap, diagnosis.mixup
    ends = f"{_number(gap - half)} to {_number(gap + half)}"
    interval = f" (95% CI {ends}, {mixup.samples} draws)" if half else ""
    if abs(gap) <= half:
        return (
            "These draws show no difference between the Mixup risk and its quadratic "
            f"approximation: the gap is {_number(gap)}{interval}."
        )
    share = f", {abs(gap) / mixup.value:.1%} of it" if mixup.value > 0 else ""
    return (
        f"The quadratic approximation lies {_number(abs(gap))} {'below' if gap > 0 else 'above'} "
        f"the Mixup risk{share}; gap {_number(gap)}{interval}."
    )


def _of_entropies(entropy: EntropyReport, reference: str | None) -> Iterator[str]:
    predictions, labels = entropy.modified_predictions, entropy.modified_labels
    slope = entropy.scale_slope
    yield (
        f"At the modified inputs the predictions have {_number(predictions)} nats of entropy, "
        f"{'more' if predictions >= labels else 'less'} than the {_number(labels)} of the smoothed "
        f"labels; {'smaller' if slope > 0 else 'larger'} logits would lower the loss there (slope "
        f"{_number(slope)})."
    )
    p = (
        f"with the entropy of {reference} for p"
        if reference
        else "with p sure of every sample, as of a model that fits every label"
    )
    yield (
        f"Proposition 1's lower bound is {_number(entropy.bound)} nats, {p}; the predictions at x̃ "
        f"lie {'above' if predictions >= entropy.bound else 'below'} it. It is proved for linear "
        "models at the minimum; for a network it is a comparison."
    )


def _caveats(diagnosis: Diagnosis, unmixed: str | None) -> Iterator[str]:
    terms, samples = diagnosis.approximate, diagnosis.samples
    yield _SAMPLES
    if unmixed:
        yield (
            f"The method {unmixed} mixes nothing: the law only says under which mixup the "
            "risks are evaluated (--alpha)."
        )
    if terms.cut_off:
        yield (
            f"At {terms.cut_off} of {samples} samples the predictions are so sure that the "
            "Hessian of the loss is inverted on a part only: R1 and R3 apart depend on the cut-off "
            "there, their sum and the total do not."
        )
    if terms.rank == samples - 1:
        yield (
            f"The {samples} samples are linearly independent, so that a linear model fits all "
            "labels: J(i), and with it R1 and R3 apart, belong to these samples; for those of the "
            "whole training set take more samples than the inputs have entries. R1 + R3 has no "
            "such dependence."
        )
    if not terms.second_order:
        yield "R2 was left out: the total is the approximate risk without it."


def _pictures(diagnosis: Diagnosis, norms: Sequence[_Norm]) -> Iterator[Picture]:
    stand = "The same numbers stand in the table of"
    title, beside = "Risks and regularizers", f"{stand} risks and regularizers."
    yield Picture("risks", title, _RISKS_DRAWN, beside, draw(partial(_draw_risks, diagnosis)))
    if diagnosis.entropy is not None:
        svg = draw(partial(_draw_entropies, diagnosis.entropy))
        beside = f"{stand} mean entropies."
        yield Picture("entropies", "Mean entropies", _ENTROPIES_DRAWN, beside, svg)
    title = "Norms of the Jacobian at the samples"
    beside = "Means and quantiles stand in the table of norms of the Jacobian."
    yield Picture("jacobians", title, _JACOBIANS_DRAWN, beside, draw(partial(_draw_norms, norms)))


def _draw_risks(diagnosis: Diagnosis) -> Figure:
    terms, mixup = diagnosis.approximate, diagnosis.mixup.value
    figure, (risks, parts) = style.panels(2, size=(4.4, 2.3))
    names = ["empirical (2)", "modified (20)", "approximate (12)", "Mixup (4)"]
    values = [diagnosis.empirical, terms.modified, terms.total, mixup]
    _bars(risks, names, values, [style.GREY, style.SKY, style.BLUE, style.GREEN])
    risks.errorbar(mixup, 3, xerr=diagnosis.half_width, fmt="none", ecolor=style.INK, capsize=3)
    risks.set_xlabel("risk")
    values = [terms.r1_plus_r3, terms.r2, terms.r4]
    _bars(parts, ["R1 + R3", "R2", "R4"], values, [style.RED, style.ORANGE, style.GREY])
    parts.axvline(0, color=style.FAINT, linewidth=1)
    parts.set_xlabel("added to the loss on modified data")
    return figure


def _draw_entropies(entropy: EntropyReport) -> Figure:
    figure, (axes,) = style.panels(1, size=(6.4, 2.2))
    names = ["predictions at x", "predictions at x̃", "smoothed labels ỹ", "bound of Proposition 1"]
    values = [entropy.predictions, entropy.modified_predictions, entropy.modified_labels]
    _bars(axes, names, [*values, entropy.bound], [style.GREY, style.BLUE, style.ORANGE, style.RED])
    axes.set_xlabel("mean entropy (nats)")
    return figure


def _bars(axes: Axes, names: list[str], values: list[float], colours: list[str]) -> None:
    """Horizontal bars from top to bottom."""
    axes.barh(range(len(names)), values, color=colours, height=0.62)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)


def _draw_norms(norms: Sequence[_Norm]) -> Figure:
    figure, axes = style.panels(len(norms), size=(3.2, 2.4))
    for panel, norm in zip(axes, norms, strict=True):
        values = norm.values.numpy()
        low = max(values.min(), values.max() * _SMALLEST_SHARE, _SMALLEST)
        edges = np.geomspace(low, max(values.max(), 1.01 * low), _BINS + 1)
        shares = 100 * np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        panel.stairs(shares, edges, fill=True, color=norm.colour, alpha=0.45, linewidth=0)
        panel.stairs(shares, edges, color=norm.colour, linewidth=0.9)
        panel.axvline(values.mean(), color=style.FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        panel.set(xscale="log", title=norm.label)
        panel.minorticks_off()
        panel.set_xticks(edges[::10], [f"{edge:.2g}" for edge in edges[::10]])
        panel.grid(visible=False, axis="x")
    axes[0].set_ylabel("share of samples (%)")
    return figure
