"""Figures 1, 8 and 9: logistic regression on random Fourier features of two moons (appendix B.3).

All S repetitions are trained at once. A model is f(x) = wᵀφ(x), φ(x) = cos(Fx + b)/√M. ERM, ERM
on modified data and approximate Mixup see the same points in every epoch, so w stays in the span of
their features A and SGD runs on c and K c with K = AAᵀ, w = Aᵀc; Mixup sees new points and runs on
w.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.autograd import grad
from torch.nn.functional import embedding_bag
from tqdm.auto import tqdm

from mixreg._errors import CheckpointError, ConfigurationError, MixregError
from mixreg._random import generator
from mixreg.curvature import loss_curvature
from mixreg.data import Split, load
from mixreg.data.dataset import epoch_order
from mixreg.evaluation import METRICS, MeanInterval, confidence_histogram, mean_interval, metrics
from mixreg.laws import Beta, MixingLaw
from mixreg.losses import logistic, two_class_logits
from mixreg.prediction import shrink, unshrink
from mixreg.report import (
    Claim,
    Document,
    Entry,
    Expected,
    Picture,
    Record,
    Records,
    Sentence,
    Table,
    check_replaceable,
    draw,
    paired,
    read_document,
    write_document,
)
from mixreg.report import figures as style
from mixreg.report.comparison import HELPS, HURTS
from mixreg.report.records import OPPOSITE, half_way, mean_text, metric_format, multiplicity
from mixreg.settings import ReproduceOptions
from mixreg.training import environment

METHODS = {  # name and colour in figures
    "erm": ("ERM", style.GREY),
    "mixup": ("Mixup", style.BLUE),
    "approximate": ("approximate Mixup", style.RED),
    "modified": ("ERM on modified data", style.GREEN),
}
PREDICTIONS = ("raw", "rescaled")
ARMS = tuple(product(METHODS, PREDICTIONS))
BLOCK = 10  # repetitions whose mixed points are trained together: their features fit the cache
CHUNK = 150  # points of a repetition whose features are held at once

Arm = tuple[str, str]
Measured = dict[Arm, dict[str, Tensor]]
Losses = Callable[[Tensor, Tensor], Tensor]
"""Losses (S, b) from the responses (S, b, k) at points with the indices (S, b)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The paper's (appendix B.3) but for the epochs, which it does not give.

    What mixup and its approximation minimise has settled after 1000: in ten repetitions of 8000
    epochs their own risks fall by less than half a per cent from there on. ERM never settles; its
    test loss is lowest after about 100 epochs and keeps rising.
    """

    repetitions: int = 30  # repetition k has the seed k
    epochs: int = 1000
    batch_size: int = 50
    learning_rate: float = 5.0
    alpha: float = 1.0
    num_features: int = 1000  # M
    feature_scale: float = 10.0  # σ of the entries of F
    label_noise: float = 0.2
    records: int = 40  # epochs, evenly spaced on a logarithmic axis, at which all is measured
    risk_draws: int = 20  # fixed draws a point that estimate the Mixup risk (4)
    picture_steps: int = 1500  # full-batch steps behind Figure 1
    picture_draws: int = 16  # draws a point in each of these steps
    precision: str = "float32"

    @property
    def recorded_epochs(self) -> tuple[int, ...]:
        """Numbers of finished epochs after which everything is measured, the last among them."""
        steps = max(self.records - 1, 1)
        spaced = {round(self.epochs ** (k / steps)) for k in range(self.records)}
        return tuple(sorted(spaced | {self.epochs}))


_SMOKE: Any = {"repetitions": 3, "epochs": 20, "num_features": 100, "records": 5, "risk_draws": 2}
PRESETS: Mapping[str, Settings] = {
    "paper": Settings(),
    "cpu": Settings(),
    "smoke": Settings(**_SMOKE, picture_steps=20, picture_draws=2),
}


# -- data and features -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """φ of every repetition: Fᵀ of shape (S, 2, M), entries N(0, σ²), and b of shape (S, 1, M)."""

    frequencies: Tensor
    phases: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """φ(x) of x (S, n, 2), shape (S, n, M)."""
        angles = torch.baddbmm(self.phases, x, self.frequencies)
        np.cos(angles.numpy(), out=angles.numpy())  # twice as fast as PyTorch's on a CPU
        return angles.div_(math.sqrt(angles.shape[2]))

    def jets(self, x: Tensor) -> Tensor:
        """φ, ∂φ/∂x₁ and ∂φ/∂x₂, shape (S, n, 3, M)."""
        angles = torch.baddbmm(self.phases, x, self.frequencies)
        sines = torch.from_numpy(np.sin(angles.numpy())).div_(math.sqrt(angles.shape[2]))
        gradient = -sines.unsqueeze(2) * self.frequencies.unsqueeze(1)
        return torch.cat([self(x).unsqueeze(2), gradient], 2)

    def part(self, repetitions: slice) -> "Features":
        """Those of some repetitions."""
        return Features(self.frequencies[repetitions], self.phases[repetitions])


@dataclass(frozen=True)
class Problem:
    """S repetitions: points (S, n, 2), labels (S, n), the means of the training data, φ, and λ."""

    seeds: tuple[int, ...]
    law: MixingLaw
    phi: Features
    x: Tensor
    y: Tensor
    true_y: Tensor  # before labels were flipped
    test_x: Tensor
    test_y: Tensor
    x_mean: Tensor
    y_mean: Tensor

    @property
    def size(self) -> int:
        """Number of training points n."""
        return self.x.shape[1]

    def shrunk(self, x: Tensor) -> Tensor:
        """x̃ (equation 5)."""
        return _shrink(x, self.x_mean, self.law)

    def modified(self) -> tuple[Tensor, Tensor]:
        """The modified training data (x̃, ỹ) (equation 5)."""
        return self.shrunk(self.x), _shrink(self.y, self.y_mean, self.law)

    def repeated(self, times: int) -> "Problem":
        """With every training point several times, for several draws of each."""
        return replace(self, x=self.x.repeat(1, times, 1), y=self.y.repeat(1, times))

    def mixed(self, epoch: int, stream: str = "mixing") -> tuple[Tensor, Tensor]:
        """λ (x_i, y_i) + (1 − λ) (x_j, y_j) (equation 4), drawn by seed and epoch alone."""
        n, sources = self.size, [generator(seed, stream, epoch) for seed in self.seeds]
        j = torch.stack([torch.randint(n, (n,), generator=source) for source in sources])
        drawn = torch.stack([self.law.sample(n, generator=source) for source in sources])
        weight, partners = drawn.to(self.x.dtype), self.x.gather(1, _rows(j))
        x = torch.lerp(partners, self.x, weight.unsqueeze(2))
        return x, torch.lerp(self.y.gather(1, j), self.y, weight)


def make_problem(s: Settings, seeds: Sequence[int]) -> Problem:
    """The data sets of `mixreg.data` with these seeds, stacked, and features of the same seeds."""
    dtype, double = getattr(torch, s.precision), torch.float64

    def points(split: Split, noise: float) -> tuple[Tensor, Tensor]:
        options: Any = {"validation_fraction": 0, "label_noise": noise}
        sets = [load("two-moons", seed=seed, **options) for seed in seeds]
        pairs = [next(iter(data.batches(split, data.size(split)))) for data in sets]
        return torch.stack([x for x, _ in pairs]).double(), torch.stack([y for _, y in pairs])

    (x, y), (test_x, test_y) = points("train", s.label_noise), points("test", 0.0)
    sources = [generator(seed, "random features") for seed in seeds]
    f = [torch.randn(2, s.num_features, generator=source, dtype=double) for source in sources]
    b = [torch.rand(1, s.num_features, generator=source, dtype=double) for source in sources]
    phi = s.feature_scale * torch.stack(f), 2 * math.pi * torch.stack(b)
    means = x.mean(1), y.double().mean(1)
    tensors = [t.to(dtype) for t in (x, y, points("train", 0.0)[1], test_x, test_y, *means)]
    return Problem(tuple(seeds), Beta(s.alpha), Features(*(t.to(dtype) for t in phi)), *tensors)


def _shrink(values: Tensor, means: Tensor, law: MixingLaw) -> Tensor:
    """Values (S, n, ...) towards means (S, ...), as n examples of one wide input."""
    return shrink(values.movedim(1, 0), means, law).movedim(0, 1).contiguous()


def _rows(indices: Tensor) -> Tensor:
    """Indices (S, b) as those that gather rows of inputs (S, n, 2)."""
    return indices.unsqueeze(2).expand(-1, -1, 2)


# -- what the methods minimise, and SGD on it ------------------------------------------------------


def plain_losses(targets: Tensor) -> Losses:
    """The logistic loss of f at points with targets (S, n)."""
    return lambda responses, rows: _logistic(targets.gather(1, rows), responses[..., 0])


def approximate_losses(problem: Problem, targets: Tensor) -> Losses:
    """ℓ(ỹ_i, f(x̃_i)) + σ² Q_i(d_i, e_i) + γ² mean_j Q_i(d_j, e_j), without f̈ (equation 12)."""
    n, law = problem.size, problem.law
    d, e = problem.x - problem.x_mean.unsqueeze(1), problem.y - problem.y_mean.unsqueeze(1)
    centred = torch.cat([d, e.unsqueeze(2)], 2)
    # Q is quadratic: its mean over j is its sum over the rows of the triangular factor of (d, e).
    shared = torch.linalg.qr(centred / n**0.5).R.unsqueeze(1).expand(-1, n, -1, -1)
    own = law.theta_variance**0.5 * centred.unsqueeze(2)
    directions = torch.cat([own, law.gamma_squared**0.5 * shared], 2)

    def losses(responses: Tensor, rows: Tensor) -> Tensor:
        u, jacobian = responses[..., 0], responses[..., 1:]
        v = directions.gather(1, rows[..., None, None].expand(-1, -1, *directions.shape[2:]))
        du = (v[..., :2] * jacobian.unsqueeze(2)).sum(3)
        y = targets.gather(1, rows)
        at = [t.unsqueeze(2).expand_as(du).flatten() for t in (y, u)]
        q = loss_curvature("logistic", at[0], at[1], v[..., 2].flatten(), du.flatten()).total
        return _logistic(y, u) + q.view_as(du).sum(2)

    return losses


def _logistic(targets: Tensor, outputs: Tensor) -> Tensor:
    return logistic(targets.flatten(), outputs.flatten()).view_as(outputs)


def _slopes(losses: Losses, responses: Tensor, rows: Tensor) -> Tensor:
    """Gradient of the mean loss of a batch in its responses."""
    u = responses.detach().requires_grad_()
    return grad(losses(u, rows).mean(1).sum(), u)[0]


class FixedPoints:
    """SGD on c and r = K c for points that are the same in every epoch, with features (S, n, k, M).

    A step changes the entries of its batch in c, and r by the rows of K that belong to them.
    """

    def __init__(self, a: Tensor, losses: Losses) -> None:
        self.a, self.losses, (repetitions, n, self.k, _) = a, losses, a.shape
        rows = a.flatten(1, 2)
        self.gram = torch.bmm(rows, rows.mT).flatten(0, 1)
        self.start = n * self.k * torch.arange(repetitions).unsqueeze(1)
        self.c = a.new_zeros(repetitions, n * self.k)
        self.r = torch.zeros_like(self.c)

    def run_epoch(self, _epoch: int, batches: Sequence[Tensor], rate: float) -> None:
        """Steps on batches of points with the indices (S, b)."""
        for rows in batches:
            at = (rows.unsqueeze(2) * self.k + torch.arange(self.k)).flatten(1)
            responses = self.r.gather(1, at).view(*rows.shape, self.k)
            g = _slopes(self.losses, responses, rows).flatten(1)
            self.c.scatter_add_(1, at, -rate * g)
            change = embedding_bag(self.start + at, self.gram, mode="sum", per_sample_weights=g)
            self.r.sub_(change, alpha=rate)

    def weights(self) -> Tensor:
        """The weights w = Aᵀc, shape (S, M)."""
        return torch.bmm(self.c.unsqueeze(1), self.a.flatten(1, 2)).squeeze(1)

    def risk(self, w: Tensor) -> Tensor:
        """The risk of any model, shape (S,)."""
        u = torch.einsum("snkm,sm->snk", self.a, w)
        return self.losses(u, torch.arange(u.shape[1]).expand(len(u), -1)).double().mean(1)


class MixedPoints:
    """SGD on w for points mixed anew in every epoch (equation 4)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.w = torch.zeros_like(problem.phi.phases[:, 0])

    def run_epoch(self, epoch: int, batches: Sequence[Tensor], rate: float) -> None:
        """Steps on batches of points with the indices (S, b)."""
        x, y = self.problem.mixed(epoch)
        for first in range(0, len(x), BLOCK):
            part = slice(first, first + BLOCK)
            phi, losses, w = self.problem.phi.part(part), plain_losses(y[part]), self.w[part]
            for rows in (batch[part] for batch in batches):
                a = phi(x[part].gather(1, _rows(rows)))
                u = (a * w.unsqueeze(1)).sum(2, keepdim=True)  # bmm is many times slower
                w.sub_(torch.bmm(_slopes(losses, u, rows).mT, a).squeeze(1), alpha=rate)

    def weights(self) -> Tensor:
        """The weights w, shape (S, M)."""
        return self.w.clone()


