"""Corollary 3 on real data: mixup leaves linear least squares as it is."""

from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor

from mixreg._random import generator
from mixreg.evaluation import MeanInterval, mean_interval
from mixreg.laws import Beta, MixingLaw
from mixreg.report.claims import Claim
from mixreg.report.study import Entry, Study, StudyTable, write_study
from mixreg.training import environment

MARGIN = 1e-9
"""How far two fits may differ, relative to their length, and count as the same in float64."""

_FORMAT = "mixreg.LeastSquares/1"
_ORDER = 4


@dataclass(frozen=True, kw_only=True)
class LeastSquaresSettings:
    """How often and on how much data the fits are compared.

    Args:
        samples: patients in each sample of scikit-learn's diabetes data (10 inputs, one target).
        repetitions: samples drawn; repetition k has the seed k.
        alphas: shapes of the laws Beta(α, α).
    """

    samples: int = 100
    repetitions: int = 10
    alphas: tuple[float, ...] = (0.2, 1.0, 4.0)


def least_squares(settings: LeastSquaresSettings, output: Path) -> tuple[str, Path]:
    """Fit with and without mixup, compare, and write the result.

    Args:
        settings: how large.
        output: directory of the result.

    Returns:
        Table and findings for the terminal, and the page's path.
    """
    features, target = load_diabetes(return_X_y=True)
    x, y = torch.as_tensor(features), torch.as_tensor(target).unsqueeze(1)
    distances: dict[float, list[float]] = {alpha: [] for alpha in settings.alphas}
    for seed in range(settings.repetitions):
        chosen = torch.randperm(len(x), generator=generator("least squares", seed))
        rows = chosen[: settings.samples]
        plain = _fit(x[rows], y[rows], torch.ones(settings.samples, dtype=torch.float64))
        for alpha, found in distances.items():
            mixed = mixup_fit(x[rows], y[rows], Beta(alpha))
            found.append(float((mixed - plain).norm() / plain.norm()))
    means = {alpha: mean_interval(found) for alpha, found in distances.items()}
    study = _study(settings, means)
    numbers = {
        "format": _FORMAT,
        "samples": settings.samples,
        "repetitions": settings.repetitions,
        "distances": {f"{alpha:g}": found for alpha, found in distances.items()},
    }
    return study.text(), write_study(study, output, numbers, name="corollary3")


def mixup_fit(x: Tensor, y: Tensor, law: MixingLaw) -> Tensor:
    """The linear model that minimises the Mixup risk (4), from all pairs of samples.

    The squared error of a linear model is quadratic in λ, so that a quadrature rule for λ gives the
    risk exactly as a weighted sum of squares, without the closed form of Corollary 3.

    Args:
        x: inputs, float64, shape (n, d).
        y: targets, float64, shape (n, c).
        law: law of λ.

    Returns:
        Weights and, in the last row, the bias: shape (d + 1, c).

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
        >>> mixup_fit(x, 3 * x + 1, Beta(1.0)).round(decimals=6)
        tensor([[3.],
                [1.]], dtype=torch.float64)
    """
    n, rule = len(x), law.quadrature(_ORDER)
    i, j = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    nodes = rule.nodes.view(-1, 1, 1)
    inputs, targets = (
        (nodes * values[i] + (1 - nodes) * values[j]).flatten(0, 1) for values in (x, y)
    )
    return _fit(inputs, targets, rule.weights.repeat_interleave(n * n))


def _fit(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Weighted least squares with an intercept, shape (d + 1, c)."""
    root = weights.sqrt().unsqueeze(1)
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    solution: Tensor = torch.linalg.lstsq(root * design, root * y).solution
    return solution


def _study(settings: LeastSquaresSettings, means: dict[float, MeanInterval]) -> Study:
    claims = [
        Claim(
            "Mixup does not change linear least squares.",
            "section 4, Corollary 3",
            f"diabetes, linear model, n = {settings.samples}, α = {alpha:g}",
            "‖mixup fit − least-squares fit‖ / ‖least-squares fit‖ (none within 1e-9)",
            mean,
            "zero",
            MARGIN,
        )
        for alpha, mean in means.items()
    ]
    rows = [
        (f"α = {alpha:g}", [Entry(f"{mean.mean:.1e}"), Entry(str(mean.n))])
        for alpha, mean in means.items()
    ]
    table = StudyTable(
        "corollary3",
        "Distance of the two fits",
        "Relative distance of weights and bias, mean over samples of the data.",
        ["law", "distance", "n"],
        rows,
    )
    return Study(
        title="Corollary 3: linear least squares",
        subtitle=f"scikit-learn's diabetes data, {settings.samples} patients a sample",
        findings=[],
        caveats=["Equal means equal up to rounding in float64, a relative distance of 1e-9."],
        tables=[table],
        claims=claims,
        environment=[environment()],
    )
