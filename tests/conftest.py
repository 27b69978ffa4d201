"""Settings shared by all tests: reproducible cases and threads that do not fight."""

import pytest
import torch
from hypothesis import settings
from tests.support import Program
from torch.utils._python_dispatch import TorchDispatchMode

settings.register_profile("mixreg", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("mixreg")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_draws_in_every_run() -> None:
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20260606)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts programs; what is left of them in the end is killed."""
    started: list[Program] = []

    def program(*words, **options):
        shown = tmp_path_factory.mktemp("shown") / "shown.txt"
        started.append(Program(*words, shown=shown, **options))
        return started[-1]

    yield program
    for each in started:
        each.end()


class _NoSynchronisation(TorchDispatchMode):
    """Fails on every operation that makes the host wait for a value of the device."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "item")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in self.waiting:
            raise AssertionError(f"{func} reads a value back from the device")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def no_synchronisation():
    return _NoSynchronisation


@pytest.fixture(scope="module")
def no_pictures():
    """Comparisons are not drawn, which takes seconds each; tests/report/test_page draws them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mixreg.report.charts.draw", lambda _: "<svg/>")
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """Diagnoses are not drawn."""
    monkeypatch.setattr("mixreg.experiments.diagnose._pictures", lambda *_: ())
