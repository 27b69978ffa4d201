"""Means over seeds and differences of predictions, with confidence intervals.

Over seeds the interval is Student's, of differences paired by seed; what one model's test examples
show of a difference is the paired bootstrap over examples.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from mixreg._random import check_generator
from mixreg.calibration import check_logits, row_blocks
from mixreg.evaluation.metrics import ECE_BINS, MetricName, Scores, scores

LEVEL = 0.95
_ROUNDING = 1e-9


class MeanInterval(NamedTuple):
    """A mean and half the width of its 95% confidence interval.

    `half_width` is None for a single value, which says nothing about its spread.
    """

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width

    @property
    def is_degenerate(self) -> bool:
        """Whether the values are all equal, so that their interval has no width.

        Counts over a few examples can be equal in all seeds by chance; that is no certainty.
        """
        return self.half_width is not None and self.half_width <= _ROUNDING * abs(self.mean)

    @property
    def sign(self) -> int:
        """1 or −1 when the whole interval lies above or below 0, else 0.

        Without an interval, or with one of no width, it is 0.
        """
        if self.half_width is None or self.is_degenerate or abs(self.mean) <= self.half_width:
            return 0
        return 1 if self.mean > 0 else -1


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Mean with its 95% confidence interval by Student's t with n − 1 degrees of freedom.

    Args:
        values: one finite value a seed.

    Returns:
        Mean, half width (None for one value) and n.

    Raises:
        ValueError: no values, or one that is not finite.

    Source: Student, "The probable error of a mean", Biometrika 1908.

    Example:
        >>> mean, half_width, n = mean_interval([1.0, 2.0, 3.0])
        >>> mean, round(half_width, 4), n
        (2.0, 2.4841, 3)
    """
    n = len(values)
    if n == 0:
        raise ValueError("need at least one value for a mean, got none")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"values must be finite, got {list(values)}")
    mean = math.fsum(values) / n
    if n == 1:
        return MeanInterval(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    quantile = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return MeanInterval(mean, quantile * math.sqrt(variance / n), n)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> MeanInterval:
    """Mean of a − b over seeds, with the confidence interval of the differences.

    Args:
        a: value by seed.
        b: value by seed, for the same seeds.

    Returns:
        Mean difference, half width (None for one seed) and n.

    Raises:
        ValueError: different seeds on the two sides, none, or a value that is not finite.

    Example:
        >>> paired_difference({0: 3.0, 1: 5.0}, {0: 2.0, 1: 4.0})
        MeanInterval(mean=1.0, half_width=0.0, n=2)
    """
    if a.keys() != b.keys():
        raise ValueError(
            "a paired difference needs the same seeds on both sides, got "
            f"{sorted(a)} and {sorted(b)}"
        )
    return mean_interval([a[seed] - b[seed] for seed in sorted(a)])


RESAMPLES = 2000
RESAMPLED: tuple[MetricName, ...] = ("accuracy", "nll", "brier", "ece")

_GROUPS = 2**14
"""More examples than this are dealt to so many groups, and whole groups are drawn."""

_WEIGHTS = 2**22
"""Weights of groups that are drawn at once."""


class ExampleSums:
    """Sums of what the examples add to the metrics of several predictions, by groups of examples.

    Up to 2¹⁴ examples are a group each; more are dealt to 2¹⁴ groups at random. Every metric is a
    function of the sums, so that memory does not grow with the examples.
    """

    def __init__(self, count: int, predictions: int, generator: torch.Generator) -> None:
        check_generator(generator, optional=False)
        self._count, self._seen, self._generator = count, 0, generator
        groups = min(count, _GROUPS)
        self._sizes = torch.zeros(groups, dtype=torch.float64)
        terms = len(RESAMPLED) - 1 + ECE_BINS
        self._sums = torch.zeros(groups, predictions, terms, dtype=torch.float64)

    def add(self, predictions: Sequence[Scores]) -> None:
        """Take the next examples, as every prediction scores them."""
        n, groups = len(predictions[0].hit), len(self._sizes)
        if self._count > groups:
            group = torch.randint(groups, (n,), generator=self._generator)
        else:
            group = torch.arange(self._seen, self._seen + n)
        self._seen += n
        self._sizes.index_add_(0, group, torch.ones(n, dtype=torch.float64))
        for k, of in enumerate(predictions):
            gap = of.hit - of.confidence
            first_bin = len(RESAMPLED) - 1
            for term, values in (
                (torch.tensor(0), of.hit),
                (torch.tensor(1), of.nll),
                (torch.tensor(2), of.brier),
                (first_bin + of.bin, gap),
            ):
                self._sums[:, k].index_put_((group, term), values, accumulate=True)

    def resample(self, resamples: int) -> tuple[Tensor, Tensor]:
        """Metrics of the examples (k, 4), and of sets drawn from them with repeats (r, k, 4)."""
        groups = len(self._sizes)
        rows = max(1, min(resamples, _WEIGHTS // groups))
        drawn = []
        for start in range(0, resamples, rows):
            size = (min(rows, resamples - start), groups)
            index = torch.randint(groups, size, generator=self._generator)
            weights = torch.zeros(size, dtype=torch.float64)
            drawn.append(self._metrics(weights.scatter_add_(1, index, torch.ones_like(weights))))
        return self._metrics(torch.ones(1, groups, dtype=torch.float64))[0], torch.cat(drawn)

    def _metrics(self, weights: Tensor) -> Tensor:
        sums = (weights @ self._sums.flatten(1)).reshape(-1, *self._sums.shape[1:])
        means = sums / (weights @ self._sizes)[:, None, None]
        first_bin = len(RESAMPLED) - 1
        ece = means[..., first_bin:].abs().sum(-1, keepdim=True)
        return torch.cat([means[..., :first_bin], ece], -1)


def paired_bootstrap(
    first: Tensor,
    second: Tensor,
    labels: Tensor,
    *,
    resamples: int = RESAMPLES,
    generator: torch.Generator,
) -> dict[MetricName, MeanInterval]:
    """Differences of two predictions of one model, with intervals by resampling the examples.

    d ± z s, where d is the first metric less the second, s the standard deviation of d over sets of
    n examples drawn from the given ones with repeats, both predictions on the same set, and z the
    97.5% quantile of the normal law. The interval is for this model on the distribution of these
    examples; that of a way of training needs several seeds.

    The ECE counts chance as error: n examples give a positive one even to a calibrated model. Its
    interval is for the difference that n examples show. Quantiles of the resampled ECE would count
    chance twice, which makes them miss it. More than 2¹⁴ examples are dealt to as many groups at
    random, and whole groups are drawn.

    Args:
        first: logits, shape (n, c) with c ≥ 2.
        second: logits of the same examples, shape (n, c).
        labels: class indices, shape (n,).
        resamples: number of sets, at least 100.
        generator: of the draws, on the CPU.

    Returns:
        For accuracy, nll, brier and ece the difference, half the width of its 95% interval, and n.

    Raises:
        TypeError: logits, labels or a generator of another type.
        ValueError: no example, shapes that do not fit, logits that are not finite, a label that is
            no class, or too few resamples.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13.

    Example:
        >>> logits, labels = torch.eye(3).repeat(20, 1), torch.arange(3).repeat(20)
        >>> g = torch.Generator().manual_seed(0)
        >>> change = paired_bootstrap(3 * logits, logits, labels, generator=g)
        >>> round(change["nll"].mean, 4), change["nll"].n
        (-0.4565, 60)
    """
    check_logits(first, labels)
    check_logits(second, labels)
    check_resamples(resamples)
    if first.shape != second.shape:
        raise ValueError(
            "both predictions need logits of the same shape, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    sums = ExampleSums(len(labels), 2, generator)
    for rows in row_blocks(first):
        sums.add([scores(logits[rows], labels[rows]) for logits in (first, second)])
    return differences(*sums.resample(resamples), len(labels))[0, 1]


def differences(
    metrics: Tensor, drawn: Tensor, n: int
) -> dict[tuple[int, int], dict[MetricName, MeanInterval]]:
    """The interval of every metric of every two predictions, the second subtracted."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    found = {}
    for a, b in ((a, b) for a in range(len(metrics)) for b in range(len(metrics)) if a != b):
        mean = (metrics[a] - metrics[b]).tolist()
        half = (z * (drawn[:, a] - drawn[:, b]).std(0)).tolist()
        pairs = zip(RESAMPLED, mean, half, strict=True)
        found[a, b] = {name: MeanInterval(d, h, n) for name, d, h in pairs}
    return found


def check_resamples(resamples: int) -> None:
    """Refuse so few resamples that their spread says little."""
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100, got {resamples}")
