"""A run killed at any moment ends with the same bits as one that was never interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

SETTINGS = (
    "--data=digits",
    "--model=mlp",
    "--epochs=40",
    "--batch_size=256",
    "--seed=3",
    "--loggers=csv",
)


def _command(output, *more):
    words = [
        sys.executable,
        "-m",
        "mixreg",
        "train",
        *SETTINGS,
        "--progress=false",
        *more,
        "--output",
        str(output),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return {
        "args": words,
        "env": environment,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }


def _hear_ctrl_c():
    """Also where this process was started with the signal ignored, as in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _finish(output, *more):
    done = subprocess.run(**_command(output, *more), text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    return json.loads((output / "result.json").read_text()), load_file(output / "model.safetensors")


def _stop_after_first_checkpoint(output, how, *more):
    """Start a run, send it a signal once it has a checkpoint, and return its exit status."""
    checkpoint = output / "checkpoint" / "last.ckpt"
    process = subprocess.Popen(**_command(output, *more), preexec_fn=_hear_ctrl_c)
    limit = time.monotonic() + 120
    while not checkpoint.exists():
        assert time.monotonic() < limit
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(how)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize(
    ("how", "status", "more"),
    [
        (signal.SIGKILL, -signal.SIGKILL, ("--method", "mixup")),
        (signal.SIGINT, 130, ("--method", "dropout", "--milestones", "2,4")),
    ],
)
def test_the_same_command_resumes_to_the_same_bits(tmp_path, how, status, more):
    result, weights = _finish(tmp_path / "whole", *more)

    broken = tmp_path / "broken"
    assert _stop_after_first_checkpoint(broken, how, *more) == status
    assert not (broken / "result.json").exists()
    resumed_result, resumed_weights = _finish(broken, *more)

    assert resumed_result["history"] == result["history"]
    table, resumed_table = (path / "csv" / "metrics.csv" for path in (tmp_path / "whole", broken))
    assert resumed_table.read_text() == table.read_text()
    assert len(table.read_text().splitlines()) == 1 + 40
    assert len(result["history"]) == 40
    assert result["seconds"] > 0
    assert resumed_result["seconds"] > 0
    assert weights.keys() == resumed_weights.keys()
    for name, value in weights.items():
        assert value.equal(resumed_weights[name]), name