def fixed_points(method: str, problem: Problem) -> FixedPoints:
    """The empirical risk (2), that of modified data (20), or the approximate Mixup risk (12)."""
    if method == "erm":
        return FixedPoints(problem.phi(problem.x).unsqueeze(2), plain_losses(problem.y))
    x, y = problem.modified()
    if method == "modified":
        return FixedPoints(problem.phi(x).unsqueeze(2), plain_losses(y))
    return FixedPoints(problem.phi.jets(x), approximate_losses(problem, y))


def train(
    s: Settings,
    problem: Problem,
    methods: Sequence[str] = tuple(METHODS),
    record: Callable[[dict[str, Tensor]], object] = len,
) -> dict[str, Tensor]:
    """SGD from w = 0: w of each method, all with the same batches in the same order."""
    n, models = problem.size, {}
    trainers = {
        m: MixedPoints(problem) if m == "mixup" else fixed_points(m, problem) for m in methods
    }
    for epoch in tqdm(range(s.epochs), desc="two moons", unit="epoch", leave=False, disable=None):
        orders = [epoch_order(n, seed=seed, epoch=epoch) for seed in problem.seeds]
        batches = torch.split(torch.stack(orders), s.batch_size, 1)
        for trainer in trainers.values():
            trainer.run_epoch(epoch, batches, s.learning_rate)
        if epoch + 1 in s.recorded_epochs:
            models = {method: trainer.weights() for method, trainer in trainers.items()}
            for method, w in models.items():
                if not bool(torch.isfinite(w).all()):
                    raise MixregError(
                        f"training by {method!r} diverged within {epoch + 1} epochs; lower the "
                        "learning rate"
                    )
            record(models)
    return models


