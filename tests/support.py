"""What tests share: programs that are started, watched and stopped, and small stand-ins."""

import io
import multiprocessing
import os
import resource
import runpy
import signal
import sys
import time
import warnings
from pathlib import Path

import psutil
import torch

LIMIT = 240
# Lightning's advice, and a deprecation inside Lightning's own code.
_THIRD_PARTY = (
    "The 'train_dataloader' does not have many workers",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["mixreg.training.fit", "mixreg.experiments._sweep"])


class Program(_SERVER.Process):
    """`python FILE WORDS...` or `python -m MODULE WORDS...`, without the seconds of the imports.

    It is forked from a process that has imported PyTorch and Lightning and has done nothing else.
    """

    def __init__(
        self,
        program: Path | str,
        *words: object,
        shown: Path,
        strict: bool = False,
        file_size: int = resource.RLIM_INFINITY,
    ):
        super().__init__()
        self.program, self.words = program, [str(word) for word in words]
        self._shown, self.strict, self.file_size = shown, strict, file_size
        shown.touch()
        self.start()

    def run(self) -> None:
        """In the copy: be that program."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        file = os.open(self._shown, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_size, self.file_size))
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
        if self.strict:
            warnings.simplefilter("error")
            for message in _THIRD_PARTY:
                warnings.filterwarnings("ignore", message)
        sys.argv = [str(self.program), *self.words]
        try:
            if isinstance(self.program, Path):
                runpy.run_path(str(self.program), run_name="__main__")
            else:
                runpy.run_module(self.program, run_name="__main__", alter_sys=True)
        except KeyboardInterrupt:  # ends a process as the signal does
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)

    def shown(self) -> str:
        """What it has written until now."""
        return self._shown.read_text()

    def wait_for(self, condition) -> None:
        """Wait until something holds, of which the program lives to see the beginning."""
        limit = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < limit, self.shown()
            assert self.is_alive(), self.shown()
            time.sleep(0.005)

    def family(self) -> list[psutil.Process]:
        """The processes that it has started."""
        return psutil.Process(self.pid).children(recursive=True)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def status(self) -> int:
        """Its status at its end; minus the number of the signal that ended it."""
        self.join(LIMIT)
        assert self.exitcode is not None, self.shown()
        return self.exitcode

    def end(self) -> None:
        """Kill what is left of it."""
        if self.is_alive():
            for process in self.family():
                process.kill()
            self.kill()
        self.join()


def joined(batches) -> tuple[torch.Tensor, torch.Tensor]:
    """All inputs and all labels of a loader."""
    inputs, labels = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


class Bomb:
    """A pickle of this makes a folder when it is read."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


class Terminal(io.StringIO):
    """A stream that is shown to somebody."""

    def isatty(self) -> bool:
        return True
