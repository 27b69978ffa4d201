"""J(i), the Jacobian that Mixup pulls a network towards (equation 13)."""

from torch import Tensor

from mixreg._checks import Network
from mixreg.covariance import Whitening, perturbation_covariances
from mixreg.laws import MixingLaw
from mixreg.losses import Loss
from mixreg.risk._derivatives import check_cutoff, loss_derivatives
from mixreg.risk._problem import evaluate, prepare
from mixreg.risk.empirical import modified_problem


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
        >>> import torch
        >>> from mixreg.laws import Beta
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> at = torch.tensor([0])
        >>> regression_jacobian(lambda x: x, x, 3 * x, "squared_error", Beta(1.0), at).flatten()
        tensor([3.0000], dtype=torch.float64)
    """
    check_cutoff(curvature_cutoff)
    problem = prepare(net, x, y, loss, pairs=True)
    covariances = perturbation_covariances(
        problem.x, problem.y, law, rank_cutoff=rank_cutoff, whitening=whitening
    )
    shrunk = modified_problem(problem, law)
    indices = [int(i) for i in samples]

    def name(row: int) -> str:
        return f"sample {indices[row]}"

    outputs = evaluate(net, shrunk.x[samples], name).double()
    at = loss_derivatives(
        problem.loss, shrunk.y[samples], outputs, curvature_cutoff=curvature_cutoff, name=name
    )
    slopes = -at.response @ covariances.regression(samples)
    return slopes.reshape(*slopes.shape[:2], *x.shape[1:])
