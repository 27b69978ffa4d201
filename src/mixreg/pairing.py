"""Which partner j each example i has: cyclic blocks for Mixup, uniform on the data for (9).

The mean over j in Lemma 1 runs over all N examples, i itself included. A batch of n drawn without
replacement holds i for certain and every other example with the same chance, so i must be taken
with probability 1/N and else one of the other n − 1, each with the same chance: for a given i,
every other j of the data set then has probability

    (1 − 1/N) · (n − 1)/(N − 1) · 1/(n − 1) = 1/N

where (n − 1)/(N − 1) is the chance that j is in the batch. (A cyclic shift by 0 to n − 1 would take
i with probability 1/n, too often.) The others are paired by one cyclic shift a batch, uniform on 1
to n − 1; whether i is its own partner is drawn for each example.

Two such draws would meet too often, since both come from one batch; so the second of two
independent partners is the first with probability 1/N, the example itself with probability 1/N, and
else neither of them, by another shift. Every pair of the data set then has probability 1/N².
"""

from threading import Lock
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mixreg._checks import check_examples, dense_targets, fits
from mixreg._errors import CheckpointError
from mixreg._random import Stream, check_generator, draw_seed
from mixreg._random import generator as own_generator
from mixreg.laws import MixingLaw
from mixreg.statistics import TrainingStatistics

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

    Attributes:
        lock: to be held from `current` to `advance`.
    """

    def __init__(self, law: MixingLaw, per: Per, generator: torch.Generator | None) -> None:
        self.law, self.per = law, per
        check_generator(generator)
        self._stream = Stream(own_generator(draw_seed(generator), "batches"))
        self.lock = Lock()
        self._source: tuple[int, int] | None = None
        self._width = self._used = 0
        self._block: _Block | None = None
        self._ready: list[Draw] = []

    def current(self, x: Tensor) -> Draw:
        """The draws for the next batch, the same until `advance` is called."""
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

    def change(self, law: MixingLaw) -> None:
        """Draw by another law from the next batch on; what is drawn ahead is dropped."""
        if law != self.law:
            self.law, self._width, self._used, self._block, self._ready = law, 0, 0, None, []

    def state_dict(self) -> dict[str, Tensor]:
        """Where the draws of this process stand."""
        state = self._stream.state_dict()
        position = [0, 0]
        if self._stream.process == self._source:
            position = [self._width, self._used]
            if self._block is not None:
                state["generator"] = self._block.start.clone()
        return state | {"position": torch.tensor(position, dtype=torch.int64, device="cpu")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
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
            return _Block(
                start, numbers, weights.view(batches, columns).expand(batches, self._width)
            )


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


def draw_partner(n: int, count: int, *, generator: torch.Generator) -> Tensor:
    """Partners (n,) in a batch of n, on the CPU, uniform on the data set of `count` examples."""
    shift = 1 + int(torch.randint(n - 1, (), generator=generator, device="cpu"))
    own = torch.rand(n, generator=generator, dtype=torch.float64, device="cpu") < 1 / count
    index = torch.arange(n, device="cpu")
    return torch.where(own, index, (index + shift) % n)


def draw_independent_partners(
    n: int, count: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Two partners for each of n examples, independent and uniform on the data set."""
    if n < 3 and n < count:
        raise ValueError(
            f"independent partners for inputs and labels take a batch of at least 3, got {n}; "
            "use drop_last=True in the loader"
        )
    first_shift, step = torch.randint(n - 1, (), generator=generator, device="cpu"), max(n - 2, 1)
    second_shift = first_shift + 1 + torch.randint(step, (), generator=generator, device="cpu")
    unit = torch.rand(2, n, generator=generator, dtype=torch.float64, device="cpu")
    index = torch.arange(n, device="cpu")
    first = torch.where(unit[0] < 1 / count, index, (index + 1 + first_shift) % n)
    shifted = (index + 1 + second_shift % (n - 1)) % n
    chance, own = unit[1] * count, first == index
    second = torch.where(~own & (chance < 2), first, shifted)
    return first, torch.where(chance < 1, index, second)


def paired_targets(x: Tensor, y: Tensor, stats: TrainingStatistics) -> Tensor:
    """Dense targets of a batch that partners can be drawn from and that the statistics describe."""
    check_examples(x, y)
    if len(x) < 2:
        raise ValueError(
            f"partners are drawn from the batch, which needs at least 2 examples, got {len(x)}; "
            "use drop_last=True in the loader"
        )
    if len(x) > stats.count:
        raise ValueError(
            f"a batch of {len(x)} cannot be drawn from the {stats.count} examples that the "
            "statistics describe; measure them on the training data"
        )
    _check_shape("inputs", x, stats.x_mean)
    classes = None if y.is_floating_point() or stats.y_mean.ndim != 1 else len(stats.y_mean)
    targets = dense_targets(y, classes, dtype=torch.promote_types(x.dtype, torch.float32))
    _check_shape("targets", targets, stats.y_mean)
    return targets


def _check_shape(what: str, values: Tensor, mean: Tensor) -> None:
    if not (fits(values, mean) if what == "inputs" else values.shape[1:] == mean.shape):
        raise ValueError(
            f"the statistics describe {what} of shape (n, {', '.join(map(str, mean.shape))}), "
            f"got {tuple(values.shape)}; measure them in the model's own input space"
        )
