"""Label smoothing makes linear predictions less certain: the entropy inequality (Proposition 1).

Mixup smooths labels to ỹ_i = θ̄ y_i + (1 − θ̄) ȳ, label smoothing with ε = 1 − θ̄ towards ȳ. For the
linear model f(x) = W x, fitted to y with predictions p_i and to ỹ with predictions p̃_i,

    θ̄ · mean 𝒵(p_i) + (1 − θ̄) 𝒵(ȳ) ≤ mean 𝒵(p̃_i).

The proof uses the first-order conditions Σ_i (p_i − y_i) x_iᵀ = 0 only, so that no intercept is
needed. If moreover mean 𝒵(p_i) ≤ 𝒵(ȳ), then mean 𝒵(p_i) ≤ mean 𝒵(p̃_i). That condition compares the
mean entropy of the predictions with the entropy of the mean label. With an intercept it always
holds: then mean p = ȳ, and 𝒵 is concave. Without one it can fail, and smoothing can then make
predictions more certain.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixreg._checks import check_tensor
from mixreg._errors import MixregError
from mixreg.laws import MixingLaw
from mixreg.losses import cross_entropy

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
