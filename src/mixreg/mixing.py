"""Mixing a batch with itself: the convex combinations of the Mixup risk (equation 4)."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from torch.utils.data import default_collate

from mixreg._checks import (
    Place,
    as_rows,
    check_examples,
    check_floating_targets,
    check_num_classes,
    check_tensor,
    mixed_one_hot,
    replaced,
    split,
    tensors,
)
from mixreg.laws import MixingLaw
from mixreg.pairing import BatchDraws, Draw, Per

_FEW = 2**14  # entries below which one rolled copy costs less than two interpolations into views


class MixedBatch(NamedTuple):
    """A mixed batch: inputs == weight·x + (1 − weight)·x[partner], and targets likewise.

    Attributes:
        inputs: one tensor (n, ...), or the nest of them that was given.
        targets: the dense form of the mixed labels.
        weight: λ, shape (n,).
        partner: j, shape (n,).
        labels: y as it was given; with `partner` and `weight` the pair form (y_i, y_j, λ).
    """

    inputs: Any
    targets: Tensor
    weight: Tensor
    partner: Tensor
    labels: Tensor


def mix(x: Tensor, y: Tensor, weight: Tensor, partner: Tensor) -> MixedBatch:
    """Convex combinations λ_i (x_i, y_i) + (1 − λ_i) (x_j(i), y_j(i)) (equation 4).

    Args:
        x: inputs, floating point, shape (n, ...).
        y: targets, floating point, shape (n,) or (n, ...).
        weight: λ, shape (n,), in [0, 1].
        partner: j, integer indices into the batch, shape (n,).

    Returns:
        The mixed batch. The weight is first rounded to the dtype of `x`, so that inputs, targets
        and the returned weight agree.

    Raises:
        TypeError: `x` or `y` is not floating point, or the partners are not integers.
        ValueError: the numbers of rows differ; on the CPU also a weight outside [0, 1].

    Example:
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.eye(2)
        >>> mix(x, y, torch.tensor([0.75, 0.5]), torch.tensor([1, 0])).inputs
        tensor([[1.],
                [2.]])
    """
    _check_batch(x, y)
    _check_pairing(x, y, weight, partner)
    weight = weight.to(x.device, x.dtype)
    partner = partner.long()  # as uint8 it would be taken for a mask
    inputs = torch.lerp(x[partner], x, as_rows(weight, x))
    targets = torch.lerp(y[partner], y, as_rows(weight, y))
    return MixedBatch(inputs, targets, weight, partner, y)


class Mixup:
    """Mixup of batches with any law of λ: in a training loop, a transform or a collate function.

    Every example is mixed with the example `shift` places further on in the batch, cyclically,
    where one shift a batch is drawn uniformly from 0 to b − 1. In a shuffled batch of b examples
    each one's partner j is so uniform on the batch, j = i included, as in equation 4; the pairs of
    one batch are dependent, as they also are for a random permutation. A shift needs no gather
    copy. Equation 4 has j = i in one of n pairs, a batch in one of b, the more the smaller it is.

    Shifts and weights are drawn on the CPU, for up to 256 batches at a time, and sent to the device
    without waiting for it. Threads that share one object mix one after another.

    Args:
        law: law of λ.
        num_classes: number of classes c, for labels that are class indices; None for soft labels
            and regression targets.
        per: "sample" draws λ for each example, "batch" one λ for all (still returned as (n,)).
        ignore_index: class of labels that count for nothing, in maps such as segmentation masks.
        inputs: what of a whole batch `transform` mixes: a key or position, several of them, or a
            function of the batch; by default all but the labels.
        labels: where its labels are, likewise; needed for batches that are no pairs.
        generator: CPU generator that seeds the own one of this object, by one draw when it is
            made; by default PyTorch's global one, so that a program after `torch.manual_seed`
            repeats its draws and two objects never share theirs. In worker processes of a
            `DataLoader` and in processes of `torch.distributed` each draws its own stream.

    Raises:
        TypeError: `law` is no mixing law, `generator` no generator, a class no integer.
        ValueError: an unknown `per`, a generator that is not on the CPU, `num_classes` below 1.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018; Carratino et al.,
    equation 4.

    Example:
        >>> from mixreg import Beta
        >>> mixup = Mixup(Beta(1.0), num_classes=3, generator=torch.Generator().manual_seed(0))
        >>> batch = mixup(torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1]))
        >>> batch.inputs.shape, batch.targets.shape, batch.weight.shape
        (torch.Size([5, 2]), torch.Size([5, 3]), torch.Size([5]))
    """

    __slots__ = ("__weakref__", "_draws", "_inputs", "_labels", "ignore_index", "num_classes")

    def __init__(
        self,
        law: MixingLaw,
        num_classes: int | None = None,
        *,
        per: Per = "sample",
        ignore_index: int | None = None,
        inputs: Place | None = None,
        labels: Place | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        _check_law(law)
        if per not in get_args(Per):
            raise ValueError(f"per must be 'sample' or 'batch', got {per!r}")
        check_num_classes(num_classes)
        if type(ignore_index) not in (int, type(None)):
            raise TypeError(f"ignore_index must be an integer or None, got {ignore_index!r}")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self._inputs, self._labels = inputs, labels
        self._draws = BatchDraws(law, per, generator)

    def __setattr__(self, name: str, value: object) -> None:
        try:
            super().__setattr__(name, value)
        except AttributeError:
            raise AttributeError(
                f"Mixup has no setting {name!r} to change; for another law set `law`, which is "
                "law.with_probability(0.0) to stop mixing, and for another mode make a new one"
            ) from None

    @property
    def law(self) -> MixingLaw:
        """Law of λ; another one can be set at any time, as schedules do."""
        return self._draws.law

    @law.setter
    def law(self, law: MixingLaw) -> None:
        _check_law(law)
        with self._draws.lock:
            self._draws.change(law)

    @property
    def per(self) -> Per:
        """Whether λ is drawn for each "sample" or for the whole "batch"."""
        return self._draws.per

    def __call__(self, x: Any, y: Tensor, *, out: Tensor | None = None) -> MixedBatch:
        """Mix one batch; neither `x` nor `y` is changed.

        Args:
            x: inputs in the model's input space, floating point, shape (n, ...); or uint8 pixels
                before normalisation, with which mixing commutes, rounded to the nearest; or a nest
                of mappings, tuples and lists of such tensors, all mixed by the same draws.
            y: class indices (n,) or maps of them (n, ...), or soft labels (n, c), or regression
                targets (n,) or (n, ...).
            out: buffer for the mixed inputs, of the shape, dtype and device of `x`; reusing one
                saves the allocation of fresh memory. Not differentiable.

        Returns:
            Mixed inputs of the type of `x`, mixed targets, weights λ (n,) in the dtype of `x`, and
            partners j (n,). Class indices become targets (n, c) in the dtype of `x`, at least
            float32; maps become (n, c, ...), of which ignored labels take no part.

        Raises:
            TypeError: integer inputs or ambiguous labels.
            ValueError: an empty batch, labels out of range or of another width, unfit `out`.
        """
        if not isinstance(x, Tensor) or x.dtype == torch.uint8:
            return self._mixed_nest(x, y, out)
        _check_batch(x, y)
        _check_buffer(out, x)
        with self._draws.lock:
            draw = self._draws.current(x)
            targets = self._targets(y, draw)
            inputs = _mix_shifted(x, draw.rows, draw.shift, out)  # last, as it empties the caches
            self._draws.advance()
        return MixedBatch(inputs, targets, draw.weight, draw.partner, y)

    def _mixed_nest(self, x: Any, y: Tensor, out: Tensor | None) -> MixedBatch:
        """Every leaf by the same draws, pixels as numbers that are rounded."""
        if out is not None:
            raise TypeError("out is a buffer for one tensor of floating-point inputs; leave it out")
        given = tensors(x)
        if not given:
            raise ValueError("there are no inputs to mix: the nest holds no tensor")
        leaves = [leaf.float() if leaf.dtype == torch.uint8 else leaf for leaf in given]
        for leaf in leaves:
            _check_batch(leaf, y)
        with self._draws.lock:
            draw = self._draws.current(leaves[0])
            targets = self._targets(y, draw)
            self._draws.advance()
        mixed = [
            _mix_shifted(leaf, as_rows(draw.weight, leaf), draw.shift, None) for leaf in leaves
        ]
        for k, leaf in enumerate(given):
            if leaf.dtype == torch.uint8:
                mixed[k] = mixed[k].round_().to(torch.uint8)
        return MixedBatch(replaced(x, given, mixed), targets, draw.weight, draw.partner, y)

    @property
    def transform(self) -> "MixupTransform":
        """The same mixing in the form that other libraries call."""
        return MixupTransform(self)

    def collate(self, samples: Sequence[Any]) -> MixedBatch:
        """Collate (x, y) samples and mix them: a `collate_fn` for a `DataLoader`.

        Args:
            samples: pairs (x, y) as the data set returns them, y one label or vector of labels.

        Returns:
            The mixed batch.

        Raises:
            TypeError: samples that are not such pairs.
        """
        batch = default_collate(list(samples))
        if not isinstance(batch, Sequence) or len(batch) != 2:
            raise TypeError(
                "samples must be pairs (x, y) of inputs and one label, got "
                f"{type(samples[0]).__name__} of {len(samples[0])}; say where the labels of others "
                "are, Mixup(..., labels=...), and use mixup.transform.collate"
            )
        x, y = batch
        if isinstance(y, Sequence):
            raise TypeError(
                f"labels must be one number or tensor for each sample, got {samples[0][1]!r}; turn "
                "lists into tensors in the data set, with torch.tensor(...)"
            )
        return self(x, y)

    def state_dict(self) -> dict[str, Tensor]:
        """Where the draws stand, to continue them later."""
        return self._draws.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state.

        Args:
            state: what `state_dict` returned, in the same process of the same number of processes,
                for the same law.

        Raises:
            CheckpointError: the values are not such a state.
        """
        self._draws.load_state_dict(state)

    def _targets(self, y: Tensor, draw: Draw) -> Tensor:
        if y.is_floating_point():
            check_floating_targets(y, self.num_classes)
            return _mix_shifted(y, as_rows(draw.weight, y), draw.shift, None)
        return mixed_one_hot(y, draw.shift, draw.shares, self.num_classes, self.ignore_index)