# -- what is measured ------------------------------------------------------------------------------


class Measures:
    """Every number of models, by repetition: both predictions on both splits, and four risks."""

    def __init__(self, problem: Problem, risk_draws: int) -> None:
        self.problem, self.draws = problem, problem.repeated(risk_draws).mixed(0, "mixup risk")
        fixed = {"empirical": "erm", "approximate": "approximate", "modified": "modified"}
        self.risks = {f"{k}_risk": fixed_points(m, problem).risk for k, m in fixed.items()}
        self.features = {
            (split, prediction): problem.phi(problem.shrunk(x) if prediction == "rescaled" else x)
            for split, x in (("train", problem.x), ("test", problem.test_x))
            for prediction in PREDICTIONS
        }

    def logits(self, w: Tensor, split: str, prediction: str) -> Tensor:
        """f(x), or the prediction of equation 22 for one logit: shape (S, n), float64."""
        u = torch.einsum("snm,sm->sn", self.features[split, prediction], w).double()
        if prediction == "raw":
            return u
        return unshrink(u.mT, self.problem.y_mean, self.problem.law, link="sigmoid").mT

    def mixup_risk(self, models: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The Mixup risk (4) of models, all from the same fixed draws."""
        (x, y), sums = self.draws, {m: torch.zeros(len(w)).double() for m, w in models.items()}
        for points, targets in zip(torch.split(x, CHUNK, 1), torch.split(y, CHUNK, 1), strict=True):
            a = self.problem.phi(points)
            for method, w in models.items():
                sums[method] += _logistic(targets, (a * w.unsqueeze(1)).sum(2)).double().sum(1)
        return {method: total / y.shape[1] for method, total in sums.items()}

    def during(self, models: Mapping[str, Tensor]) -> Measured:
        """Loss and accuracy; the risks of a model stand with its raw prediction."""
        p, measured, mixup = self.problem, {}, self.mixup_risk(models)
        for (method, w), prediction in product(models.items(), PREDICTIONS):
            train, test = (self.logits(w, split, prediction) for split in ("train", "test"))
            measured[method, prediction] = {
                "train_nll": _logistic(p.y.double(), train).mean(1),
                "train_accuracy": _accuracy(p.y, train),
                "train_accuracy_true_labels": _accuracy(p.true_y, train),
                "test_nll": _logistic(p.test_y.double(), test).mean(1),
                "test_accuracy": _accuracy(p.test_y, test),
            }
            if prediction == "raw":
                risks = {name: risk(w) for name, risk in self.risks.items()}
                measured[method, prediction] |= risks | {"mixup_risk": mixup[method]}
        return measured

    def at_the_end(self, models: Mapping[str, Tensor]) -> Measured:
        """With calibration on the test points, and the `regularizers` R1 + R3 of equation 12."""
        measured = self.during(models)
        for (method, prediction), values in measured.items():
            logits = self.logits(models[method], "test", prediction)
            pairs = zip(logits, self.problem.test_y.long(), strict=True)
            each = [metrics(two_class_logits(u), y) for u, y in pairs]
            for name in METRICS:
                values[f"test_{name}"] = torch.tensor([getattr(m, name) for m in each]).double()
            if prediction == "raw":
                values["regularizers"] = values["approximate_risk"] - values["modified_risk"]
        return measured

    def confidences(self, w: Tensor, prediction: str) -> tuple[tuple[float, ...], Tensor]:
        """Bins of the confidence from ½ to 1, and shares of the test points there, (S, bins)."""
        logits = self.logits(w, "test", prediction)
        bins = [confidence_histogram(two_class_logits(u)) for u in logits]
        half = len(bins[0].counts) // 2
        counts = torch.tensor([b.counts[half:] for b in bins]).double()
        return bins[0].edges[half:], counts / logits.shape[1]


def _accuracy(targets: Tensor, logits: Tensor) -> Tensor:
    return ((logits > 0) == (targets > 0.5)).double().mean(1)


# -- Figure 1: what shrinking the data and what regularization do to the decision boundary ---------

PLANE_SCALE = 1.5
SIDES, ROWS, COLUMNS = ((-1.4, 2.4), (-0.9, 1.4)), 58, 96
ZOOM = ((-0.5, 1.5), (-0.2, 0.7))  # between the moons
BOUNDARIES = {
    "erm": ("original data", style.INK),
    "mixup": ("Mixup", style.RED),
    "modified": ("modified data", style.BLUE),
}

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Plane:
    """f on a grid, row by row, and the points (x₁, x₂, y) that each method is shown.

    The paper does not say how its figure was made. Here labels are not flipped and σ is 1.5: with
    the σ = 10 of appendix B.3 the boundaries are lost among islands where there are no data.
    """

    horizontal: tuple[float, ...]
    vertical: tuple[float, ...]
    logits: dict[str, Rows]
    points: dict[str, Rows]

    def disagreement(self, first: str, second: str) -> float:
        """Share of the area between the moons where two functions choose different classes."""
        (left, right), (low, high) = ZOOM
        x, y = np.array(self.horizontal), np.array(self.vertical)
        window = np.ix_((low <= y) & (y <= high), (left <= x) & (x <= right))
        signs = [np.array(self.logits[method])[window] > 0 for method in (first, second)]
        return float((signs[0] != signs[1]).mean())


def make_plane(s: Settings) -> Plane:
    """Train the three functions of Figure 1 by full-batch steps with many draws each."""
    once = make_problem(replace(s, label_noise=0.0, feature_scale=PLANE_SCALE), [0])
    many, w = once.repeated(s.picture_draws), dict[str, Tensor]()
    for problem, methods in ((once, ("erm", "modified")), (many, ("mixup",))):
        steps = replace(s, epochs=s.picture_steps, batch_size=problem.size, records=1)
        w |= train(steps, problem, methods)
    x, y = (torch.linspace(*side, n) for side, n in zip(SIDES, (COLUMNS, ROWS), strict=True))
    phi = once.phi(torch.cartesian_prod(y, x).flip(1).to(once.x.dtype).unsqueeze(0))
    seen = (once.x, once.y), many.mixed(s.picture_steps), once.modified()
    points = [torch.cat([x[0], y[0].unsqueeze(1)], 1)[:400] for x, y in seen]
    return Plane(
        _rounded(x),
        _rounded(y),
        {m: tuple(map(_rounded, (phi[0] @ w[m][0]).view(ROWS, COLUMNS))) for m in BOUNDARIES},
        {m: tuple(map(_rounded, rows)) for m, rows in zip(BOUNDARIES, points, strict=True)},
    )


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values.tolist())


def figure1(plane: Plane) -> Figure:
    """Functions in the plane, the data they were learnt from, and their boundaries enlarged."""
    figure, axes = style.panels(4, 1, size=(3.4, 2.6))
    opacities, x, y = (0.32, 0.2, 0.08), plane.horizontal, plane.vertical
    shades = [*((style.ORANGE, o) for o in opacities), *((style.SKY, o) for o in opacities[::-1])]
    classes = LinearSegmentedColormap.from_list("points", [style.ORANGE, style.PAPER, style.SKY])
    dots: Any = {"cmap": classes, "vmin": 0, "vmax": 1, "s": 10, "linewidths": 0.3}
    (left, right), (low, high) = ZOOM
    for panel, (method, (title, colour)) in zip(axes, BOUNDARIES.items(), strict=False):
        p = 1 / (1 + np.exp(-np.array(plane.logits[method])))
        panel.contourf(x, y, p, levels=(0, 0.1, 0.3, 0.5, 0.7, 0.9, 1), colors=shades)
        at = np.array(plane.points[method]).T
        panel.scatter(at[0], at[1], c=at[2], edgecolors=style.INK, **dots)
        panel.contour(x, y, plane.logits[method], [0], colors=colour, linewidths=1.8)
        frame: Any = {"fill": False, "edgecolor": style.FAINT}
        panel.add_patch(Rectangle((left, low), right - left, high - low, **frame))
        panel.set(title=title, xlim=(min(x), max(x)), ylim=(min(y), max(y)))
        panel.grid(visible=False)
    for method, (_, colour) in BOUNDARIES.items():
        axes[3].contour(x, y, plane.logits[method], [0], colors=colour, linewidths=1.8)
    axes[3].set(title="between the moons", xlim=ZOOM[0], ylim=ZOOM[1])
    lines = [Line2D([], [], color=colour) for _, colour in BOUNDARIES.values()]
    labels = [f"boundary, {title}" for title, _ in BOUNDARIES.values()]
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


# -- Figures 8 and 9: the course of training, and the confidence of predictions --------------------

PANELS = {
    "train_nll": ("train loss (nats)", 1),
    "test_nll": ("test loss (nats)", 1),
    "train_accuracy": ("train accuracy (%)", 100),
    "test_accuracy": ("test accuracy (%)", 100),
}


@dataclass(frozen=True)
class Curves:
    """What the figures draw beside the records, as means over repetitions.

    `course` is by arm and metric, a mean for each epoch; `shares` of the test points by arm, one
    for each bin of the confidence. Every repetition at every epoch would take 15 MB.
    """

    epochs: tuple[int, ...]
    course: dict[str, dict[str, tuple[MeanInterval, ...]]]
    edges: tuple[float, ...]
    shares: dict[str, tuple[MeanInterval, ...]]
    plane: Plane


def arm_name(arm: Arm) -> str:
    """Method and prediction in words."""
    return arm[0] if arm[1] == "raw" else ", ".join(arm)


def by_seed(records: Records, metric: str, arm: Arm) -> dict[int, float]:
    """A metric by repetition."""
    return records.by_seed(metric, method=arm[0], prediction=arm[1])


def mean(records: Records, metric: str, arm: Arm) -> MeanInterval:
    """A metric over repetitions."""
    return mean_interval(list(by_seed(records, metric, arm).values()))


def figure8(curves: Curves) -> Figure:
    """Loss and accuracy against epochs; ERM rescaled, which only makes it worse, is left out."""
    figure, axes = style.panels(2, 2, size=(4.2, 3.0))
    for panel, (metric, (title, factor)) in zip(axes, PANELS.items(), strict=True):
        for (method, (name, colour)), prediction in product(METHODS.items(), PREDICTIONS):
            if (method, prediction) == ("erm", "rescaled"):
                continue
            label, line = (name, "-") if prediction == "raw" else (f"{name} (rescaled)", "--")
            means = curves.course[arm_name((method, prediction))][metric]
            style.draw_band(panel, style.Line(label, colour, line, curves.epochs, means, factor))
        panel.set(title=title, xscale="log", xlabel="epoch")
        panel.xaxis.set_major_formatter("{x:g}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def figure9(curves: Curves, records: Records) -> Figure:
    """Histograms of the confidence on test points; dotted is the mean accuracy."""
    figure, axes = style.panels(len(METHODS), len(PREDICTIONS), size=(2.6, 2.2))
    edges, bars = np.array(curves.edges), dict[str, Any](align="edge", error_kw={"linewidth": 0.9})
    for panel, (prediction, method) in zip(axes, product(PREDICTIONS, METHODS), strict=True):
        label, colour = METHODS[method]
        shares = curves.shares[arm_name((method, prediction))]
        height = 100 * np.array([m.mean for m in shares])
        half = 100 * np.array([m.half_width or 0.0 for m in shares])
        panel.bar(edges[:-1], height, np.diff(edges), yerr=half, color=colour, **bars)
        accuracy = mean(records, "test_accuracy", (method, prediction)).mean
        panel.axvline(accuracy, color=style.INK, linestyle=":", linewidth=1.2)
        panel.set(xlim=(0.5, 1), ylim=(0, 60))
        panel.set(**{"title": label} if prediction == "raw" else {"xlabel": "confidence"})
        if method == "erm":
            panel.set_ylabel(f"{prediction}: test points (%)")
    return figure


# -- what the paper says, tested by differences paired by repetition -------------------------------

ERM, MIXUP, APPROXIMATE, MODIFIED = ((method, "raw") for method in METHODS)
LOWER_IS_BETTER = ("test_nll", "test_ece", "test_brier")
BETTER: dict[str, Expected] = {
    "test_accuracy": "positive",
    **dict.fromkeys(LOWER_IS_BETTER, "negative"),
}
COURSE = ("train_nll", "train_accuracy", "test_nll", "test_accuracy")


def tests() -> Iterator[tuple[Sentence, str, Arm, Arm, Expected]]:
    """Sentence, metric, and the side on which the first arm less the second should be."""
    for metric, side in BETTER.items():
        yield HELPS, metric, ("mixup", "rescaled"), MIXUP, side
    for metric, side in BETTER.items():
        yield HURTS, metric, ("erm", "rescaled"), ERM, OPPOSITE[side]
    said = "Approximate Mixup mimics the performance of Mixup, both in training and test."
    mimics = Sentence(said, "section 5, figures 2 and 8")
    for metric in COURSE:
        yield mimics, metric, APPROXIMATE, MIXUP, "zero"
        yield mimics, metric, ("approximate", "rescaled"), ("mixup", "rescaled"), "zero"
    for metric in COURSE:
        yield NEARER, metric, APPROXIMATE, ERM, "negative"
    for name, arm in (("Mixup", MIXUP), ("Approximate Mixup", APPROXIMATE)):
        unsure = Sentence(f"{name} is less confident than ERM.", "section 5, figures 7 and 9")
        yield unsure, "test_confidence", arm, ERM, "negative"
    for name, arm in (("ERM", ERM), ("ERM on modified data", MODIFIED)):
        said = f"Mixup has smaller regularization terms than {name}."
        yield Sentence(said, "section 5, figure 3"), "regularizers", MIXUP, arm, "negative"
    said = "Mixup has a larger loss on modified data than ERM on modified data."
    yield Sentence(said, "section 5, figure 3"), "modified_risk", MIXUP, MODIFIED, "positive"


NEARER = Sentence(
    "Approximate Mixup ends nearer to Mixup than ERM does.", "section 5, figures 2 and 8"
)


def claims(records: Records, setting: str) -> Iterator[Claim]:
    """What is within half the distance of the second arm to ERM counts as equal."""
    for sentence, metric, first, second, expected in tests():
        a, b, erm, mixup = (by_seed(records, metric, arm) for arm in (first, second, ERM, MIXUP))
        measured, margin = f"{arm_name(first)} − {arm_name(second)}", None
        if sentence is NEARER:
            a, b = ({k: abs(d) for k, d in paired(v, mixup).items()} for v in (a, b))
            measured = f"distance to mixup, {measured}"
        elif expected == "zero":
            margin, within = half_way(b, erm)
            measured += within
        yield from sentence.test(setting, f"{metric}: {measured}", paired(a, b), expected, margin)


# -- the document ----------------------------------------------------------------------------------

HEADINGS = {
    "train_nll": "train NLL (nats)",
    "train_accuracy": "train accuracy",
    "test_nll": "test NLL (nats)",
    "test_accuracy": "test accuracy",
    "test_ece": "test ECE",
    "test_brier": "test Brier",
}


def table(records: Records) -> Table:
    """All arms at the end of training."""
    cells = {
        arm_name(arm): [
            Entry(mean_text(mean(records, metric, arm), metric_format(metric)))
            for metric in HEADINGS
        ]
        for arm in ARMS
    }
    note = (
        "Means over repetitions ± half their 95% confidence interval. Training labels are the "
        "partly flipped ones, test labels are not flipped."
    )
    headings = ["", *HEADINGS.values()]
    return Table("end-of-training", "At the end of training", note, headings, list(cells.items()))


def caveats(s: Settings, curves: Curves, tested: Sequence[Claim]) -> Iterator[str]:
    """What the numbers do not say."""
    count = sum(claim.effect.half_width is not None for claim in tested)
    yield (
        multiplicity(f"{count} paired 95% intervals are judged here", count)
        if count
        else "There is one repetition, so there are no intervals and nothing here is shown."
    )
    if s.label_noise > 0:
        yield (
            "Only training labels are flipped, so no model that has learnt the flips is calibrated "
            "on the test points, and a larger ECE is no sign of a worse model; NLL and Brier score "
            "are the better judges."
        )
    means = [m.mean for m in curves.course["erm"]["test_nll"]]
    best, last = curves.epochs[means.index(min(means))], curves.epochs[-1]
    if best < last:
        yield (
            f"The mean test loss of ERM is lowest after {best} of the {last} epochs; comparisons "
            "with ERM depend on the epoch at which they are made."
        )


def pictures(records: Records, curves: Curves) -> Iterator[Picture]:
    """The three figures."""
    plane = curves.plane
    yield Picture(
        "fig1",
        "Figure 1: data shift and regularization",
        "Functions learnt from the original data, with Mixup and from modified data. Colours are "
        "the predicted probability of the classes, dots the data that the method is shown, lines "
        "the decision boundaries. Between the moons, from the boundary of the original data to "
        "that of the modified data is the shift of the data, from there to that of Mixup the "
        f"regularization. Labels are not flipped here and σ is {PLANE_SCALE:g}.",
        "Of the area between the moons, the shift of the data changes the class in "
        f"{plane.disagreement('erm', 'modified'):.1%} and regularization in "
        f"{plane.disagreement('modified', 'mixup'):.1%}.",
        draw(lambda: figure1(plane)),
    )
    yield Picture(
        "fig8",
        "Figure 8: course of training",
        "Lines are means over repetitions, bands their 95% confidence intervals. Losses are those "
        "of unmixed points; the training labels are the partly flipped ones. Dashes are "
        "predictions by equation 22; those of ERM, which only make it worse, are left out.",
        "The numbers at the end of training stand in the table.",
        draw(lambda: figure8(curves)),
    )
    sure = ", ".join(
        f"{arm_name(arm)} {mean(records, 'test_confidence', arm).mean:.1%}" for arm in ARMS
    )
    yield Picture(
        "fig9",
        "Figure 9: confidence of the predictions",
        "Test points by the probability of their more probable class. Bars are mean shares over "
        "repetitions with their 95% confidence intervals; the dotted line is the mean accuracy, "
        "which the mean confidence of calibrated predictions equals.",
        f"Mean confidence: {sure}.",
        draw(lambda: figure9(curves, records)),
    )


def document(s: Settings, records: Records, curves: Curves, where: Mapping[str, Any]) -> Document:
    """Figures 1, 8 and 9 with what the paper says of them, tested."""
    scale = f"σ = {s.feature_scale:.3g}"
    tested = list(claims(records, f"two moons, random features, {scale}, α = {s.alpha:g}"))
    return Document(
        title=f"Two moons: Figures 1, 8 and 9 ({scale})",
        subtitle=f"logistic regression on {s.num_features} random Fourier features, "
        f"{s.repetitions} repetitions, {s.epochs} epochs, α = {s.alpha:g}, {s.label_noise:.0%} of "
        "the training labels flipped",
        caveats=list(caveats(s, curves, tested)),
        tables=[table(records)],
        pictures=list(pictures(records, curves)),
        claims=tested,
        settings=[asdict(s)],
        environment=[where],
        records=records,
        numbers=msgspec.to_builtins(curves),
    )


# -- the experiment --------------------------------------------------------------------------------

NAME = "two-moons"


def run(s: Settings) -> tuple[Records, Curves]:
    """Train all repetitions and methods, and measure them."""
    problem, history = make_problem(s, range(s.repetitions)), list[Measured]()
    measures = Measures(problem, s.risk_draws)
    models = train(s, problem, record=lambda now: history.append(measures.during(now)))
    records = Records(
        Record("two moons, random features", *arm[:1], s.alpha, seed, *arm[1:], metric, value)
        for arm, values in measures.at_the_end(models).items()
        for metric, each in values.items()
        for seed, value in zip(problem.seeds, each.tolist(), strict=True)
    )
    course = {
        arm_name(arm): {
            name: tuple(mean_interval(now[arm][name].tolist()) for now in history)
            for name in history[0][arm]
        }
        for arm in ARMS
    }
    bins = {arm: measures.confidences(models[arm[0]], arm[1]) for arm in ARMS}
    shares = {
        arm_name(arm): tuple(mean_interval(each.tolist()) for each in counts.mT)
        for arm, (_, counts) in bins.items()
    }
    return records, Curves(s.recorded_epochs, course, bins[ERM][0], shares, make_plane(s))


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Train, unless the same experiment is finished, and write the figures and their numbers."""
    s, folder = PRESETS[options.size], options.directory
    s = replace(s, repetitions=options.seeds or s.repetitions)
    check_replaceable(folder, name=NAME)
    made = finished(s, folder / f"{NAME}.json")
    if made is None:
        begin, work = time.monotonic(), time.process_time()
        records, curves = run(s)
        took = time.monotonic() - begin, time.process_time() - work
        where = environment() | dict(zip(("seconds", "processor_seconds"), took, strict=True))
        made = document(s, records, curves, where)
    return made.text(), write_document(made, folder, name=NAME)


def finished(s: Settings, file: Path) -> Document | None:
    """What the same experiment left, None where there is nothing that can be read."""
    try:
        stored = read_document(file)
    except CheckpointError:
        return None
    here, there = asdict(s), stored.settings[0]
    changed = (name for name in here if here[name] != there.get(name))
    if others := [f"{name}: {there.get(name)!r} there, {here[name]!r} here" for name in changed]:
        raise ConfigurationError(
            f"{file} holds the experiment with other settings ({'; '.join(others)}); choose "
            "another --output, or delete it"
        )
    return stored
