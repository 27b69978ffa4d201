"""One stream of random draws for each process that shares a generator."""

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import get_worker_info

from mixreg.randomness import derive_seed


class Stream:
    """A generator that splits itself where processes hold copies of it.

    Data-loader workers and the processes of `torch.distributed` start with equal copies of a
    generator and would all draw the same numbers. The first draw in such a process seeds its own
    generator from the common one, the rank and the worker; elsewhere the given one is used as is.

    Args:
        generator: the common source, on the CPU; by default a new one seeded from PyTorch's
            initial seed.

    Raises:
        ValueError: the generator is not on the CPU.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        if generator is not None and generator.device.type != "cpu":
            raise ValueError(
                f"draws are made on the CPU, got a generator on {generator.device}; "
                "use torch.Generator().manual_seed(...)"
            )
        self._generator = generator or torch.Generator().manual_seed(torch.initial_seed())
        self._process = (0, 0)

    def generator(self) -> torch.Generator:
        """The generator of this process.

        Returns:
            A CPU generator whose state advances with every draw.
        """
        process = _this_process()
        if process != self._process:
            common = int(torch.randint(2**63 - 1, (), generator=self._generator))
            self._generator = torch.Generator().manual_seed(derive_seed(common, *process))
            self._process = process
        return self._generator

    def state_dict(self) -> dict[str, Tensor]:
        """The state of this process's generator.

        Returns:
            The generator's state and the process it belongs to.
        """
        state = self.generator().get_state()
        return {"generator": state, "process": torch.tensor(self._process, dtype=torch.int64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state.

        Args:
            state: what `state_dict` returned in the same process.
        """
        self._generator.set_state(state["generator"])
        rank, worker = state["process"].tolist()
        self._process = (rank, worker)


def _this_process() -> tuple[int, int]:
    """Rank, and the seed of the data-loader worker; zeros in the only or first process."""
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    worker = get_worker_info()
    return rank, 0 if worker is None else worker.seed
