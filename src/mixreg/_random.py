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
    """A 63-bit seed from integers and names, by SHA-256 of the whole list.

    Args:
        *entropy: what tells this stream from every other: seeds, epochs, ranks, purposes.

    Returns:
        The seed. Any change of any entry, or of their number, gives an unrelated one.

    Raises:
        TypeError: an entry is neither an integer nor a string.
        ValueError: an integer is negative.

    Example:
        >>> derive_seed(0, "mixing", 3) == derive_seed(0, "mixing", 3)
        True
        >>> derive_seed(0, "mixing", 3) == derive_seed(0, "mixing", 4)
        False
    """
    spelled = repr([_checked(entry) for entry in entropy]).encode()
    return int.from_bytes(hashlib.sha256(spelled).digest()[:8]) >> 1


def generator(*entropy: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive_seed`.

    Args:
        *entropy: what tells this stream from every other.

    Returns:
        A new generator.

    Example:
        >>> a, b = generator(0, "augmentation"), generator(0, "augmentation")
        >>> torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b))
        True
    """
    return torch.Generator().manual_seed(derive_seed(*entropy))


def _checked(entry: int | str) -> int | str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, bool) or not hasattr(entry, "__index__"):
        raise TypeError(f"seeds must be integers or strings, got {entry!r}")
    if index(entry) < 0:
        raise ValueError(f"seeds and counters must be at least 0, got {entry}")
    return index(entry)


_seeded = generator


class Stream:
    """A generator that splits itself where processes hold copies of it.

    Data-loader workers and the processes of `torch.distributed` start with equal copies of a
    generator and would all draw the same numbers. The first draw in such a process seeds its own
    generator from the common one, the rank and the worker; elsewhere the given one is used as is.

    Args:
        generator: the common source, on the CPU; by default a new one derived from PyTorch's
            initial seed.

    Raises:
        TypeError: it is not a generator.
        ValueError: the generator is not on the CPU.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        if not isinstance(generator, torch.Generator | None):
            raise TypeError(
                f"generator must be a torch.Generator, got {generator!r}; "
                "use torch.Generator().manual_seed(...)"
            )
        if generator is not None and generator.device.type != "cpu":
            raise ValueError(
                f"draws are made on the CPU, got a generator on {generator.device}; "
                "use torch.Generator().manual_seed(...)"
            )
        self._generator = generator or _seeded(torch.initial_seed(), "mixing")
        self._process = (0, 0)

    @property
    def process(self) -> tuple[int, int]:
        """Rank, and the seed of the data-loader worker, that the generator belongs to."""
        return self._process

    def generator(self) -> torch.Generator:
        """The generator of this process.

        Returns:
            A CPU generator whose state advances with every draw.
        """
        process = _this_process()
        if process != self._process:
            common = int(torch.randint(2**63 - 1, (), generator=self._generator, device="cpu"))
            self._generator = _seeded(common, *process)
            self._process = process
        return self._generator

    def state_dict(self) -> dict[str, Tensor]:
        """The state of this process's generator.

        Returns:
            The generator's state and the process it belongs to.
        """
        state = self.generator().get_state()
        process = torch.tensor(self._process, dtype=torch.int64, device="cpu")
        return {"generator": state, "process": process}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state.

        Args:
            state: what `state_dict` returned in the same process.

        Raises:
            CheckpointError: the values are not such a state.
        """
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
