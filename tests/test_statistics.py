"""x̄ and ȳ against NumPy, in any batches, order and processes; what is saved and loaded."""

import errno
import json
import os
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save_file
from tests.support import Terminal
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mixreg import CheckpointError, MixregError, TrainingStatistics
from mixreg._files import write_tensors

EPSILON = 1e-12


def batches(x, y, size):
    return list(zip(torch.as_tensor(x).split(size), torch.as_tensor(y).split(size), strict=True))


def small(n=10, *, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 2, generator=g), torch.randint(4, (n,), generator=g)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_means_are_numpys(dtype):
    x, y = small(157)
    x = x.to(dtype)
    stats = TrainingStatistics.from_tensors(x, y, 4)
    exact = x.double().numpy()
    assert stats.x_mean.dtype == stats.y_mean.dtype == torch.float64
    np.testing.assert_allclose(stats.x_mean, exact.mean(0), rtol=EPSILON, atol=1e-14)
    np.testing.assert_allclose(stats.y_mean, np.bincount(y, minlength=4) / 157, rtol=EPSILON)
    assert (stats.count, stats.x_min, stats.x_max) == (157, exact.min(), exact.max())


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-1, 1)),
    st.sampled_from([0.0, 1.0, 1e4, 1e8]),
    st.integers(1, 31),
    st.randoms(use_true_random=False),
)
def test_batch_size_and_order_do_not_matter(noise, offset, size, random):
    x = offset + noise
    y = np.arange(len(x)) % 3
    order = random.sample(range(len(x)), len(x))
    whole = TrainingStatistics.from_tensors(torch.from_numpy(x), torch.from_numpy(y), 3)
    parts = TrainingStatistics.from_loader(batches(x[order], y[order], size), 3)
    scale = np.abs(x).max(0)
    assert np.all(np.abs(whole.x_mean.numpy() - x.mean(0)) <= EPSILON * scale)
    assert np.all(np.abs((parts.x_mean - whole.x_mean).numpy()) <= EPSILON * scale)
    assert torch.equal(parts.y_mean, whole.y_mean)
    assert (parts.count, parts.x_min, parts.x_max) == (whole.count, whole.x_min, whole.x_max)


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_what_plain_sums_would_lose_is_kept(size):
    """Between batches nothing is lost, though single terms exceed the sum by 10^20."""
    x = torch.tensor([1e20, 1.0, -1e20, 3.0], dtype=torch.float64).repeat_interleave(64)
    stats = TrainingStatistics.from_loader(batches(x.unsqueeze(1), torch.zeros(256), size), None)
    assert stats.x_mean.item() == 1.0


def test_one_number_a_target_and_several():
    x = torch.rand(5, 2)
    assert TrainingStatistics.from_tensors(x, torch.arange(5.0)).y_mean.item() == 2.0
    assert TrainingStatistics.from_tensors(x, torch.rand(5, 1)).y_mean.shape == (1,)
    assert TrainingStatistics.from_tensors(x, torch.rand(5, 3)).y_mean.shape == (3,)
    assert TrainingStatistics.from_tensors(x, torch.rand(5, 3), 3).y_mean.shape == (3,)


def test_loaders_of_all_kinds_agree():
    x, y = small()
    expected = TrainingStatistics.from_tensors(x, y, 4)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(x, y, strict=True))

    loaders = [
        DataLoader(TensorDataset(x, y), 3, shuffle=True),
        DataLoader(Stream(), 3),
        ((a, b, "anything") for a, b in batches(x, y, 4)),
        [*batches(x, y, 4), (x[:0], y[:0])],
        [list(batch) for batch in batches(x, y, 4)],
    ]
    for loader in loaders:
        stats = TrainingStatistics.from_loader(loader, num_classes=4)
        torch.testing.assert_close(stats.x_mean, expected.x_mean, rtol=0, atol=1e-15)
        assert stats.count == 10


def test_gradients_and_inputs_are_left_alone():
    x, y = small()
    kept = x.clone()
    stats = TrainingStatistics.from_tensors(x.requires_grad_(), y, 4)
    assert not stats.x_mean.requires_grad
    assert torch.equal(x, kept)


