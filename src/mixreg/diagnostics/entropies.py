"""How unsure predictions are, against what label smoothing asks for (Proposition 1).

Multiply all logits u_i by a common factor t. The slope of the mean cross-entropy in t, at t = 1, is

    (1/n) Σ_i (S(u_i) − y_i)ᵀ u_i = (1/n) Σ_i ℓ(y_i, u_i) − (1/n) Σ_i Z(S(u_i)),

so that any network whose last layer has found the best scale has mean entropy = mean loss, and
mean loss ≥ (1/n) Σ_i Z(y_i) by Gibbs' inequality. For the modified data (20) that is

    (1/n) Σ_i Z(p̃_i) ≥ (1/n) Σ_i Z(ỹ_i) ≥ θ̄ (1/n) Σ_i Z(y_i) + (1 − θ̄) Z(ȳ).

The first bound needs no linear model and no second one, only that the scale is stationary; the
slope says how far it is from that. Proposition 1 puts the entropies of a linear model fitted to the
labels y_i in place of Z(y_i), and then needs both models to be linear in the same inputs.
"""

from typing import NamedTuple

from torch import Tensor

from mixreg.entropy import entropy
from mixreg.losses import two_class_logits


class EntropyReport(NamedTuple):
    """Mean entropies Z in nats, and the slope that ties them to the loss.

    predictions: (1/n) Σ_i Z(S(f(x_i))).
    modified_predictions: (1/n) Σ_i Z(S(f(x̃_i))), at the inputs of the risk (20).
    modified_labels: (1/n) Σ_i Z(ỹ_i), the bound for networks whose logits have the best scale.
    class_means: Z(ȳ).
    reference: (1/n) Σ_i Z(p_i) of a model fitted without smoothing, None if there was none.
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
    """Entropy Z(p) = −Σ_k p_k log p_k of the predictions p = S(u).

    Args:
        logits: u, shape (n, c), or (n,) or (n, 1) for one logit of two classes.

    Returns:
        Nats, float64, shape (n,).

    Source: Carratino et al., section 2.

    Example:
        >>> import torch
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
        >>> import torch
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
