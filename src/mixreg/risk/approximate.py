"""The approximate Mixup risk and its four regularizers (Theorem 2, Corollaries 1 to 3).

R3 = −½⟨Σ_yx(i) Σ_xx(i)⁺ Σ_xy(i), ℓ_yu ℓ_uu⁺ ℓ_uy⟩, and R1 is what remains of the quadratic form of
equation 33, so that their sum never depends on the cut-off. Where the pseudo-inverse leaves nothing
out, R1 is the square ½‖(∇f − J(i))ᵀ ℓ_uu^½‖² in the metric Σ_xx(i); elsewhere it also holds the
part of the form for which no square can be completed, and may be negative.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._checks import Network, sample_name
from mixreg.covariance import (
    PerturbationCovariance,
    PerturbationCovariances,
    Whitening,
    perturbation_covariances,
    principal_axes,
)
from mixreg.laws import MixingLaw
from mixreg.losses import Loss, cross_entropy
from mixreg.perturbation import DesignedPerturbation
from mixreg.risk._derivatives import (
    LossDerivatives,
    check_cutoff,
    hessian_trace,
    linearize,
    loss_derivatives,
)
from mixreg.risk._problem import Problem, chunks, evaluate, prepare
from mixreg.risk.exact import modified_problem

_LEFT_OUT, _ROUNDING = 1e-6, 1e-6


class SampleTerms(NamedTuple):
    """What each sample adds to the approximate Mixup risk; shapes (n,), float64.

    The means over samples are the terms of equation 12. `r1_plus_r3` is the quadratic form before
    the square is completed, ½⟨Σ_xx(i), ∇fᵀ ℓ_uu ∇f⟩ + ⟨Σ_yx(i), ℓ_yu ∇f⟩ (equation 33). `cut_off`
    tells where the pseudo-inverse of ℓ_uu left out a direction that interacts with the labels.
    """

    modified: Tensor
    r1: Tensor
    r2: Tensor
    r3: Tensor
    r4: Tensor
    r1_plus_r3: Tensor
    cut_off: Tensor

    @property
    def total(self) -> Tensor:
        """The summands of the approximate Mixup risk."""
        return self.modified + self.r1_plus_r3 + self.r2 + self.r4


@dataclass(frozen=True)
class ApproximateMixupRisk:
    """The approximate Mixup risk of a network on a data set, term by term (equation 12).

    Args:
        per_sample: what each sample adds.
        second_order: whether R2 was computed; if not, it is reported as zero.
        rank: numerical rank of Σ_xx.
    """

    per_sample: SampleTerms
    second_order: bool
    rank: int

    @property
    def modified(self) -> float:
        """The loss on the modified data (equation 20)."""
        return float(self.per_sample.modified.mean())

    @property
    def r1(self) -> float:
        """R1, the distance of the Jacobian from J(i)."""
        return float(self.per_sample.r1.mean())

    @property
    def r2(self) -> float:
        """R2, the second derivatives of the network."""
        return float(self.per_sample.r2.mean())

    @property
    def r3(self) -> float:
        """R3, which the network enters through its outputs only."""
        return float(self.per_sample.r3.mean())

    @property
    def r4(self) -> float:
        """R4, the second derivatives of the loss in the labels."""
        return float(self.per_sample.r4.mean())

    @property
    def r1_plus_r3(self) -> float:
        """R1 + R3 before the square is completed; it keeps the digits that R1 and R3 lose."""
        return float(self.per_sample.r1_plus_r3.mean())

    @property
    def total(self) -> float:
        """The approximate Mixup risk, computed without completing the square."""
        return float(self.per_sample.total.mean())

    @property
    def cut_off(self) -> int:
        """Number of samples at which the pseudo-inverse of ℓ_uu left something out."""
        return int(self.per_sample.cut_off.sum())


def approximate_mixup_risk(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    law: MixingLaw,
    *,
    second_order: bool = True,
    chunk_size: int = 64,
    whitening: Whitening | None = None,
    rank_cutoff: float | None = None,
    curvature_cutoff: float = 1e-8,
) -> ApproximateMixupRisk:
    """The approximate Mixup risk E_Q and its terms, exact over the data set (Theorem 2).

    E_Q = (1/n) Σ_i ℓ(ỹ_i, f(x̃_i)) + R1 + R2 + R3 + R4, where x̄, ȳ and the covariances are those of
    the given data. Inverses are Moore-Penrose inverses. As predictions tend to one-hot, R1 tends to
    +∞ and R3 to −∞, while their sum stays finite; so the sum and the total are computed before the
    square is completed, and never depend on `curvature_cutoff`.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed. Memory holds
            the Jacobians, c·d numbers a sample, of `chunk_size` samples.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: "cross_entropy", "logistic", "squared_error" by their corollaries, or any twice
            differentiable callable (y, u) → (n,) by automatic differentiation, called with float64.
        law: law of λ.
        second_order: whether to compute R2, exactly, which for smooth networks takes rank(Σ_xx) + 1
            Hessian products a sample; for piecewise-linear ones, where R2 = 0, it takes one.
        chunk_size: samples treated at once.
        whitening: `Whitening.from_data(x)`, to factor the inputs once for several calls.
        rank_cutoff: singular values of the centred inputs and of the centred labels at most this
            fraction of the largest count as zero; by default eps·max(n, d), eps of float64.
        curvature_cutoff: what of ℓ_uu counts as too flat to be inverted in R1 and R3:
            for cross-entropy classes of at most this probability, for the logistic loss outputs
            with s(1 − s) at most this, for other losses eigenvalues of at most this fraction of
            max(‖ℓ_uu‖, ‖ℓ_uy‖). The default keeps |R3| below 10⁸ times the label variance, so that
            R1 + R3 computed from the two keeps half of the digits of float64.

    Returns:
        The terms, their sum, and the terms of each sample.

    Source: Carratino et al., Theorem 2 and Corollaries 1 to 3.

    Example:
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        >>> terms = approximate_mixup_risk(lambda x: 0 * x, x, x, "squared_error", Beta(1.0))
        >>> round(terms.modified, 4), round(terms.r4, 4), round(terms.total, 4)
        (0.2812, 0.0521, 0.3333)
    """
    check_cutoff(curvature_cutoff)
    shrunk, covariances = _expanded(
        prepare(net, x, y, loss, pairs=True), law, rank_cutoff, whitening
    )
    return expanded_risk(shrunk, covariances, second_order, chunk_size, curvature_cutoff)


def expanded_risk(
    problem: Problem,
    covariances: PerturbationCovariances,
    second_order: bool,
    chunk_size: int,
    curvature_cutoff: float,
) -> ApproximateMixupRisk:
    """Equation 12 at the data of a problem, for perturbations with the given covariances."""
    parts = [
        _chunk_terms(problem, covariances, rows, second_order, curvature_cutoff)
        for rows in chunks(len(problem.x), chunk_size)
    ]
    terms = SampleTerms(*(torch.cat(values) for values in zip(*parts, strict=True)))
    return ApproximateMixupRisk(terms, second_order, covariances.xx.left.rank)


def _chunk_terms(
    shrunk: Problem,
    covariances: PerturbationCovariances,
    rows: slice,
    second_order: bool,
    curvature_cutoff: float,
) -> SampleTerms:
    """The terms of some of the modified samples (Theorem 2, equations 33 to 35)."""
    inputs, targets, name = shrunk.x[rows], shrunk.y[rows], sample_name(rows.start)
    i = torch.arange(rows.start, rows.stop, device=inputs.device)
    outputs, jacobian = linearize(shrunk.net, inputs, name)
    at = loss_derivatives(
        shrunk.loss, targets, outputs, curvature_cutoff=curvature_cutoff, name=name
    )
    x, y = covariances.xx.left, covariances.yy.left
    slopes = x.coordinates(jacobian)
    output_covariance = covariances.xx.core_product(i, slopes) @ slopes.transpose(1, 2)
    output_label_covariance = y.vectors(covariances.xy.transposed.core_product(i, slopes))
    form = _inner(at.output_hessian, output_covariance) / 2
    form = form + _inner(at.mixed, output_label_covariance)
    r3 = -_inner(at.mixed.transpose(1, 2) @ at.response, covariances.explained(i)) / 2
    r2 = r4 = torch.zeros_like(r3)
    if second_order:
        r2 = hessian_trace(shrunk.net, inputs, at.gradient, jacobian, covariances.xx, i) / 2
    if at.label_hessian is not None:
        r4 = covariances.yy.inner_product(i, at.label_hessian) / 2
    modified = shrunk.loss(targets, outputs)
    cut_off = _left_out(at, y.basis * y.scale)
    return SampleTerms(modified, form - r3, r2, r3, r4, form, cut_off)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius inner products of matrices (k, ·, ·)."""
    return torch.einsum("kij,kij->k", a, b)


