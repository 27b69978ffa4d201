"""How far a network is from affine between samples, whatever the scale of its outputs.

Along the segment from x_i to x_j the outputs change by ∫ ∇f(x_λ)(x_j − x_i) dλ = f(x_j) − f(x_i),
x_λ = (1 − λ) x_i + λ x_j. By Jensen's inequality the mean of ‖∇f(x_λ)(x_j − x_i)‖² over λ is at
least ‖f(x_j) − f(x_i)‖², with equality for networks that are affine on the segment. So

    ρ² = E_{i,j,λ} ‖∇f(x_λ)(x_j − x_i)‖² / E_{i,j} ‖f(x_j) − f(x_i)‖² ≥ 1,   λ uniform on [0, 1],

measures the Jacobian where mixup trains it, in units of what the outputs have to change anyway.
It knows neither the scale of the outputs nor that of the inputs. ‖∇f‖_F at the samples does: it
shrinks with the logits, as under a temperature above one, which changes no decision.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mixreg._checks import Network, check_inputs, sample_name
from mixreg.curvature import directional_derivatives
from mixreg.prediction import Link
from mixreg.risk._problem import check_network, chunks, evaluate


class Roughness(NamedTuple):
    """Roughness ρ, the standard error of its estimate, and the number of pairs.

    Both are None where the outputs do not differ between the samples of any pair.
    """

    value: float | None
    standard_error: float | None
    pairs: int


def roughness(
    net: Network,
    x: Tensor,
    *,
    generator: torch.Generator,
    link: Link = "softmax",
    pairs: int = 4000,
    chunk_size: int = 256,
) -> Roughness:
    """Root mean square slope of a network between samples, over that of straight lines.

    A Monte-Carlo estimate: pairs of different samples and a λ for each, uniformly, and one
    forward-mode derivative at each x_λ. For class logits outputs are taken less their mean over
    the classes, which the softmax does not see.

    Args:
        net: f, (n, ...) → (n, c) or (n,), taken as it stands: its mode is not changed.
        x: inputs, floating point, shape (n, ...), n at least 2.
        generator: source of pairs and λ, on the CPU.
        link: what makes predictions of the outputs; "softmax" for class logits.
        pairs: number of pairs, at least 2.
        chunk_size: samples evaluated at once.

    Returns:
        ρ, at least 1 but for chance, with the standard error of a ratio of means.

    Raises:
        TypeError: integer inputs.
        ValueError: fewer than two samples or pairs, or a network whose outputs depend on chance or
            on other samples.
        MixregError: an output is NaN or infinite, or an operation has no forward-mode derivative.

    Example:
        >>> x, g = torch.tensor([[-1.0], [1.0]]), torch.Generator().manual_seed(0)
        >>> roughness(lambda x: 3 * x, x, generator=g, link="identity").value
        1.0
    """
    check_inputs(x)
    n = len(x)
    if n < 2 or pairs < 2:
        raise ValueError(f"need at least 2 samples and 2 pairs, got {n} and {pairs}")
    check_network(net, x)
    i = torch.randint(n, (pairs,), generator=generator, device="cpu")
    j = (i + torch.randint(1, n, (pairs,), generator=generator, device="cpu")) % n
    weight = torch.rand(pairs, generator=generator, dtype=torch.float64, device="cpu").to(x.device)
    i, j = i.to(x.device), j.to(x.device)
    outputs = torch.cat(
        [
            _gauged(evaluate(net, x[rows], sample_name(rows.start)), link)
            for rows in chunks(n, chunk_size)
        ]
    )
    straight = _squared_norms(outputs[j] - outputs[i])
    slopes = torch.cat(
        [
            _slopes(net, x[i[rows]], x[j[rows]], weight[rows], link)
            for rows in chunks(pairs, chunk_size)
        ]
    )
    if not straight.any():
        return Roughness(None, None, pairs)
    square = slopes.mean() / straight.mean()
    residuals = (slopes - square * straight) / straight.mean()
    value = float(square.sqrt())
    error = float(residuals.std()) / pairs**0.5
    return Roughness(value, error / (2 * value) if value > 0 else 0.0, pairs)


def _slopes(net: Network, start: Tensor, end: Tensor, weight: Tensor, link: Link) -> Tensor:
    """‖∇f(x_λ)(x_j − x_i)‖² of some pairs."""
    at = weight.to(start.dtype).reshape(-1, *[1] * (start.ndim - 1))
    with torch.no_grad():
        found = directional_derivatives(
            net, torch.lerp(start, end, at), end - start, update_buffers=False
        )
        return _squared_norms(_gauged(found.first, link))


def _gauged(outputs: Tensor, link: Link) -> Tensor:
    """Outputs (n, c) in float64, class logits less their mean over the classes."""
    values = outputs.detach().double().reshape(len(outputs), -1)
    return values - values.mean(1, keepdim=True) if link == "softmax" else values


def _squared_norms(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1)
