"""A run stopped at any moment ends with the same bits as one that was never interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from safetensors.torch import load_file

SETTINGS = ("--data=digits", "--epochs=40", "--batch-size=256", "--seed=3", "--loggers=csv")


def _command(output, *more):
    words = ["train", *SETTINGS, "--progress=false", *more, "--output", str(output)]
    return {
        "args": [sys.executable, "-m", "mixreg", *words],
        "env": os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


def _heed_signals():
    """Also where this process was started with them ignored, as in the background."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _finish(output, *more):
    done = subprocess.run(**_command(output, *more), check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    return json.loads((output / "result.json").read_text()), load_file(output / "model.safetensors")


def _stop_after_first_checkpoint(output, how, *more, child=False):
    """Start a run, send it a signal once it has a checkpoint; its exit status and what it said."""
    checkpoint = output / "checkpoint" / "last.ckpt"
    process = subprocess.Popen(**_command(output, *more), preexec_fn=_heed_signals)
    limit = time.monotonic() + 120
    while not checkpoint.exists():
        assert time.monotonic() < limit
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    family = psutil.Process(process.pid).children(recursive=True)
    (family[0] if child else process).send_signal(how)
    said, _ = process.communicate(timeout=60)
    psutil.wait_procs(family, timeout=20)
    assert not any(member.is_running() for member in family)
    return process.returncode, said


MORE = ("--method", "approximate", "--milestones", "2,4")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    return output, *_finish(output, *MORE)


@pytest.mark.parametrize(
    ("how", "status"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_the_same_command_resumes_to_the_same_bits(tmp_path, whole, how, status):
    output, result, weights = whole
    broken = tmp_path / "broken"
    stopped, said = _stop_after_first_checkpoint(broken, how, *MORE)
    assert stopped == status, said
    assert len(said.split("\n")) <= 3, said
    assert not (broken / "result.json").exists()
    again, weights_again = _finish(broken, *MORE)

    assert not list(broken.rglob("*.part"))
    assert again["history"] == result["history"]
    table, table_again = (path / "metrics.csv" for path in (output, broken))
    assert table_again.read_text() == table.read_text()
    assert len(table.read_text().splitlines()) == 1 + len(result["history"]) == 1 + 40
    assert again["seconds"] > 0
    assert weights.keys() == weights_again.keys()
    for name, value in weights.items():
        assert value.equal(weights_again[name]), name


@pytest.mark.parametrize("child", [False, True])
def test_a_data_parallel_training_ends_with_either_process(tmp_path, child):
    more = ("--devices", "2", "--epochs", "1000")
    status, said = _stop_after_first_checkpoint(tmp_path, signal.SIGTERM, *more, child=child)
    assert status == (2 if child else 143), said
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert "run the same command to go on" in last