class MixupTransform:
    """Mixing in the form of timm, torchvision and `collate_fn`: what is given comes back, mixed.

    It is `Mixup(...).transform`. Called with inputs and labels it returns both; called with one
    batch, a batch of the same types. timm's switch for the last epochs is obeyed.

    Example:
        >>> from mixreg import Beta
        >>> mixup = Mixup(Beta(1.0), num_classes=3, labels="label").transform
        >>> x, y = torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])
        >>> inputs, targets = mixup(x, y)
        >>> batch = mixup({"image": x, "label": y})
        >>> batch["image"].shape, batch["label"].shape
        (torch.Size([5, 2]), torch.Size([5, 3]))
    """

    def __init__(self, mixup: Mixup) -> None:
        self.mixup, self._law = mixup, mixup.law

    @property
    def mixup_enabled(self) -> bool:
        """Whether batches are mixed; else λ = 1, and labels only become dense."""
        return self.mixup.law.gamma_squared > 0

    @mixup_enabled.setter
    def mixup_enabled(self, enabled: bool) -> None:
        if not enabled and self.mixup_enabled:
            self._law = self.mixup.law
        self.mixup.law = self._law if enabled else self._law.with_probability(0.0)

    def __call__(self, *batch: Any) -> Any:
        """Mix inputs and labels, or one whole batch.

        Args:
            batch: x and y as `Mixup` takes them, or one batch that holds both, where `inputs` and
                `labels` of the `Mixup` say.

        Returns:
            The pair (mixed inputs, targets), or a batch of the same types in which they take the
            place of inputs and labels.

        Raises:
            TypeError: labels that nothing was said of, or what `Mixup` refuses.
            ValueError: likewise.
        """
        if len(batch) == 2:
            mixed = self.mixup(*batch)
            return mixed.inputs, mixed.targets
        if len(batch) != 1:
            raise TypeError(
                f"expected inputs and labels, or one batch that holds both, got {len(batch)} values"
            )
        (whole,) = batch
        labels = self.mixup._labels
        if labels is None and isinstance(whole, Sequence) and len(whole) > 2:
            raise TypeError(
                f"only pairs (x, y) say what is what, got {len(whole)} parts; name inputs and "
                "labels, for example Mixup(..., inputs=0, labels=1)"
            )
        x, y = split(whole, self.mixup._inputs, labels)
        mixed = self.mixup(x, y)
        old = [*tensors(x), y]
        return replaced(whole, old, [*tensors(mixed.inputs), mixed.targets])

    def collate(self, samples: Sequence[Any]) -> Any:
        """Collate samples and mix them: a `collate_fn` for a `DataLoader`.

        Args:
            samples: as the data set returns them.

        Returns:
            The mixed batch.
        """
        return self(default_collate(list(samples)))


