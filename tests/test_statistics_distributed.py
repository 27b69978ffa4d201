"""Two processes measure parts of the data and agree, also when one has none or fails."""

import subprocess
import sys

import torch

from mixreg import TrainingStatistics

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


def test_two_processes(tmp_path):
    g = torch.Generator().manual_seed(0)
    x = 1e6 + torch.randn(60, 3, generator=g, dtype=torch.float64)
    y = torch.randint(3, (60,), generator=g)
    torch.save((x, y), tmp_path / "data.pt")
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    both = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(120) for process in both] == [0, 0]

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
