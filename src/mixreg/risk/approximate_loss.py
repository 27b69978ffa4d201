"""Training with the approximate Mixup risk (12), one forward-mode pass a step."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mixreg._checks import Network, as_rows, check_label_sums, first_not_finite, sample_name
from mixreg._errors import MixregError
from mixreg._random import Stream
from mixreg.curvature import (
    Curvature,
    DirectionalDerivatives,
    directional_derivatives,
    loss_curvature,
)
from mixreg.laws import MixingLaw
from mixreg.losses import CANONICAL, Loss, cross_entropy, resolve_loss
from mixreg.pairing import draw_partner, paired_targets
from mixreg.prediction import shrink
from mixreg.risk._derivatives import autograd_derivatives
from mixreg.risk._problem import check_output_shape
from mixreg.statistics import TrainingStatistics

_PROBED = 4


class ApproximateTerms(NamedTuple):
    """Estimates of the parts of the approximate Mixup risk (12), scalars without a graph.

    modified: the risk (20) of the modified data. r13: R1 + R3, before the square is completed.
    r2: zero where second derivatives of the network are left out. total: their sum.
    """

    modified: Tensor
    r13: Tensor
    r2: Tensor
    r4: Tensor
    total: Tensor


class ApproximateMixupLoss:
    """An unbiased estimate of the approximate Mixup risk (12) of a batch, to be descended on.

    With d_i = x_i − x̄, e_i = y_i − ȳ and Q_i half the second derivative of ℓ(y, f(x)) at the
    modified pair (x̃_i, ỹ_i) along a direction,

        E_Q(f) = mean_i ℓ(ỹ_i, f(x̃_i)) + mean_i [σ² Q_i(d_i, e_i) + γ² mean_j Q_i(d_j, e_j)].

    Q_i is quadratic, so for independent random signs r, s and one partner j it is estimated along

        ±σ (d_i, e_i) ± γ (d_j, e_j)        from one forward-mode pass            directions=1
        σ (d_i, e_i) and γ (d_j, e_j)       from two, without the noise of ±      directions=2

    For batches drawn without replacement value and gradient are unbiased, with j as in
    `draw_partner`. A step costs a forward and a backward pass of the network for the values and
    the same again for their derivatives.

    Layers that look at the whole batch are differentiated as such. With batch normalization in
    training mode, the estimate is that of the second-order expansion of the mixed batch's loss,
    perturbed through all examples and the batch statistics at once, as they are when training with
    mixup (`per="sample"`); independent signs for each example remove the products of different
    examples' perturbations. Running statistics are those of the modified inputs, updated once.

    The expansion is not bounded below: where predictions saturate ℓ_uu vanishes and the product of
    input and label perturbations remains (R3 of Corollary 1 contains the inverse of ℓ_uu). Steps
    that mixup survives can be too large here; `terms.r13` far below −1 is the sign.

    A network inside `DistributedDataParallel` works as it is. With `find_unused_parameters` or
    `static_graph` its wrapper is not differentiable; then let a module that calls this loss be
    wrapped instead, as Lightning does.

    Args:
        stats: x̄, ȳ and the number of examples of the training data.
        law: law of λ, for θ̄, σ² and γ².
        loss: ℓ by name, or a callable (y, u) → (n,), twice differentiable in u.
        directions: 1 or 2 forward-mode passes.
        second_order: whether R2 is included, by nested forward mode. Off by default, as in the
            paper's experiments (section 5): R2 is zero for piecewise-linear networks and makes
            training unstable for others.
        generator: CPU source of all draws, the own state of this object; by default a new one
            that PyTorch's global generator seeds by one draw. Each process of
            `torch.distributed` draws its own stream from it.
        check: refuse outputs that are not finite and soft labels that do not sum to one. On an
            accelerator this waits for the device once a step.

    Raises:
        ValueError: unknown names, another number of directions, statistics of one example, or of
            labels that do not sum to one with cross-entropy.

    Source: Carratino et al., Theorem 2 (equations 10 to 12).

    Example:
        >>> from mixreg import Beta
        >>> x, y = torch.randn(8, 3), torch.arange(8) % 2
        >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
        >>> loss, net = ApproximateMixupLoss(stats, Beta(1.0)), torch.nn.Linear(3, 2)
        >>> value = loss(net, x, y)
        >>> value.backward()
        >>> torch.equal(loss.terms.total, value.detach()), loss.terms.r2.item()
        (True, 0.0)
    """

    def __init__(
        self,
        stats: TrainingStatistics,
        law: MixingLaw,
        loss: Loss = "cross_entropy",
        *,
        directions: int = 1,
        second_order: bool = False,
        generator: torch.Generator | None = None,
        check: bool = True,
    ) -> None:
        if directions not in (1, 2):
            raise ValueError(f"directions must be 1 or 2, got {directions!r}")
        if stats.count < 2:
            raise ValueError(
                "the statistics describe one example; partners need a training set of at least 2"
            )
        self.stats, self.law, self.loss = stats, law, resolve_loss(loss)
        self.directions, self.second_order = directions, second_order
        self.check = check
        deviations = [math.sqrt(law.theta_variance), math.sqrt(law.gamma_squared)]
        self._scales = torch.tensor(deviations, dtype=torch.float64, device="cpu").unsqueeze(1)
        self._stream = Stream(generator)
        self._terms: ApproximateTerms | None = None
        self._differentiable = not second_order
        self._named = self._probed = self.loss in CANONICAL
        if self.loss is cross_entropy:
            if stats.y_mean.ndim != 1:
                raise ValueError(
                    "cross-entropy needs statistics of class labels, with y_mean of shape (c,), "
                    f"got {tuple(stats.y_mean.shape)}"
                )
            check_label_sums(stats.y_mean.unsqueeze(0), "the mean label of the statistics")

    @property
    def terms(self) -> ApproximateTerms:
        """The parts of the last value; a MixregError before the first."""
        if self._terms is None:
            raise MixregError("the loss has no terms before its first call")
        return self._terms

    def __call__(self, net: Network, x: Tensor, y: Tensor) -> Tensor:
        """Estimate the approximate Mixup risk; neither `x` nor `y` is changed.

        Args:
            net: f, (n, ...) → (n, c) or (n,). In training mode as for an ordinary step.
            x: inputs in the model's input space, floating point, shape (n, ...), n at least 2.
            y: class indices (n,), or soft labels (n, c), or regression targets.

        Returns:
            A scalar with a graph to the parameters of `net`, at least float32.

        Raises:
            TypeError: integer inputs, ambiguous labels, or outputs that are not one tensor.
            ValueError: a batch of one, shapes that do not fit, labels that do not sum to one with
                cross-entropy, or a loss that is not twice differentiable.
            MixregError: outputs that are not finite, checkpointed activations, or an operation of
                the network that has no forward-mode derivative, or no gradient of the second one.
        """
        targets = paired_targets(x, y, self.stats)
        if self.check and self.loss is cross_entropy and y.is_floating_point():
            check_label_sums(targets, "labels")
        x_mean = self.stats.x_mean.to(x.device, x.dtype)
        y_mean = self.stats.y_mean.to(targets.device, targets.dtype)
        inputs, modified = shrink(x, x_mean, self.law), shrink(targets, y_mean, self.law)
        (d, e), *others = self._directions(x - x_mean, targets - y_mean)
        at = self._differentiate(net, inputs, d, update_buffers=True)
        modified = modified.to(at.outputs.dtype)
        self._check_outputs(modified, at.outputs)
        values = self.loss(modified, at.outputs)
        curvature = loss_curvature(self.loss, modified, at.outputs, e.to(modified), *at[1:])
        for d, e in others:
            at = self._differentiate(net, inputs, d, update_buffers=False)
            other = loss_curvature(self.loss, modified, at.outputs, e.to(modified), *at[1:])
            curvature = Curvature(*map(torch.add, curvature, other))
        total = self._total(values, curvature, at)
        self._check_backward(net, total)
        return total

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the generator, to continue the same draws later."""
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned in the same process of as many processes."""
        self._stream.load_state_dict(state)

    def _directions(self, d: Tensor, e: Tensor) -> list[tuple[Tensor, Tensor]]:
        """±σ (d_i, e_i) ± γ (d_j, e_j), in one sum or apart."""
        partner, signs = _draw(len(d), self.stats.count, self._stream.generator())
        own, other = signs * self._scales
        pairs = [
            (as_rows(own, v) * v, as_rows(other, v) * v[partner.to(v.device, non_blocking=True)])
            for v in (d, e)
        ]
        if self.directions == 1:
            (d_own, d_other), (e_own, e_other) = pairs
            return [(d_own + d_other, e_own + e_other)]
        return list(zip(*pairs, strict=True))

    def _differentiate(
        self, net: Network, inputs: Tensor, d: Tensor, *, update_buffers: bool
    ) -> DirectionalDerivatives:
        """Outputs and their derivatives along d, in at least float32."""
        at = directional_derivatives(
            net, inputs, d, second_order=self.second_order, update_buffers=update_buffers
        )
        dtype = torch.promote_types(at.outputs.dtype, torch.float32)
        second = None if at.second is None else at.second.to(dtype)
        return DirectionalDerivatives(at.outputs.to(dtype), at.first.to(dtype), second)

    def _check_outputs(self, modified: Tensor, outputs: Tensor) -> None:
        """Refuse outputs of another shape and, once, a loss that is not twice differentiable."""
        check_output_shape(outputs, len(modified))
        if self._named and outputs.shape != modified.shape:
            raise ValueError(
                f"outputs and targets must have the same shape, got {tuple(outputs.shape)} and "
                f"{tuple(modified.shape)}; for one output of shape (n, 1) use targets of shape "
                "(n, 1), and measure the statistics with them"
            )
        if not self._probed:
            _check_finite("net returned", outputs)
            few = slice(0, _PROBED)
            autograd_derivatives(self.loss, modified[few], outputs[few], sample_name(0))
            self._probed = True

    def _check_backward(self, net: Network, total: Tensor) -> None:
        """Refuse, once, a network whose second derivatives have no gradient in its parameters."""
        if self._differentiable or not total.requires_grad or not isinstance(net, nn.Module):
            return
        parameters = [p for p in net.parameters() if p.requires_grad]
        try:
            torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            raise MixregError(
                f"PyTorch cannot differentiate the second derivatives of net ({error}); write the "
                "operation in elementary ones, for example a norm as x.square().sum(1).sqrt(), or "
                "leave out R2 with second_order=False"
            ) from error
        self._differentiable = True

    def _total(self, values: Tensor, curvature: Curvature, at: DirectionalDerivatives) -> Tensor:
        modified, r2, r4 = values.mean(), curvature.second_order.mean(), curvature.label.mean()
        r13 = (curvature.quadratic + curvature.cross).mean()
        total = modified + r13 + r2 + r4
        if self.check and not torch.isfinite(total):
            _check_finite("net returned", at.outputs)
            _check_finite("the derivative of net is", at.first)
            raise MixregError(f"the approximate Mixup risk became {total.item()}")
        self._terms = ApproximateTerms(*(t.detach() for t in (modified, r13, r2, r4, total)))
        return total


def _draw(n: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Partners (n,) and signs (2, n) of the own and the partner's part, on the CPU."""
    partner = draw_partner(n, count, generator=generator)
    return partner, 2 * torch.randint(2, (2, n), generator=generator, device="cpu") - 1


def _check_finite(what: str, values: Tensor) -> None:
    row = first_not_finite(values.detach())
    if row is not None:
        raise MixregError(f"{what} NaN or infinity for {sample_name(0)(row)} of the batch")