def mixed_accuracy(logits: Tensor, y: Tensor, batch: MixedBatch) -> Tensor:
    """Accuracy on a mixed batch: λ·[prediction = y_i] + (1 − λ)·[prediction = y_j], averaged.

    Args:
        logits: outputs for the mixed inputs, shape (n, c).
        y: class indices before mixing, shape (n,).
        batch: the mixed batch.

    Returns:
        A scalar in [0, 1], at least float32.

    Raises:
        TypeError: floating labels.
        ValueError: the shapes do not fit the batch.

    Example:
        >>> weight, partner = torch.full((2,), 0.75), torch.tensor([1, 0])
        >>> batch = mix(torch.zeros(2, 1), torch.eye(2), weight, partner)
        >>> mixed_accuracy(torch.eye(2), torch.tensor([0, 1]), batch)
        tensor(0.7500)
    """
    check_tensor(logits, "logits", "logits")
    check_tensor(y, "labels", "y")
    if y.is_floating_point():
        raise TypeError(f"mixed accuracy needs class indices, got {y.dtype}; use y.argmax(1)")
    if logits.ndim != 2 or len(logits) != len(batch.weight) or y.shape != batch.weight.shape:
        raise ValueError(
            f"for a batch of {len(batch.weight)} expected logits (n, c) and class indices (n,), "
            f"got {tuple(logits.shape)} and {tuple(y.shape)}"
        )
    predicted = logits.argmax(1)
    own, other = predicted == y, predicted == y[batch.partner]
    weight = batch.weight.to(torch.promote_types(batch.weight.dtype, torch.float32))
    return (weight * own + (1 - weight) * other).mean()


