"""How steep a network is at given inputs: norms of its Jacobian, of its outputs and predictions."""

from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._checks import Network, check_inputs, sample_name
from mixreg.covariance import Whitening
from mixreg.prediction import Link
from mixreg.risk._derivatives import Linearization, linearize
from mixreg.risk._problem import check_network, chunks


class JacobianNorms(NamedTuple):
    """Norms of the Jacobians ∇f(x_i) of n samples, each float64 of shape (n,).

    outputs: ‖∇f(x_i)‖_F.
    data_metric: (Tr ∇f(x_i) Σ_xx ∇f(x_i)ᵀ)^½, typical first-order change of the outputs when the
        input moves by the deviation d_j of a random sample.
    probabilities: ‖∇p(x_i)‖_F of the predicted probabilities p; None for regression.
    """

    outputs: Tensor
    data_metric: Tensor
    probabilities: Tensor | None


def jacobian_norms(
    net: Network,
    x: Tensor,
    *,
    link: Link = "softmax",
    whitening: Whitening | None = None,
    chunk_size: int = 64,
) -> JacobianNorms:
    """Norms of the Jacobian of a network at each of n samples.

    ‖∇f‖_F shrinks when all logits do, as with a temperature, and ‖∇p‖_F vanishes where predictions
    are sure, right or wrong; `roughness` does neither.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed. Memory holds
            the Jacobians, c·d numbers a sample, of `chunk_size` samples.
        x: inputs, floating point, shape (n, ...), n at least 2.
        link: what makes predictions of the outputs: "softmax" of class logits, "sigmoid" of
            independent logits, "identity" for regression.
        whitening: factors of the Σ_xx that is the metric; by default those of `x`.
        chunk_size: samples treated at once.

    Returns:
        Norms sample by sample.

    Raises:
        TypeError: integer inputs.
        ValueError: one sample, inputs that are not finite, a network whose outputs depend on chance
            or on other samples, or one logit with the link "softmax".
        MixregError: an output or a derivative is NaN or infinite.

    Source: Carratino et al., section 5 (Jacobian regularization).

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> jacobian_norms(lambda x: 3 * x, x, link="identity").outputs
        tensor([3., 3.], dtype=torch.float64)
    """
    check_inputs(x)
    metric = whitening or Whitening.from_data(x)
    check_network(net, x)
    parts = [
        _chunk_norms(linearize(net, x[rows], sample_name(rows.start)), metric, link)
        for rows in chunks(len(x), chunk_size)
    ]
    outputs, data_metric, probabilities = map(torch.cat, zip(*parts, strict=True))
    return JacobianNorms(outputs, data_metric, None if link == "identity" else probabilities)


def _chunk_norms(at: Linearization, metric: Whitening, link: Link) -> tuple[Tensor, Tensor, Tensor]:
    """‖∇f‖_F, its norm in the metric, and ‖∇p‖_F."""
    u, jacobian = at.outputs.reshape(len(at.outputs), -1), at.jacobian
    return (
        torch.linalg.matrix_norm(jacobian),
        torch.linalg.matrix_norm(metric.coordinates(jacobian)),
        torch.linalg.matrix_norm(_probability_jacobian(u, jacobian, link)),
    )


def _probability_jacobian(u: Tensor, jacobian: Tensor, link: Link) -> Tensor:
    """∇p = H(u) ∇u, with H = diag(p) − ppᵀ for the softmax and diag(p(1 − p)) for sigmoids."""
    if link == "identity":
        return jacobian
    if link == "sigmoid":
        p = u.sigmoid()
        return (p * (1 - p)).unsqueeze(-1) * jacobian
    if u.shape[1] < 2:
        raise ValueError(
            "link='softmax' needs a net with outputs of shape (n, c), c at least 2, got one "
            "logit; use link='sigmoid', or link='identity' for regression"
        )
    p = u.softmax(1).unsqueeze(-1)
    return p * (jacobian - (p * jacobian).sum(1, keepdim=True))
