"""Shifts and weights of mixed batches, drawn for many batches at once."""

from threading import Lock
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mixreg.errors import CheckpointError
from mixreg.laws import MixingLaw
from mixreg.randomness import generator as own_generator
from mixreg.streams import Stream

Per = Literal["sample", "batch"]

_BATCHES = 256
_WEIGHTS = 2**15


class Draw(NamedTuple):
    """What one batch of n examples is mixed by.

    Attributes:
        shift: places from each example to its partner, from 0 to n − 1.
        partner: j(i) = (i + shift) mod n, int64, shape (n,).
        weight: λ in the dtype of the inputs, shape (n,).
        rows: λ once more, to multiply inputs by, shape (n, 1, ..., 1).
        shares: the columns λ and 1 − λ in the dtype of the inputs, at least float32, shape (n, 2).
    """

    shift: int
    partner: Tensor
    weight: Tensor
    rows: Tensor
    shares: Tensor


class _Block(NamedTuple):
    """Draws for several batches of up to `weights.shape[1]` examples.

    Attributes:
        start: state of the generator before they were made.
        numbers: whole numbers, shape (batches,), whose remainders are the shifts.
        weights: λ, float64, shape (batches, width).
    """

    start: Tensor
    numbers: Tensor
    weights: Tensor


class BatchDraws:
    """Shift, partners and weights λ for one batch after another.

    For a small batch, drawing takes longer than mixing. So the draws of up to 256 batches, but not
    of more than 32,768 weights, are made together and sent to the device together. A smaller batch
    than the one they were made for takes the first weights of its row; for a larger one all is
    drawn anew.

    Args:
        law: law of λ.
        per: "sample" draws λ for each example, "batch" one λ for all.
        generator: CPU source of the seed of all draws, or None (see `Stream`).

    Attributes:
        lock: to be held from `current` to `advance`.
    """

    def __init__(self, law: MixingLaw, per: Per, generator: torch.Generator | None) -> None:
        self.law, self.per = law, per
        self._stream = Stream(generator)
        if generator is not None:
            self._stream = Stream(own_generator(_seed(generator), "batches"))
        self.lock = Lock()
        self._source: tuple[int, int] | None = None
        self._width = self._used = 0
        self._block: _Block | None = None
        self._ready: list[Draw] = []

    def current(self, x: Tensor) -> Draw:
        """The draws for the next batch, the same until `advance` is called.

        Args:
            x: inputs, shape (n, ...).

        Returns:
            The draws, on the device of `x`.
        """
        n, generator = x.shape[0], self._stream.generator()
        same = self._stream.process == self._source
        if same and n == self._width and self._used < len(self._ready):
            draw = self._ready[self._used]
            if _fits(draw.rows, x):
                return draw
        return self._prepared(x, generator)

    def advance(self) -> None:
        """Take the current draws as used."""
        self._used += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Where the draws of this process stand.

        Returns:
            The state of the stream before the draws at hand were made, the size of the batch they
            were made for, and how many of them are used.
        """
        state = self._stream.state_dict()
        position = [0, 0]
        if self._stream.process == self._source:
            position = [self._width, self._used]
            if self._block is not None:
                state["generator"] = self._block.start.clone()
        return state | {"position": torch.tensor(position, dtype=torch.int64, device="cpu")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state.

        Args:
            state: what `state_dict` returned in the same process.

        Raises:
            CheckpointError: the values are not such a state.
        """
        width, used = _position(state)
        self._stream.load_state_dict(state)
        self._source = self._stream.process if width else None
        self._width, self._used, self._block, self._ready = width, used, None, []

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "lock"}
        return kept | {"_ready": []}  # other processes may lack the device

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values, lock=Lock())

    def _prepared(self, x: Tensor, generator: torch.Generator) -> Draw:
        n = len(x)
        if self._stream.process != self._source:
            self._source, self._block, self._width = self._stream.process, None, 0
        elif self._block is None:
            self._block = self._draw(generator)
        if self._block is None or self._width < n or self._used >= len(self._block.numbers):
            self._width, self._used, self._ready = n, 0, []
            self._block = self._draw(generator)
        numbers, weights = self._block.numbers, self._block.weights
        if n == self._width and not self._ready:
            self._ready = _ready(numbers % n, weights, x)
        if n == self._width and _fits(self._ready[0].rows, x):
            return self._ready[self._used]
        row = slice(self._used, self._used + 1)
        return _ready(numbers[row] % n, weights[row, :n], x)[0]

    def _draw(self, generator: torch.Generator) -> _Block:
        batches = _batches(self._width)
        with torch.inference_mode(False):  # the draws outlive the mode of this call
            start = generator.get_state()
            numbers = torch.randint(2**63 - 1, (batches,), generator=generator, device="cpu")
            columns = 1 if self.per == "batch" else self._width
            weights = self.law.sample(batches * columns, generator=generator)
            return _Block(start, numbers, weights.view(batches, -1).expand(batches, self._width))


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=generator, device="cpu"))


def _batches(width: int) -> int:
    """How many batches of this size are drawn for at once."""
    return max(1, min(_BATCHES, _WEIGHTS // width)) if width else 0


def _fits(rows: Tensor, x: Tensor) -> bool:
    return rows.dtype == x.dtype and rows.ndim == x.ndim and rows.device == x.device


def _ready(shifts: Tensor, weights: Tensor, x: Tensor) -> list[Draw]:
    """Draws of k batches of n from shifts (k,) and weights (k, n), like `x`."""
    with torch.inference_mode(False):
        n = weights.shape[1]
        cyclic = torch.arange(2 * n, device="cpu") % n
        partners = cyclic.unfold(0, n, 1).index_select(0, shifts)
        weights = _sent(weights.to(x.dtype), x.device)
        shares = weights.to(torch.promote_types(x.dtype, torch.float32))
        draws = zip(
            shifts.tolist(),
            _apart(_sent(partners, x.device)),
            _apart(weights),
            weights.view(len(weights), n, *(1,) * (x.ndim - 1)).unbind(),
            torch.stack([shares, 1 - shares], 1).transpose(1, 2).unbind(),
            strict=True,
        )
        return [Draw(*draw) for draw in draws]


def _sent(rows: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        rows = rows.pin_memory()
    return rows.to(device, non_blocking=True)


def _apart(rows: Tensor) -> list[Tensor]:
    """Rows that share no memory, so that what a user does with one reaches no other."""
    apart: list[Tensor] = torch.ops.aten.unbind_copy.int(rows)
    return apart


def _position(state: dict[str, Tensor]) -> tuple[int, int]:
    """Size of the batch that the draws at hand were made for, and how many are used."""
    try:
        position = state["position"]
        width, used = position.tolist()
        if position.dtype != torch.int64 or not 0 <= used <= _batches(width) or width < 0:
            raise ValueError(f"position {position}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"this is not the state of a mixing stream: {error}") from error
    return width, used
