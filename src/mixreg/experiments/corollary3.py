"""Corollary 3 on real data: mixup leaves linear least squares as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor

from mixreg._random import generator
from mixreg.laws import Beta, MixingLaw
from mixreg.report import Document, Entry, Record, Records, Sentence, Table, write_document
from mixreg.settings import ReproduceOptions
from mixreg.training import environment

UNCHANGED = Sentence("Mixup does not change linear least squares.", "section 4, Corollary 3")
MARGIN = 1e-9  # within which two fits, relative to their length, count as the same in float64
ORDER = 4  # of the quadrature, exact for squares in λ


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Patients a sample of scikit-learn's diabetes data, samples, and shapes of the laws."""

    samples: int = 100
    repetitions: int = 10
    alphas: tuple[float, ...] = (0.2, 1.0, 4.0)


PRESETS: Mapping[str, Preset] = {
    "paper": Preset(),
    "cpu": Preset(),
    "smoke": Preset(samples=20, repetitions=2),
}


def mixup_fit(x: Tensor, y: Tensor, law: MixingLaw) -> Tensor:
    """The linear model that minimises the Mixup risk (4), from all pairs: (d + 1, c), bias last."""
    # The squared error of a linear model is quadratic in λ: a quadrature rule gives the risk
    # exactly, as a weighted sum of squares, without the closed form of Corollary 3.
    n, rule = len(x), law.quadrature(ORDER)
    i, j = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    λ = rule.nodes.view(-1, 1, 1)
    inputs, targets = ((λ * v[i] + (1 - λ) * v[j]).flatten(0, 1) for v in (x, y))
    return fit(inputs, targets, rule.weights.repeat_interleave(n * n))


def fit(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Weighted least squares with an intercept, shape (d + 1, c)."""
    root = weights.sqrt().unsqueeze(1)
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    solution: Tensor = torch.linalg.lstsq(root * design, root * y).solution
    return solution


def run(preset: Preset) -> Records:
    """Relative distances of the fits with and without mixup."""
    features, target = load_diabetes(return_X_y=True)
    x, y = torch.as_tensor(features), torch.as_tensor(target).unsqueeze(1)
    rows = []
    for seed in range(preset.repetitions):
        chosen = torch.randperm(len(x), generator=generator("least squares", seed))
        x_k, y_k = x[chosen[: preset.samples]], y[chosen[: preset.samples]]
        plain = fit(x_k, y_k, torch.ones(preset.samples, dtype=torch.float64))
        for alpha in preset.alphas:
            distance = float((mixup_fit(x_k, y_k, Beta(alpha)) - plain).norm() / plain.norm())
            rows.append(Record("diabetes", "mixup", alpha, seed, "raw", "distance", distance))
    return Records(rows)


def document(preset: Preset, records: Records) -> Document:
    """The claim at each α, with the distances."""
    by_alpha = {a: records.where(alpha=a).by_seed("distance") for a in preset.alphas}
    setting = f"diabetes, linear model, n = {preset.samples}"
    measured = "‖mixup fit − least-squares fit‖ / ‖least-squares fit‖ (none within 1e-9)"
    claims = [
        claim
        for alpha, distances in by_alpha.items()
        for claim in UNCHANGED.test(
            f"{setting}, α = {alpha:g}", measured, distances, "zero", MARGIN
        )
    ]
    table = Table(
        "corollary3",
        "Distance of the two fits",
        "Relative distance of weights and bias, mean over samples of the data.",
        ["law", "distance", "n"],
        [
            (f"α = {alpha:g}", [Entry(f"{claim.effect.mean:.1e}"), Entry(str(claim.effect.n))])
            for alpha, claim in zip(by_alpha, claims, strict=True)
        ],
    )
    return Document(
        "Corollary 3: linear least squares",
        f"scikit-learn's diabetes data, {preset.samples} patients a sample",
        caveats=["Equal means equal up to rounding in float64, a relative distance of 1e-9."],
        tables=[table],
        claims=claims,
        environment=[environment()],
        records=records,
    )


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Fit with and without mixup, compare, and write the result."""
    preset = PRESETS[options.size]
    preset = replace(preset, repetitions=options.seeds or preset.repetitions)
    made = document(preset, run(preset))
    return made.text(), write_document(made, options.directory, name="corollary3")