def _mix_shifted(values: Tensor, rows: Tensor, shift: int, out: Tensor | None) -> Tensor:
    """λ·values + (1 − λ)·(values shifted cyclically), for large values by interpolating views."""
    if out is not None:
        return _interpolate_views(values, rows, shift, out)
    if not values.requires_grad and values.numel() >= _FEW:
        with suppress(RuntimeError):  # forward mode and vmap know no out=
            return _interpolate_views(values, rows, shift, torch.empty_like(values))
    return torch.lerp(torch.roll(values, -shift, 0), values, rows)


def _interpolate_views(values: Tensor, rows: Tensor, shift: int, out: Tensor) -> Tensor:
    rest = values.shape[0] - shift
    other = torch.split_with_sizes(values, (shift, rest))
    own = torch.split_with_sizes(values, (rest, shift))
    row = torch.split_with_sizes(rows, (rest, shift))
    place = torch.split_with_sizes(out, (rest, shift))
    torch.lerp(other[1], own[0], row[0], out=place[0])
    torch.lerp(other[0], own[1], row[1], out=place[1])
    return out


def _check_law(law: object) -> None:
    if not isinstance(law, MixingLaw):
        raise TypeError(f"law must be a mixing law such as Beta(1.0), got {law!r}")


def _check_batch(x: Tensor, y: Tensor) -> None:
    check_examples(x, y)
    if x.shape[0] == 0:
        raise ValueError(f"a batch must have at least one example, got inputs {tuple(x.shape)}")
    if x.device != y.device:
        raise ValueError(
            f"inputs and labels must be on one device, got {x.device} and {y.device}; "
            "use y.to(x.device)"
        )


def _check_pairing(x: Tensor, y: Tensor, weight: Tensor, partner: Tensor) -> None:
    check_tensor(weight, "weights", "weight")
    check_tensor(partner, "partners", "partner")
    if not y.is_floating_point():
        raise TypeError(
            f"targets must be floating point, got {y.dtype}; turn class indices into one-hot "
            "vectors with mixreg.dense_targets, or use mixreg.Mixup"
        )
    if partner.dtype.is_floating_point or partner.dtype.is_complex or partner.dtype == torch.bool:
        raise TypeError(f"partners must be integer indices, got {partner.dtype}")
    if weight.shape != (len(x),) or partner.shape != (len(x),):
        raise ValueError(
            f"weight and partner must have shape ({len(x)},), got {tuple(weight.shape)} and "
            f"{tuple(partner.shape)}"
        )
    if weight.device.type == "cpu" and not bool(((weight >= 0) & (weight <= 1)).all()):
        raise ValueError("weights must lie in [0, 1], got some outside or NaN")
    if partner.device.type == "cpu" and not bool(((partner >= 0) & (partner < len(x))).all()):
        raise ValueError(f"partners must lie in 0..{len(x) - 1}, got some outside")


def _check_buffer(out: Tensor | None, x: Tensor) -> None:
    if out is None:
        return
    if out.shape != x.shape or out.dtype != x.dtype or out.device != x.device:
        raise ValueError(
            f"out must be like the inputs, {tuple(x.shape)} {x.dtype} on {x.device}, got "
            f"{tuple(out.shape)} {out.dtype} on {out.device}"
        )
    if out.requires_grad:
        raise ValueError("out must not require gradients; use out.detach()")
    if x.requires_grad:
        raise ValueError("out cannot be used for inputs that require gradients; leave it out")
    memory = out.untyped_storage().data_ptr()
    if memory != 0 and memory == x.untyped_storage().data_ptr():
        raise ValueError("out must not share memory with the inputs; mixing reads them again")
