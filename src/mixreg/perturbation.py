"""Mixup as perturbed empirical risk minimisation: shrunk data and their perturbations (Theorem 1).

A mixed example is θ x_i + (1 − θ) x_j = x̃_i + δ_i, and θ y_i + (1 − θ) y_j = ỹ_i + ε_i likewise.
With d_i = x_i − x̄ and e_i = y_i − ȳ everything is centred:

    x̃_i = x̄ + θ̄ d_i,  ỹ_i = ȳ + θ̄ e_i,  δ_i = (θ − θ̄) d_i + (1 − θ) d_j,  ε_i likewise.

By Theorem 1 mixup trains on the modified data (x̃_i, ỹ_i) of equation 5 under perturbations (δ, ε)
of inputs and labels at once. Every law here keeps the modified data and changes the perturbations:

    mixup         δ = (θ − θ̄) d_i + (1 − θ) d_j,  ε = (θ − θ̄) e_i + (1 − θ) e_j        (6)
    inputs-only   δ as in mixup, ε = 0
    labels-only   δ = 0, ε as in mixup
    independent   δ and ε as in mixup, each with its own θ and j
    gaussian      (δ, ε) normal with the second moments (9) of mixup

To second order (equation 12) only the second moments count: `moments_kept` says which blocks of
Lemma 1 a law keeps, and gaussian is mixup there. For losses that are affine in y, such as
cross-entropy, label perturbations that are independent of δ average out: labels-only then has the
expected risk (20) of the modified data, independent that of inputs-only.

"Inputs only" in the literature leaves the labels y_i as they are; here they are shrunk to ỹ_i, so
that two laws differ in the perturbation alone.

From the regularizer to the augmentation: a regularizer that is wanted, such as the Jacobian penalty
½ Σ_k v_k ‖∇f·a_k‖² of the squared error, is had by training under any (δ, ε) of mean zero with the
moments that belong to it,

    E δδᵀ = Σ_xx = Σ_k v_k a_k a_kᵀ + diag(s),   E δεᵀ = Σ_xy,   E εεᵀ = Σ_yy.

With G = Σ_yx Σ_xx⁺ and C Cᵀ = Σ_yy − G Σ_xx Gᵀ,

    δ = Σ_k √v_k z_k a_k + √s ∘ z',   ε = G δ + C z''

has exactly these, where all z are independent with mean 0 and variance 1. Such G and C exist if and
only if the joint covariance is positive semidefinite.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mixreg._checks import as_rows, check_floating, check_inputs, check_tensor, fits
from mixreg._errors import check_name
from mixreg.covariance import Whitening, principal_axes
from mixreg.laws import MixingLaw
from mixreg.pairing import draw_independent_partners, draw_partner, paired_targets
from mixreg.prediction import shrink
from mixreg.reference import Moments
from mixreg.statistics import TrainingStatistics

PerturbationKind = Literal["mixup", "inputs-only", "labels-only", "independent", "gaussian"]


class ModifiedData(NamedTuple):
    """The modified data x̃ and ỹ, shaped like the data."""

    inputs: Tensor
    targets: Tensor


class Perturbation(NamedTuple):
    """Perturbations δ and ε, shaped like the data, and the θ and j that made them, (n,) each."""

    inputs: Tensor
    targets: Tensor
    theta: Tensor
    partner: Tensor


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


def modified(x: Tensor, y: Tensor, x_mean: Tensor, y_mean: Tensor, law: MixingLaw) -> ModifiedData:
    """Data shrunk towards their mean: x̃ = x̄ + θ̄ (x − x̄), ỹ = ȳ + θ̄ (y − ȳ) (equation 5).

    Args:
        x: inputs, floating point, shape (n, ...).
        y: targets, floating point, shape (n, ...).
        x_mean: x̄, the shape of one input.
        y_mean: ȳ, the shape of one target.
        law: law of λ.

    Returns:
        x̃ and ỹ in the dtypes of `x` and `y`.

    Raises:
        TypeError: integer inputs or targets.
        ValueError: shapes that do not fit together.

    Source: Carratino et al., Theorem 1.

    Example:
        >>> from mixreg.laws import Beta
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.eye(2)
        >>> modified(x, y, x.mean(0), y.mean(0), Beta(1.0)).targets
        tensor([[0.8750, 0.1250],
                [0.1250, 0.8750]])
    """
    _check_pair(x, y, x_mean, y_mean)
    return ModifiedData(shrink(x, x_mean, law), shrink(y, y_mean, law))


def perturbation(
    x: Tensor,
    y: Tensor,
    x_mean: Tensor,
    y_mean: Tensor,
    law: MixingLaw,
    *,
    theta: Tensor,
    partner: Tensor,
) -> Perturbation:
    """The perturbations of given θ and j: δ_i = (θ − θ̄) d_i + (1 − θ) d_j, ε_i likewise (6)."""
    _check_pair(x, y, x_mean, y_mean)
    if theta.shape != (len(x),) or partner.shape != (len(x),):
        raise ValueError(
            f"theta and partner must have shape ({len(x)},), got {tuple(theta.shape)} and "
            f"{tuple(partner.shape)}"
        )
    delta, epsilon = (
        _perturb(values, mean, law, theta, partner) for values, mean in ((x, x_mean), (y, y_mean))
    )
    return Perturbation(delta, epsilon, theta, partner)


def draw_perturbation(
    x: Tensor,
    y: Tensor,
    x_mean: Tensor,
    y_mean: Tensor,
    law: MixingLaw,
    *,
    generator: torch.Generator,
) -> Perturbation:
    """Draw θ by the law and j uniformly, and form δ and ε (equation 6).

    Both have mean zero when x̄ and ȳ are the means of the given data, from which the partners come.

    Args:
        x: inputs, floating point, shape (n, ...).
        y: targets, floating point, shape (n, ...).
        x_mean: x̄, the shape of one input.
        y_mean: ȳ, the shape of one target.
        law: law of λ.
        generator: source of θ and j.

    Returns:
        δ, ε, θ and j; j = i is allowed.

    Raises:
        TypeError: integer inputs or targets.
        ValueError: shapes that do not fit together.

    Source: Carratino et al., Theorem 1.

    Example:
        >>> from mixreg.laws import Constant
        >>> x, y = torch.zeros(3, 2), torch.eye(3)
        >>> g = torch.Generator().manual_seed(0)
        >>> draw = draw_perturbation(x, y, x.mean(0), y.mean(0), Constant(0.5), generator=g)
        >>> draw.theta
        tensor([0.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    n = len(x)
    theta = law.sample_theta(n, generator=generator).to(x.device)
    partner = torch.randint(n, (n,), generator=generator, device=generator.device).to(x.device)
    return perturbation(x, y, x_mean, y_mean, law, theta=theta, partner=partner)


def moments_kept(kind: PerturbationKind) -> MomentsKept:
    """Which second moments (9) a law of perturbation has."""
    check_name("perturbation", kind, get_args(PerturbationKind))
    return _KEPT[kind]


def perturb(
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
        >>> perturb(x, y, stats, Beta(1.0), "labels-only", generator=g).inputs
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
    inputs, labels = shrink(x, stats.x_mean, law), shrink(targets, stats.y_mean, law)
    if kept.inputs:
        inputs = _mixed(x, partner, theta)
    if kept.labels:
        labels = _mixed(targets, label_partner, label_theta)
    return PerturbedBatch(inputs, labels)


def _perturb(
    values: Tensor, mean: Tensor, law: MixingLaw, theta: Tensor, partner: Tensor
) -> Tensor:
    centred = values - mean.to(values.device, values.dtype)
    # θ − θ̄ as (1 − θ̄) − (1 − θ): near θ = 1 the law knows 1 − θ̄ to more digits than θ̄.
    other = 1 - theta.double()
    own = law.shrinkage - other
    return as_rows(own, values) * centred + as_rows(other, values) * centred[partner]


def _mixed(values: Tensor, partner: Tensor, theta: Tensor) -> Tensor:
    """θ v_i + (1 − θ) v_j, which is the modified and perturbed value by Theorem 1."""
    partner = partner.to(values.device, non_blocking=True)
    return torch.lerp(values[partner], values, as_rows(theta, values))


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


def _check_pair(x: Tensor, y: Tensor, x_mean: Tensor, y_mean: Tensor) -> None:
    check_inputs(x)
    check_floating(y, "targets", "y")
    for name, values, mean in (("inputs", x, x_mean), ("targets", y, y_mean)):
        same = values.ndim > 0 and values.shape[1:] == mean.shape
        if not (same or (name == "inputs" and fits(values, mean))):
            raise ValueError(
                f"the mean of {name} of shape {tuple(values.shape)} must have the shape of one "
                f"of them, got {tuple(mean.shape)}"
            )
    if len(x) != len(y):
        raise ValueError(f"need one target for each input, got {len(y)} for {len(x)}")


_TOLERANCE = 1e-9


class Displacement(NamedTuple):
    """δ, shape (n, ...) of inputs, and ε, shape (n, m)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class DesignedPerturbation:
    """Perturbations (δ, ε) of mean zero with given second moments, by `design_perturbation`.

    Args:
        directions: √v_k a_k, float64, shape (r, ...).
        diagonal: s, the shape of one input.
        regression: G, shape (m, d); m = 0 where labels are left alone.
        remainder: C, shape (m, m).
    """

    directions: Tensor
    diagonal: Tensor
    regression: Tensor
    remainder: Tensor

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many numbers z, z' and z'' a draw takes; no z' where s = 0."""
        noisy = self.diagonal.numel() if self.diagonal.any() else 0
        return len(self.directions), noisy, len(self.remainder)

    def place(self, z: Tensor) -> Displacement:
        """The perturbations of given z, z' and z'', side by side, shape (n, sum of `sizes`)."""
        along, apart, rest = torch.split(z.to(self.directions), list(self.sizes), 1)
        delta = torch.tensordot(along, self.directions, 1)
        if self.sizes[1]:
            delta = delta + self.diagonal.sqrt() * apart.reshape(delta.shape)
        return Displacement(delta, delta.flatten(1) @ self.regression.T + rest @ self.remainder.T)

    def perturb(
        self,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator,
        noise: Literal["signs", "gaussian"] = "signs",
    ) -> PerturbedBatch:
        """A batch x (n, ...), y (n, m) under random signs, which are bounded, or normal numbers."""
        check_name("noise", noise, ("signs", "gaussian"))
        self.check_fits(x, y)
        size = len(x), sum(self.sizes)
        z = torch.randn(size, generator=generator, dtype=torch.float64, device="cpu")
        delta, epsilon = self.place(z.sign() if noise == "signs" else z)
        inputs = x + delta.to(x.device, x.dtype)
        if len(self.regression):
            y = y + epsilon.to(y.device, y.dtype).reshape(y.shape)
        return PerturbedBatch(inputs, y)

    def dense(self) -> Moments:
        """Σ_xx (d, d), Σ_xy (d, m) and Σ_yy (m, m), for small dimensions."""
        rows = self.directions.flatten(1)
        xx = rows.T @ rows + self.diagonal.flatten().diag()
        xy = xx @ self.regression.T
        return Moments(xx, xy, self.regression @ xy + self.remainder @ self.remainder.T)

    def check_fits(self, x: Tensor, y: Tensor) -> None:
        """Refuse data of other shapes than the perturbation's."""
        shape, m = tuple(self.diagonal.shape), len(self.regression)
        if x.shape[1:] != shape:
            raise ValueError(f"the perturbation is of inputs {shape}, got {tuple(x.shape[1:])}")
        if m and not (y.is_floating_point() and y.shape[1:].numel() == m):
            raise ValueError(
                f"the perturbation is of {m} floating-point values of a target, got {y.dtype} of "
                f"shape {tuple(y.shape)}; mixreg.dense_targets makes vectors of class indices"
            )


def design_perturbation(
    directions: Tensor,
    variances: Tensor | None = None,
    *,
    diagonal: Tensor | float = 0.0,
    target_covariance: Tensor | None = None,
    cross_covariance: Tensor | None = None,
) -> DesignedPerturbation:
    """A perturbation with Σ_xx = Σ_k v_k a_k a_kᵀ + diag(s), Σ_xy and Σ_yy, exactly.

    Args:
        directions: a_k, floating point, shape (r, ...) with the shape of inputs, such as
            `principal_directions(x)`; r may be 0.
        variances: v_k ≥ 0, shape (r,), by default 1.
        diagonal: s ≥ 0, of the shape of one input, or one number for all.
        target_covariance: Σ_yy, shape (m, m); by default labels are left alone.
        cross_covariance: Σ_xy, shape (d, m) with inputs as vectors; by default 0. With a diagonal
            it takes the singular values of a matrix (r + d, d).

    Returns:
        The perturbation; it draws, and `mixreg.risk.approximate_perturbed_risk` has R1 to R4.

    Raises:
        TypeError: directions that are no floating-point tensor.
        ValueError: shapes that do not fit, numbers that are not finite, a covariance that is not
            symmetric and positive semidefinite, or a Σ_xy that the others do not allow.

    Source: Carratino et al., Theorem 1, equation 12 and the question that closes section 6.

    Example:
        >>> design_perturbation(torch.tensor([[3.0, 4.0]]), diagonal=1.0).dense().xx
        tensor([[10., 12.],
                [12., 17.]], dtype=torch.float64)
    """
    check_inputs(directions)
    if directions.ndim < 2:
        got = tuple(directions.shape)
        raise ValueError(f"directions must be (r, ...), got {got}; one is directions[None]")
    (r, *shape), d = directions.shape, directions.shape[1:].numel()
    m = 0 if target_covariance is None else len(target_covariance)
    s = torch.as_tensor(diagonal)
    given = {
        "directions": (directions, [r, *shape]),
        "variances": (torch.ones(r) if variances is None else variances, [r]),
        "diagonal": (s.expand(shape) if s.ndim == 0 else s, shape),
        "target_covariance": (target_covariance, [m, m]),
        "cross_covariance": (cross_covariance, [d, m]),
    }
    a, v, s, yy, xy = (_checked(name, *value, directions) for name, value in given.items())
    for name, values in (("variances", v), ("diagonal", s)):
        if bool((values < 0).any()):
            raise ValueError(f"{name} must be at least 0, got {float(values.min()):g}")
    _root(yy, yy, "target_covariance must be symmetric and positive semidefinite")
    a = a * v.sqrt().reshape(r, *(1,) * len(shape))
    explained, regression = torch.zeros_like(yy), xy.new_zeros(m, d)
    if bool(xy.any()):
        basis, scale = principal_axes(a, s)
        solution = basis.T @ xy / scale.unsqueeze(1)
        explained, regression = solution.T @ solution, (solution.T / scale) @ basis.T
        if (basis * scale @ solution - xy).norm() > _TOLERANCE * xy.norm():
            raise ValueError(
                "cross_covariance lies outside the span of the input covariance, where inputs are "
                "not perturbed; add directions or a diagonal, or project it on them"
            )
    contradiction = "cross_covariance asks for more than the others allow; scale it down"
    return DesignedPerturbation(a, s, regression, _root(yy - explained, yy, contradiction))


def principal_directions(x: Tensor) -> Tensor:
    """Orthonormal principal directions of inputs (n, ...), by falling variance, shape (r, ...)."""
    return Whitening.from_data(x).basis.T.reshape(-1, *x.shape[1:])


def _checked(name: str, values: Tensor | None, shape: list[int], like: Tensor) -> Tensor:
    """Finite values of a shape, in float64 beside the directions; none are zeros."""
    if values is None:
        return torch.zeros(shape, dtype=torch.float64, device=like.device)
    check_tensor(values, name, name)
    if list(values.shape) != shape:
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {tuple(values.shape)}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return values.detach().to(like.device, torch.float64)


def _root(matrix: Tensor, like: Tensor, problem: str) -> Tensor:
    """C with C Cᵀ the given matrix, if it is symmetric and positive semidefinite."""
    if matrix.numel() == 0:
        return matrix
    values, vectors = torch.linalg.eigh(matrix)
    asymmetry, least = (matrix - matrix.T).abs().max(), values[0]
    if max(asymmetry, -least) > _TOLERANCE * like.abs().max():
        raise ValueError(f"{problem}; got eigenvalue {least:.4g} and asymmetry {asymmetry:.4g}")
    return torch.mul(vectors, values.clamp_min(0).sqrt())
