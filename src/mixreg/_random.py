"""Random streams from explicit entropy, one for each process that shares a generator."""

import hashlib
from operator import index
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import get_worker_info

from mixreg._errors import CheckpointError


def derive_seed(*entropy: int | str) -> int:
    """A 63-bit seed from integers and names, by SHA-256 of the whole list."""
    spelled = repr([_checked(entry) for entry in entropy]).encode()
    return int.from_bytes(hashlib.sha256(spelled).digest()[:8]) >> 1


def generator(*entropy: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(*entropy))


def draw_seed(source: torch.Generator | None) -> int:
    """A seed by one draw from a CPU generator, by default PyTorch's: no two draws are the same."""
    return int(torch.randint(2**63 - 1, (), generator=source, device="cpu"))


def check_generator(source: torch.Generator | None, *, optional: bool = True) -> None:
    """Refuse what is no generator on the CPU, nor None where one is optional."""
    if not (isinstance(source, torch.Generator) or (source is None and optional)):
        raise TypeError(
            f"generator must be a torch.Generator, got {source!r}; "
            "use torch.Generator().manual_seed(...)"
        )
    if source is not None and source.device.type != "cpu":
        raise ValueError(
            f"draws are made on the CPU, got a generator on {source.device}; "
            "use torch.Generator().manual_seed(...)"
        )


def _checked(entry: int | str) -> int | str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, bool) or not hasattr(entry, "__index__"):
        raise TypeError(f"seeds must be integers or strings, got {entry!r}")
    if index(entry) < 0:
        raise ValueError(f"seeds and counters must be at least 0, got {entry}")
    return index(entry)


class Stream:
    """A generator that splits itself where processes hold copies of it.

    Data-loader workers and the processes of `torch.distributed` start with equal copies of a
    generator and would all draw the same numbers. The first draw in such a process seeds its own
    generator from the common one, the rank and the worker; elsewhere the given one is used as is.
    Without one, PyTorch's global generator seeds it by one draw: a program after
    `torch.manual_seed` repeats its draws, and two streams never share theirs.
    """

    def __init__(self, source: torch.Generator | None) -> None:
        check_generator(source)
        self._generator = source or generator(draw_seed(None), "mixing")
        self._process = (0, 0)

    @property
    def process(self) -> tuple[int, int]:
        """Rank, and the seed of the data-loader worker, that the generator belongs to."""
        return self._process

    def generator(self) -> torch.Generator:
        """The generator of this process."""
        process = _this_process()
        if process != self._process:
            self._generator = generator(draw_seed(self._generator), *process)
            self._process = process
        return self._generator

    def state_dict(self) -> dict[str, Tensor]:
        """The state of this process's generator."""
        state = self.generator().get_state()
        process = torch.tensor(self._process, dtype=torch.int64, device="cpu")
        return {"generator": state, "process": process}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        try:
            rank, worker = state["process"].tolist()
            self._generator.set_state(state["generator"].cpu())
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"this is not the state of a mixing stream: {error}") from error
        self._process = (rank, worker)

    def __getstate__(self) -> dict[str, Any]:
        # PyTorch cannot hand generators to processes that are spawned, but bytes it can
        state = self._generator.get_state().numpy().tobytes()
        return self.__dict__ | {"_generator": state}

    def __setstate__(self, values: dict[str, Any]) -> None:
        state = torch.frombuffer(bytearray(values["_generator"]), dtype=torch.uint8)
        self.__dict__.update(values, _generator=torch.Generator(device="cpu").set_state(state))


def _this_process() -> tuple[int, int]:
    """Rank, and the seed of the data-loader worker; zeros in the only or first process."""
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    worker = get_worker_info()
    return rank, 0 if worker is None else worker.seed