def _expanded(
    problem: Problem, law: MixingLaw, rank_cutoff: float | None, whitening: Whitening | None
) -> tuple[Problem, PerturbationCovariances]:
    """What Theorem 2 expands at, the modified data, and the covariances of Lemma 1."""
    covariances = perturbation_covariances(
        problem.x, problem.y, law, rank_cutoff=rank_cutoff, whitening=whitening
    )
    return modified_problem(problem, law), covariances


def _left_out(at: LossDerivatives, labels: Tensor) -> Tensor:
    """Where (I − ℓ_uu ℓ_uu⁺) ℓ_uy does not vanish on the span of the labels, columns (m, r)."""
    interaction = at.mixed @ labels
    remainder = interaction - at.output_hessian @ (at.response @ labels)
    size = torch.linalg.matrix_norm(interaction)
    return torch.gt(torch.linalg.matrix_norm(remainder), _LEFT_OUT * size)


def approximate_perturbed_risk(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    perturbation: DesignedPerturbation,
    *,
    second_order: bool = True,
    chunk_size: int = 64,
    curvature_cutoff: float = 1e-8,
) -> ApproximateMixupRisk:
    """(1/n) Σ_i E ℓ(y_i + ε, f(x_i + δ)) to second order: the loss and R1 to R4 (equation 12).

    Args:
        net: f, as for `approximate_mixup_risk`.
        x: inputs, floating point, shape (n, ...), which are not shrunk.
        y: class indices (n,), or targets of the shape of the outputs.
        loss: ℓ by name, or any twice differentiable callable.
        perturbation: its second moments take the place of Σ(i).
        second_order: whether to compute R2.
        chunk_size: samples treated at once.
        curvature_cutoff: as for `approximate_mixup_risk`.

    Returns:
        The terms; `modified` is the loss on the data as they are.

    Raises:
        ValueError: a perturbation of other shapes than the data's, or for cross-entropy one that
            changes the sum of the labels.

    Source: Carratino et al., Theorem 2.

    Example:
        >>> from mixreg.perturbation import design_perturbation
        >>> x, y = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
        >>> noise = design_perturbation(torch.eye(2), torch.tensor([0.5, 0.0]))
        >>> terms = approximate_perturbed_risk(lambda x: x[:, :1], x, y, "squared_error", noise)
        >>> round(terms.modified, 4), round(terms.r1, 4)  # ½, and ½ · 0.5 · ‖∇f·a‖²
        (0.5, 0.25)
    """
    check_cutoff(curvature_cutoff)
    problem = prepare(net, x, y, loss)
    perturbation.check_fits(problem.x, problem.y)
    covariances = _covariances(perturbation, len(x), problem.y)
    labels = covariances.yy.left
    if problem.loss is cross_entropy:
        moved = (labels.basis * labels.scale).sum(0).norm()
        if moved > _ROUNDING * labels.scale.norm():
            raise ValueError(
                "labels of the cross-entropy sum to one, so the rows of target_covariance must sum "
                "to 0; multiply it by I − 11ᵀ/m from both sides"
            )
    return expanded_risk(problem, covariances, second_order, chunk_size, curvature_cutoff)