def test_round_trip(tmp_path):
    x, y = small()
    for stats in (
        TrainingStatistics.from_tensors(x, y, 4),
        TrainingStatistics.from_tensors(x, x[:, 0, 0]),
        TrainingStatistics(stats_mean := torch.rand(3, dtype=torch.float64), stats_mean, 7),
        TrainingStatistics(torch.rand(4, 3, dtype=torch.float64).t(), torch.ones(2).double(), 1),
    ):
        stats.save(tmp_path / "means.safetensors")
        read = TrainingStatistics.load(str(tmp_path / "means.safetensors"))
        assert torch.equal(read.x_mean, stats.x_mean)
        assert torch.equal(read.y_mean, stats.y_mean)
        assert read.describe() == stats.describe()
    assert [p.name for p in tmp_path.iterdir()] == ["means.safetensors"]


def test_the_file_says_what_was_measured():
    x, y = torch.tensor([[0.0, 2.0], [1.0, 3.0]]), torch.tensor([0, 1])
    assert json.loads(json.dumps(TrainingStatistics.from_tensors(x, y, 2).describe())) == {
        "format": "mixreg.TrainingStatistics/2",
        "count": 2,
        "input_shape": [2],
        "target_shape": [2],
        "y_mean": [0.5, 0.5],
        "x_min": 0.0,
        "x_max": 3.0,
        "second_moments": None,
    }


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "means"
    x, y = small()
    TrainingStatistics.from_tensors(x, y, 4).save(path)
    whole = path.read_bytes()
    mean = torch.zeros(2, dtype=torch.float64)
    about = {"format": "mixreg.TrainingStatistics/2", "count": 2}
    whole_about = about | {"x_min": None, "x_max": None}
    old = json.dumps(whole_about | {"format": "mixreg.TrainingStatistics/1"})
    foreign = {
        "cut": lambda: path.write_bytes(whole[:-5]),
        "cut in its header": lambda: path.write_bytes(whole[:50]),
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("x_mean: 3"),
        "pickle": lambda: torch.save({"x_mean": mean}, path),
        "weights": lambda: save_file({"weight": mean}, path),
        "no range": lambda: write_tensors(path, {"x_mean": mean, "y_mean": mean + 1}, about),
        "no means": lambda: write_tensors(path, {"x": mean}, whole_about),
        "NaN": lambda: write_tensors(path, {"x_mean": mean / 0, "y_mean": mean}, whole_about),
        "another format": lambda: write_tensors(path, {"x_mean": mean}, {"format": "other"}),
        "a list": lambda: write_tensors(path, {"x": mean}, [1]),
        "before digests": lambda: save_file(
            {"x_mean": mean, "y_mean": mean + 1}, path, metadata={"statistics": old}
        ),
    }
    for write in foreign.values():
        write()
        with pytest.raises(CheckpointError, match=r"means (holds no training|was changed or)"):
            TrainingStatistics.load(path)


def test_one_flipped_bit_anywhere_is_noticed(tmp_path):
    path = tmp_path / "means"
    TrainingStatistics.from_tensors(*small(), 4).save(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=r"write one with TrainingStatistics\.save"):
            TrainingStatistics.load(path)


def test_missing_files(tmp_path):
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match="no training statistics at"):
            TrainingStatistics.load(missing)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    old, new = (TrainingStatistics.from_tensors(*small(seed=s), 4) for s in (0, 1))
    old.save(tmp_path / "means")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MixregError, match="no room to write"):
        new.save(tmp_path / "means")
    assert torch.equal(TrainingStatistics.load(tmp_path / "means").x_mean, old.x_mean)
    assert [p.name for p in tmp_path.iterdir()] == ["means"]


def test_a_kill_while_saving_leaves_the_old_file(tmp_path, start):
    old = TrainingStatistics.from_tensors(*small(), 4)
    old.save(tmp_path / "means")
    script = tmp_path.with_suffix(".py")
    script.write_text(
        "import os, signal, torch; from mixreg import TrainingStatistics\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "mean = torch.ones(3, 2, dtype=torch.float64)\n"
        f"TrainingStatistics(mean, mean, 1).save({str(tmp_path / 'means')!r})\n"
    )
    assert start(script).status() == -9
    assert len(list(tmp_path.iterdir())) == 2  # the killed process's part lies beside the file
    assert torch.equal(TrainingStatistics.load(tmp_path / "means").x_mean, old.x_mean)
    old.save(tmp_path / "means")
    assert TrainingStatistics.load(tmp_path / "means").count == 10


@pytest.mark.parametrize("seconds", [0.01, 0.3])
def test_a_progress_bar_shows_on_long_passes_alone(seconds, monkeypatch):
    now = iter(np.arange(10_000) * seconds)
    terminal = Terminal()
    monkeypatch.setattr("tqdm.std.time", lambda: next(now))
    monkeypatch.setattr("sys.stderr", terminal)
    TrainingStatistics.from_loader(batches(*small(40), 2), 4)
    assert ("training statistics" in terminal.getvalue()) == (seconds > 0.1)


