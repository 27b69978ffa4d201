"""Laws of perturbation: mixup taken apart into what it does to inputs, to labels and to both.

By Theorem 1 mixup trains on the modified data (x̃_i, ỹ_i) of equation 5 under perturbations (δ, ε)
of inputs and labels at once. Every law here keeps the modified data and changes the perturbations:

    mixup         δ = (θ − θ̄) d_i + (1 − θ) d_j,  ε = (θ − θ̄) e_i + (1 − θ) e_j        (6)
    inputs-only   δ as in mixup, ε = 0
    labels-only   δ = 0, ε as in mixup
    independent   δ and ε as in mixup, each with its own θ and j
    gaussian      (δ, ε) normal with the second moments (9) of mixup

with d_i = x_i − x̄, e_i = y_i − ȳ. To second order (equation 12) only the second moments count:
`moments_kept` says which blocks of Lemma 1 a law keeps, and gaussian is mixup there. For losses
that are affine in y, such as cross-entropy, label perturbations that are independent of δ average
out: labels-only then has the expected risk (20) of the modified data, independent that of
inputs-only.

"Inputs only" in the literature leaves the labels y_i as they are; here they are shrunk to ỹ_i, so
that two laws differ in the perturbation alone.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mixreg.laws import MixingLaw
from mixreg.names import check_name
from mixreg.partners import draw_independent_partners, draw_partner, paired_targets
from mixreg.prediction import shrink
from mixreg.statistics import TrainingStatistics
from mixreg.streams import Stream

PerturbationKind = Literal["mixup", "inputs-only", "labels-only", "independent", "gaussian"]


class MomentsKept(NamedTuple):
    """Which of Σ_xx(i), Σ_yy(i) and Σ_xy(i) of Lemma 1 a law of perturbation has; else zero."""

    inputs: bool
    labels: bool
    cross: bool


class PerturbedBatch(NamedTuple):
    """Perturbed modified data: inputs x̃ + δ and targets ỹ + ε."""

    inputs: Tensor
    targets: Tensor


_KEPT = {
    "mixup": MomentsKept(inputs=True, labels=True, cross=True),
    "inputs-only": MomentsKept(inputs=True, labels=False, cross=False),
    "labels-only": MomentsKept(inputs=False, labels=True, cross=False),
    "independent": MomentsKept(inputs=True, labels=True, cross=False),
    "gaussian": MomentsKept(inputs=True, labels=True, cross=True),
}


def moments_kept(kind: PerturbationKind) -> MomentsKept:
    """The second moments of a law of perturbation.

    Args:
        kind: the law.

    Returns:
        Which blocks of (9) it keeps.

    Raises:
        ValueError: no law has that name.

    Example:
        >>> moments_kept("independent")
        MomentsKept(inputs=True, labels=True, cross=False)
    """
    check_name("perturbation", kind, get_args(PerturbationKind))
    return _KEPT[kind]


def perturbed_batch(
    x: Tensor,
    y: Tensor,
    stats: TrainingStatistics,
    law: MixingLaw,
    kind: PerturbationKind,
    *,
    generator: torch.Generator,
) -> PerturbedBatch:
    """Draw a perturbation of the modified data, to be trained on with the ordinary loss.

    Partners come from the batch as in `draw_partner`. For a batch drawn without replacement the
    second moments of (δ, ε), given i, are the blocks of (9) that the law keeps, exactly. Gaussian
    noise is a linear combination of all d_k and e_k of the batch, with the same coefficients for
    inputs and labels: given the batch it is normal, and its covariance is (9) on average over
    batches. It takes n² products of inputs, and its labels sum to one but leave the simplex.

    Args:
        x: inputs in the model's input space, floating point, shape (n, ...), n at least 2.
        y: class indices (n,), or soft labels (n, c), or regression targets.
        stats: x̄, ȳ and the number of examples of the training data.
        law: law of λ.
        kind: law of perturbation.
        generator: source of the draws, on the CPU.

    Returns:
        Perturbed inputs and targets.

    Raises:
        ValueError: an unknown law of perturbation, a batch of one, or shapes that are not those of
            the statistics.
        TypeError: integer inputs or ambiguous labels.

    Source: Carratino et al., Theorem 1, Lemma 1, and the remark after equation 11.

    Example:
        >>> from mixreg import Beta
        >>> x, y = torch.tensor([[-4.0], [4.0]]), torch.tensor([0, 1])
        >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
        >>> g = torch.Generator().manual_seed(0)
        >>> perturbed_batch(x, y, stats, Beta(1.0), "labels-only", generator=g).inputs
        tensor([[-3.],
                [ 3.]])
    """
    kept = moments_kept(kind)
    targets = paired_targets(x, y, stats)
    n, count = len(x), stats.count
    if kind == "gaussian":
        coefficients = _gaussian_coefficients(n, count, law, generator)
        return PerturbedBatch(
            shrink(x, stats.x_mean, law) + _combined(coefficients, x, stats.x_mean),
            shrink(targets, stats.y_mean, law) + _combined(coefficients, targets, stats.y_mean),
        )
    partner = label_partner = draw_partner(n, count, generator=generator)
    theta = label_theta = law.sample_theta(n, generator=generator)
    if kind == "independent":
        partner, label_partner = draw_independent_partners(n, count, generator=generator)
        label_theta = law.sample_theta(n, generator=generator)
    return PerturbedBatch(
        _mixed(x, partner, theta) if kept.inputs else shrink(x, stats.x_mean, law),
        _mixed(targets, label_partner, label_theta)
        if kept.labels
        else shrink(targets, stats.y_mean, law),
    )


class PerturbationSampler:
    """A law of perturbation with its own state, for training loops.

    Args:
        stats: x̄, ȳ and the number of examples of the training data.
        law: law of λ.
        kind: law of perturbation.
        generator: CPU source of all draws, the own state of this object; by default a new one
            seeded from PyTorch's initial seed. Each process of `torch.distributed` draws its own
            stream from it.

    Raises:
        ValueError: an unknown law of perturbation, or a generator that is not on the CPU.

    Example:
        >>> from mixreg import Beta
        >>> x, y = torch.randn(8, 3), torch.arange(8) % 2
        >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
        >>> perturb = PerturbationSampler(stats, Beta(1.0), "gaussian")
        >>> inputs, targets = perturb(x, y)
        >>> inputs.shape, targets.shape
        (torch.Size([8, 3]), torch.Size([8, 2]))
    """

    def __init__(
        self,
        stats: TrainingStatistics,
        law: MixingLaw,
        kind: PerturbationKind = "mixup",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        moments_kept(kind)
        self.stats, self.law, self.kind = stats, law, kind
        self._stream = Stream(generator)

    def __call__(self, x: Tensor, y: Tensor) -> PerturbedBatch:
        """Perturb one batch; neither `x` nor `y` is changed.

        Args:
            x: inputs, as for `perturbed_batch`.
            y: labels, as for `perturbed_batch`.

        Returns:
            Perturbed inputs and targets.
        """
        generator = self._stream.generator()
        return perturbed_batch(x, y, self.stats, self.law, self.kind, generator=generator)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the generator, to continue the same draws later.

        Returns:
            The state.
        """
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state.

        Args:
            state: what `state_dict` returned in the same process.
        """
        self._stream.load_state_dict(state)


def _mixed(values: Tensor, partner: Tensor, theta: Tensor) -> Tensor:
    """θ v_i + (1 − θ) v_j, which is the modified and perturbed value by Theorem 1."""
    partner = partner.to(values.device, non_blocking=True)
    weight = theta.to(values.dtype).to(values.device, non_blocking=True)
    rows = weight.reshape(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values[partner], values, rows)


def _gaussian_coefficients(
    n: int, count: int, law: MixingLaw, generator: torch.Generator
) -> Tensor:
    """Normal A (n, n) so that Σ_k A_ik (d_k, e_k) has covariance (9), averaged over batches."""
    # Given i, each of the other N − 1 examples is in the batch with probability (n − 1)/(N − 1).
    others = law.gamma_squared * (1 - 1 / count) / (n - 1)
    own = law.theta_variance + law.gamma_squared / count
    variances = torch.full((n, n), others, dtype=torch.float64, device="cpu").fill_diagonal_(own)
    normal = torch.randn(n, n, generator=generator, dtype=torch.float64, device="cpu")
    return normal * variances.sqrt()


def _combined(coefficients: Tensor, values: Tensor, mean: Tensor) -> Tensor:
    centred = values - mean.to(values.device, values.dtype)
    weights = coefficients.to(values.dtype).to(values.device, non_blocking=True)
    combined: Tensor = torch.tensordot(weights, centred, dims=1)
    return combined