def _covariances(perturbation: DesignedPerturbation, n: int, y: Tensor) -> PerturbationCovariances:
    """Σ_xx = V S² Vᵀ, Σ_xy = V S K S' V'ᵀ and Σ_yy = V' S'² V'ᵀ as those of one data set."""
    basis, scale = principal_axes(perturbation.directions, perturbation.diagonal)
    explained = scale.unsqueeze(1) * (basis.T @ perturbation.regression.T)
    label_basis, label_scale = principal_axes(
        torch.cat([explained, perturbation.remainder.T]), explained.new_zeros(())
    )
    core = explained @ label_basis / label_scale
    # The scores w_k = √N 1_k and w'_k = √N Kᵀ 1_k have (1/N) Σ_k w_k w'_kᵀ = K.
    rows, rank = max(n, len(scale)), len(scale)
    scores, label_scores = (scale.new_zeros(rows, len(part)) for part in (scale, label_scale))
    scores[:rank], label_scores[:rank] = rows**0.5 * torch.eye(rank).to(scale), rows**0.5 * core
    if len(label_basis) == 0:
        label_basis = scale.new_zeros(y[0].numel(), 0)
    inputs, labels = (
        Whitening(*(part.to(y.device) for part in parts))
        for parts in ((basis, scale, scores), (label_basis, label_scale, label_scores))
    )
    return PerturbationCovariances(
        *(
            PerturbationCovariance(left, right, theta_variance=0.0, gamma_squared=1.0)
            for left, right in ((inputs, inputs), (inputs, labels), (labels, labels))
        )
    )


