"""Label smoothing makes linear predictions less certain: the entropy inequality (Proposition 1).

Mixup smooths labels to ỹ_i = θ̄ y_i + (1 − θ̄) ȳ, label smoothing with ε = 1 − θ̄ towards ȳ. For the
linear model f(x) = W x, fitted to y with predictions p_i and to ỹ with predictions p̃_i,

    θ̄ · mean 𝒵(p_i) + (1 − θ̄) 𝒵(ȳ) ≤ mean 𝒵(p̃_i).

The proof uses the first-order conditions Σ_i (p_i − y_i) x_iᵀ = 0 only, so that no intercept is
needed. If moreover mean 𝒵(p_i) ≤ 𝒵(ȳ), then mean 𝒵(p_i) ≤ mean 𝒵(p̃_i). That condition compares the
mean entropy of the predictions with the entropy of the mean label. With an intercept it always
holds: then mean p = ȳ, and 𝒵 is concave. Without one it can fail, and smoothing can then make
predictions more certain.

For any network, multiply all logits u_i by a common factor t. The slope of the mean cross-entropy
in t, at t = 1, is

    (1/n) Σ_i (S(u_i) − y_i)ᵀ u_i = (1/n) Σ_i ℓ(y_i, u_i) − (1/n) Σ_i 𝒵(S(u_i)),

so that any network whose last layer has found the best scale has mean entropy = mean loss, and
mean loss ≥ (1/n) Σ_i 𝒵(y_i) by Gibbs' inequality. For the modified data (20) that is

    (1/n) Σ_i 𝒵(p̃_i) ≥ (1/n) Σ_i 𝒵(ỹ_i) ≥ θ̄ (1/n) Σ_i 𝒵(y_i) + (1 − θ̄) 𝒵(ȳ).

The first bound needs no linear model and no second one, only that the scale is stationary; the
slope says how far it is from that. Proposition 1 puts the entropies of a linear model fitted to the
labels y_i in place of 𝒵(y_i), and then needs both models to be linear in the same inputs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._checks import check_tensor
from mixreg._errors import MixregError
from mixreg.laws import MixingLaw
from mixreg.losses import cross_entropy, two_class_logits

_BACKTRACKS = 60
_DAMPING = 1e-13


@dataclass(frozen=True)
class EntropyInequality:
    """The entropies that Proposition 1 compares, in nats.

    Args:
        plain: mean 𝒵(p_i), of the model fitted to the labels.
        smoothed: mean 𝒵(p̃_i), of the model fitted to the smoothed labels.
        labels: 𝒵(ȳ), of the mean label.
        mean_prediction: 𝒵(mean p), of the mean prediction of the plain model.
        label_smoothing: ε = 1 − θ̄.
    """

    plain: float
    smoothed: float
    labels: float
    mean_prediction: float
    label_smoothing: float

    @property
    def bound(self) -> float:
        """θ̄ · mean 𝒵(p_i) + (1 − θ̄) 𝒵(ȳ), the lower bound of `smoothed`."""
        return (1 - self.label_smoothing) * self.plain + self.label_smoothing * self.labels

    @property
    def gap(self) -> float:
        """`smoothed` − `bound`, at least zero for linear models fitted to the end."""
        return self.smoothed - self.bound

    @property
    def condition(self) -> bool:
        """Whether mean 𝒵(p_i) ≤ 𝒵(ȳ), from which it follows that smoothing raises the entropy."""
        return self.plain <= self.labels


def entropy(probabilities: Tensor) -> Tensor:
    """𝒵(p) = −Σ_k p_k log p_k, in nats, with 0 log 0 = 0 (section 2)."""
    return torch.sum(torch.special.entr(probabilities), -1)


def entropy_inequality(
    plain: Tensor, smoothed: Tensor, y: Tensor, law: MixingLaw
) -> EntropyInequality:
    """Both sides of Proposition 1 for given predictions.

    The inequality is a theorem for linear models fitted to the end; for others it is a comparison.

    Args:
        plain: predictions p_i of the model trained on the labels, probabilities, shape (n, c).
        smoothed: predictions p̃_i of the model trained on the smoothed labels, shape (n, c).
        y: labels that sum to one, shape (n, c).
        law: law of λ, which gives ε = 1 − θ̄.

    Returns:
        The entropies, bound and condition.

    Raises:
        ValueError: the shapes differ, or rows do not sum to one.

    Source: Carratino et al., Proposition 1.

    Example:
        >>> from mixreg.laws import Beta
        >>> y = torch.eye(2)
        >>> entropy_inequality(y, torch.full((2, 2), 0.5), y, Beta(1.0)).bound  # ¼ log 2
        0.17328679513998632
    """
    parts = {"plain": plain, "smoothed": smoothed, "y": y}
    for name, values in parts.items():
        check_tensor(values, name, name)
        if values.ndim != 2 or values.shape != y.shape:
            raise ValueError(
                f"need predictions and labels of one shape (n, c), got {tuple(values.shape)} for "
                f"{name} and {tuple(y.shape)} for y"
            )
        if not torch.allclose(values.double().sum(1), values.new_ones(()).double(), atol=1e-5):
            raise ValueError(f"rows of {name} must be probabilities that sum to one, not logits")
    p, p_smoothed, labels = (values.double() for values in parts.values())
    return EntropyInequality(
        plain=float(entropy(p).mean()),
        smoothed=float(entropy(p_smoothed).mean()),
        labels=float(entropy(labels.mean(0))),
        mean_prediction=float(entropy(p.mean(0))),
        label_smoothing=law.shrinkage,
    )


def proposition_one(x: Tensor, y: Tensor, law: MixingLaw) -> EntropyInequality:
    """Fit the linear model with and without label smoothing and compare entropies (Proposition 1).

    Args:
        x: features, shape (n, d); for an intercept, append a column of ones.
        y: labels that sum to one, floating point, shape (n, c).
        law: law of λ, which gives ε = 1 − θ̄.

    Returns:
        The entropies, bound and condition.

    Source: Carratino et al., Proposition 1.

    Example:
        >>> from mixreg.laws import Beta
        >>> x, y = torch.tensor([[-1.0], [1.0], [2.0]]), torch.eye(2)[[0, 1, 0]]
        >>> sides = proposition_one(x, y, Beta(1.0))
        >>> sides.gap >= 0
        True
    """
    check_tensor(x, "features", "x")
    check_tensor(y, "labels", "y")
    labels = y.double()
    shrunk = torch.lerp(labels, labels.mean(0).expand_as(labels), law.shrinkage)
    plain, smoothed = (
        torch.softmax(x.double() @ fit_linear_softmax(x, targets).T, 1)
        for targets in (labels, shrunk)
    )
    return entropy_inequality(plain, smoothed, labels, law)


def fit_linear_softmax(
    x: Tensor, y: Tensor, *, tolerance: float = 1e-10, max_steps: int = 200
) -> Tensor:
    """Minimise the mean cross-entropy of f(x) = W x by Newton's method (equation 23)."""
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            f"need features (n, d) and labels (n, c), got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    x, y = x.double(), y.double()
    scale = float(x.abs().max())
    W = torch.zeros(y.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for _ in range(max_steps):
        slope, hessian = _slope_and_hessian(W, x, y)
        if float(slope.abs().max()) <= tolerance * scale:
            return W
        identity = torch.eye(len(hessian), dtype=W.dtype, device=W.device)
        damped = hessian + _DAMPING * hessian.trace() * identity
        step = torch.linalg.solve(damped, slope.flatten()).reshape(W.shape)
        W = _line_search(W, step, slope, x, y)
    raise MixregError(
        f"the linear model did not converge in {max_steps} Newton steps; scale the features, or "
        "use fewer features than samples"
    )


def _slope_and_hessian(W: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    p = torch.softmax(x @ W.T, 1)
    # The same shift of all classes changes no prediction; rounded labels must not push along it.
    slope = (p - y - (p - y).mean(1, keepdim=True)).T @ x / len(x)
    curvature = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    hessian = torch.einsum("nab,ni,nj->aibj", curvature, x, x) / len(x)
    return slope, hessian.reshape(W.numel(), W.numel())


def _line_search(W: Tensor, step: Tensor, slope: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Halve the Newton step until the loss decreases enough."""
    before, decrease = _mean_loss(W, x, y), float((step * slope).sum())
    for halvings in range(_BACKTRACKS):
        size = 0.5**halvings
        candidate = W - size * step
        if _mean_loss(candidate, x, y) <= before - 1e-4 * size * decrease + 1e-15:
            return candidate
    return W


def _mean_loss(W: Tensor, x: Tensor, y: Tensor) -> float:
    return float(cross_entropy(y, x @ W.T).mean())


class EntropyReport(NamedTuple):
    """Mean entropies 𝒵 in nats, and the slope that ties them to the loss.

    predictions: (1/n) Σ_i 𝒵(S(f(x_i))).
    modified_predictions: (1/n) Σ_i 𝒵(S(f(x̃_i))), at the inputs of the risk (20).
    modified_labels: (1/n) Σ_i 𝒵(ỹ_i), the bound for networks whose logits have the best scale.
    class_means: 𝒵(ȳ).
    reference: (1/n) Σ_i 𝒵(p_i) of a model fitted without smoothing, None if there was none.
    bound: θ̄·reference + (1 − θ̄)·class_means, the left side of Proposition 1; without a reference
        with 0 for it, which is what a model has that is sure of every sample.
    scale_slope: slope of the risk (20) when all logits grow by a common factor: below zero the
        modified data ask for surer predictions, above zero for less sure ones.
    """

    predictions: float
    modified_predictions: float
    modified_labels: float
    class_means: float
    reference: float | None
    bound: float
    scale_slope: float


def prediction_entropy(logits: Tensor) -> Tensor:
    """Entropy 𝒵(p) = −Σ_k p_k log p_k of the predictions p = S(u).

    Args:
        logits: u, shape (n, c), or (n,) or (n, 1) for one logit of two classes.

    Returns:
        Nats, float64, shape (n,).

    Source: Carratino et al., section 2.

    Example:
        >>> prediction_entropy(torch.tensor([[0.0, 0.0], [0.0, 1e4]]))
        tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    return entropy(two_class_logits(logits).detach().double().softmax(1))


def entropy_report(
    outputs: Tensor,
    modified_outputs: Tensor,
    modified_labels: Tensor,
    *,
    theta_mean: float,
    reference_outputs: Tensor | None = None,
) -> EntropyReport:
    """Entropies of predictions and of smoothed labels, and the bound of Proposition 1.

    Args:
        outputs: logits f(x_i), shape (n, c).
        modified_outputs: logits f(x̃_i), shape (n, c).
        modified_labels: ỹ_i, rows in the simplex, shape (n, c).
        theta_mean: θ̄ of the law that modified them.
        reference_outputs: logits at the x_i of a model fitted to the labels y_i, shape (n, c).

    Returns:
        The report.

    Raises:
        ValueError: shapes that differ.

    Source: Carratino et al., Proposition 1.

    Example:
        >>> u, y = torch.zeros(2, 2), torch.tensor([[0.9, 0.1], [0.1, 0.9]])
        >>> report = entropy_report(u, u, y, theta_mean=0.8)
        >>> round(report.predictions, 3), round(report.modified_labels, 3), round(report.bound, 3)
        (0.693, 0.325, 0.139)
    """
    shapes = {modified_outputs.shape, modified_labels.shape, outputs.shape}
    if reference_outputs is not None:
        shapes.add(reference_outputs.shape)
    if len(shapes) > 1:
        raise ValueError(
            "outputs, modified outputs, labels and reference must have one shape (n, c), got "
            + ", ".join(str(tuple(shape)) for shape in sorted(shapes))
        )
    y, u = modified_labels.double(), modified_outputs.double()
    class_means = float(entropy(y.mean(0)))
    reference = None
    if reference_outputs is not None:
        reference = float(prediction_entropy(reference_outputs).mean())
    return EntropyReport(
        predictions=float(prediction_entropy(outputs).mean()),
        modified_predictions=float(prediction_entropy(u).mean()),
        modified_labels=float(entropy(y).mean()),
        class_means=class_means,
        reference=reference,
        bound=theta_mean * (reference or 0.0) + (1 - theta_mean) * class_means,
        scale_slope=float(((u.softmax(1) - y) * u).sum(1).mean()),
    )
