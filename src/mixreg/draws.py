"""Shifts and weights of mixed batches, drawn for many batches at once."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mixreg.errors import CheckpointError
from mixreg.laws import MixingLaw
from mixreg.streams import Stream

Per = Literal["sample", "batch"]

_BATCHES = 64
_WEIGHTS = 2**14


class Draw(NamedTuple):
    """What one batch of n examples is mixed by.

    Attributes:
        shift: places from each example to its partner, from 0 to n − 1.
        partner: j(i) = (i + shift) mod n, int64, shape (n,).
        weight: λ in the dtype of the inputs, shape (n,).
        pairs: the columns i and j(i), shape (n, 2).
        shares: the columns λ and 1 − λ in the dtype of the inputs, at least float32, shape (n, 2).
    """

    shift: int
    partner: Tensor
    weight: Tensor
    pairs: Tensor
    shares: Tensor


class _Block(NamedTuple):
    """Draws for several batches of up to `width` examples: a number and a row of λ for each."""

    source: torch.Generator
    start: Tensor
    width: int
    numbers: Tensor
    weights: Tensor


class BatchDraws:
    """Shift, partners and weights λ for one batch after another.

    For a small batch, drawing takes longer than mixing. So the draws of up to 64 batches, but not
    of more than 16,384 weights, are made together and sent to the device together. A batch smaller
    than those before takes the first weights of its row; for a larger one all is drawn anew.

    Args:
        law: law of λ.
        per: "sample" draws λ for each example, "batch" one λ for all.
        generator: CPU source of all draws, or None for a new one (see `Stream`).
    """

    def __init__(self, law: MixingLaw, per: Per, generator: torch.Generator | None) -> None:
        self._law, self._per, self._stream = law, per, Stream(generator)
        self._block: _Block | None = None
        self._ready: list[Draw] = []
        self._used = 0

    def current(self, x: Tensor) -> Draw:
        """The draws for the next batch, the same until `advance` is called.

        Args:
            x: inputs, shape (n, ...).

        Returns:
            The draws, on the device of `x`.
        """
        n, block, generator = len(x), self._block, self._stream.generator()
        if block is None or block.source is not generator:
            block = self._draw(generator, n)
        elif block.width < n or self._used == len(block.numbers):
            block = self._draw(generator, max(n, block.width))
        if not self._ready or not _fits(self._ready[0].weight, x):
            self._ready = _ready(block.numbers % block.width, block.weights, x)
        if n == block.width:
            return self._ready[self._used]
        row = slice(self._used, self._used + 1)
        return _ready(block.numbers[row] % n, block.weights[row, :n], x)[0]

    def advance(self) -> None:
        """Take the current draws as used."""
        self._used += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Where the draws of this process stand.

        Returns:
            The state of the stream before the draws at hand, their width, and how many are used.
        """
        state, block = self._stream.state_dict(), self._block
        if block is None or block.source is not self._stream.generator():
            return state | {"block": torch.tensor([0, 0], device="cpu")}
        position = torch.tensor([block.width, self._used], device="cpu")
        return state | {"generator": block.start, "block": position}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state.

        Args:
            state: what `state_dict` returned in the same process.

        Raises:
            CheckpointError: the values are not such a state.
        """
        width, used = _position(state)
        self._stream.load_state_dict(state)
        self._block = None
        if width > 0:
            self._draw(self._stream.generator(), width)
            self._used = used

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ready": []}  # other processes may lack the device

    def _draw(self, generator: torch.Generator, width: int) -> _Block:
        batches = _batches(width)
        start = generator.get_state()
        with torch.inference_mode(False):  # the draws outlive the mode of this call
            numbers = torch.randint(2**63 - 1, (batches,), generator=generator, device="cpu")
            columns = 1 if self._per == "batch" else width
            weights = self._law.sample(batches * columns, generator=generator)
            weights = weights.view(batches, columns).expand(batches, width)
        self._block = _Block(generator, start, width, numbers, weights)
        self._ready, self._used = [], 0
        return self._block


def _batches(width: int) -> int:
    return max(1, min(_BATCHES, _WEIGHTS // width))


def _fits(weight: Tensor, x: Tensor) -> bool:
    return weight.dtype == x.dtype and weight.device == x.device


def _ready(shifts: Tensor, weights: Tensor, x: Tensor) -> list[Draw]:
    """Draws of k batches of n from shifts (k,) and weights (k, n), like `x`."""
    with torch.inference_mode(False):
        index = torch.arange(weights.shape[1], device="cpu").expand_as(weights)
        partners = (index + shifts.unsqueeze(1)) % weights.shape[1]
        weights = weights.to(x.dtype)
        shares = weights.to(torch.promote_types(x.dtype, torch.float32))
        columns = [
            partners,
            weights,
            torch.stack([index, partners], 2),
            torch.stack([shares, 1 - shares], 2),
        ]
        sent = (_sent(column, x.device).unbind() for column in columns)
        return [Draw(*parts) for parts in zip(shifts.tolist(), *sent, strict=True)]


def _sent(rows: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        rows = rows.pin_memory()
    return rows.to(device, non_blocking=True)


def _position(state: dict[str, Tensor]) -> tuple[int, int]:
    """Width of the draws at hand and how many are used, from a state."""
    try:
        width, used = state["block"].tolist()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"this is not the state of a mixing stream: {error}") from error
    if width < 0 or not 0 <= used <= (_batches(width) if width else 0):
        raise CheckpointError(
            f"this is not the state of a mixing stream: {used} draws used of width {width}"
        )
    return width, used