def regression_jacobian(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    law: MixingLaw,
    samples: Tensor,
    *,
    whitening: Whitening | None = None,
    rank_cutoff: float | None = None,
    curvature_cutoff: float = 1e-8,
) -> Tensor:
    """J(i) = −ℓ_uu⁺ ℓ_uy Σ_yx(i) Σ_xx(i)⁺, to which R1 draws the Jacobian of f (equation 13).

    Args:
        net: f, as for `approximate_mixup_risk`.
        x: inputs, floating point, shape (n, ...).
        y: class indices (n,), or targets of the shape of the outputs.
        loss: ℓ by name, or any twice differentiable callable.
        law: law of λ.
        samples: the samples i, integers of shape (k,).
        whitening: `Whitening.from_data(x)`, to factor the inputs once for several calls.
        rank_cutoff: as for `approximate_mixup_risk`.
        curvature_cutoff: as for `approximate_mixup_risk`.

    Returns:
        Shape (k, c, *input shape), float64; for outputs of shape (n,), c is 1.

    Source: Carratino et al., equations 13, 14, 16 and 18.

    Example:
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> at = torch.tensor([0])
        >>> regression_jacobian(lambda x: x, x, 3 * x, "squared_error", Beta(1.0), at).flatten()
        tensor([3.0000], dtype=torch.float64)
    """
    check_cutoff(curvature_cutoff)
    shrunk, covariances = _expanded(
        prepare(net, x, y, loss, pairs=True), law, rank_cutoff, whitening
    )
    indices = [int(i) for i in samples]

    def name(row: int) -> str:
        return f"sample {indices[row]}"

    outputs = evaluate(net, shrunk.x[samples], name).double()
    at = loss_derivatives(
        shrunk.loss, shrunk.y[samples], outputs, curvature_cutoff=curvature_cutoff, name=name
    )
    slopes = -at.response @ covariances.regression(samples)
    return slopes.reshape(*slopes.shape[:2], *x.shape[1:])