def test_no_progress_bar_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert TrainingStatistics.from_loader(batches(*small(40), 2), 4).count == 40


def test_no_progress_bar_when_not_wanted_or_not_on_a_terminal(monkeypatch, capfd):
    now = iter(np.arange(10_000.0))
    monkeypatch.setattr("tqdm.std.time", lambda: next(now))
    TrainingStatistics.from_loader(batches(*small(40), 2), 4)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    TrainingStatistics.from_loader(batches(*small(40), 2), 4, progress=False)
    assert terminal.getvalue() == capfd.readouterr().err == ""


SCRIPT = """
import sys
import torch
from torch import distributed as dist
from mixreg import MixregError, TrainingStatistics

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
x, y = torch.load(f"{folder}/data.pt")

def measure(name, loaders):
    try:
        stats = TrainingStatistics.from_loader(loaders[rank], num_classes=3)
        stats.save(f"{folder}/{name}.{rank}")
    except (MixregError, ValueError) as error:
        with open(f"{folder}/{name}.{rank}", "w") as file:
            file.write(f"{type(error).__name__}: {error}")

parts = lambda at, size: [
    list(zip(x[:at].split(size), y[:at].split(size))),
    list(zip(x[at:].split(size + 1), y[at:].split(size + 1))),
]
hard = torch.tensor([[1e20], [1.0], [-1e20], [3.0]], dtype=torch.float64)
rows = list(zip(hard.split(1), torch.zeros(4, 1, dtype=torch.long).unbind()))
measure("cancelling", [rows[:2], rows[2:]])
measure("unequal", parts(13, 4))
measure("one_empty", [parts(60, 7)[0], []])
measure("other_empty", [[], parts(0, 7)[1]])
measure("all_empty", [[], []])
measure("bad_labels", [parts(30, 7)[0], [(x, y + 1)]])
measure("other_shape", [parts(30, 7)[0], [(x[:, :2], y)]])
dist.destroy_process_group()
"""


def test_two_processes(tmp_path, start):
    g = torch.Generator().manual_seed(0)
    x = 1e6 + torch.randn(60, 3, generator=g, dtype=torch.float64)
    y = torch.randint(3, (60,), generator=g)
    torch.save((x, y), tmp_path / "data.pt")
    (tmp_path / "process.py").write_text(SCRIPT)
    both = [start(tmp_path / "process.py", rank, tmp_path, strict=True) for rank in (0, 1)]
    assert [process.status() for process in both] == [0, 0], [p.shown() for p in both]

    alone = TrainingStatistics.from_tensors(x, y, 3)
    for name in ("unequal", "one_empty", "other_empty"):
        first, second = (TrainingStatistics.load(tmp_path / f"{name}.{r}") for r in (0, 1))
        assert torch.equal(first.x_mean, second.x_mean)
        assert torch.equal(first.y_mean, second.y_mean)
        assert torch.equal(first.y_mean, alone.y_mean)
        torch.testing.assert_close(first.x_mean, alone.x_mean, rtol=1e-15, atol=0)
        assert (first.count, first.x_min, first.x_max) == (60, alone.x_min, alone.x_max)

    assert TrainingStatistics.load(tmp_path / "cancelling.0").x_mean.item() == 1.0

    def errors(name):
        return [(tmp_path / f"{name}.{rank}").read_text() for rank in (0, 1)]

    assert all(text.startswith("ValueError: cannot average") for text in errors("all_empty"))
    assert all(text.startswith("ValueError: inputs changed") for text in errors("other_shape"))
    healthy, failing = errors("bad_labels")
    assert failing.startswith("ValueError: class indices must lie in 0..2")
    assert healthy.startswith("DataError: process 1 could not measure its part of the data: class")


def test_means_of_channels():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, 4, 5, generator=g), torch.randint(2, (20,), generator=g)
    stats = TrainingStatistics.from_tensors(x, y, 2)
    channels = stats.per_channel()
    np.testing.assert_allclose(channels.x_mean[:, 0, 0], x.double().numpy().mean((0, 2, 3)))
    assert channels.x_mean.shape == (3, 1, 1)
    assert channels.y_mean is stats.y_mean
    assert (channels.count, channels.x_min, channels.x_max) == (20, stats.x_min, stats.x_max)
    with pytest.raises(ValueError, match="have no channels with positions"):
        TrainingStatistics.from_tensors(x[:, :, 0, 0], y, 2).per_channel()
