"""A run stopped at any moment ends with the same bits as one that was never interrupted."""

import shlex
import signal

import psutil
from safetensors.torch import load_file

from mixreg.settings import command_of
from mixreg.training import TrainConfig, train

SETTINGS = {"data": "digits", "batch_size": 256, "seed": 3, "accelerator": "cpu"}
SETTINGS |= {"loggers": ["csv"], "progress": False}


def _train(start, config):
    words = shlex.split(command_of(config.identity(), config.output))[1:]
    words += ["--loggers=csv", "--progress=false", "--accelerator=cpu"]
    return start("mixreg", *words, strict=True)


def _written(config):
    checkpoint = config.output / "checkpoint" / "last.ckpt"
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def _stop(process, config, how, *, before=0, child=False):
    """Signal a run at its next checkpoint; its exit status and what it said."""
    process.wait_for(lambda: _written(config) != before)
    family = process.family()
    (family[0].send_signal if child else process.signal)(how)
    status = process.status()
    assert not psutil.wait_procs(family, timeout=20)[1]
    assert not (config.output / "result.json").exists()
    return status, process.shown()


def test_the_same_command_resumes_to_the_same_bits(tmp_path, start):
    """Killed, told to end and interrupted one after the other, and then let finish."""
    whole, broken = (
        TrainConfig(**SETTINGS, method="approximate", epochs=40, milestones=[2, 4], output=path)
        for path in (tmp_path / "whole", tmp_path / "broken")
    )
    goes_on = "; run the same command to go on\n"
    for how, status, word in (
        (signal.SIGKILL, -9, ""),
        (signal.SIGTERM, 143, f"mixreg: terminated{goes_on}"),
        (signal.SIGINT, 130, f"\nmixreg: interrupted{goes_on}"),
    ):
        before = _written(broken)
        assert _stop(_train(start, broken), broken, how, before=before) == (status, word)
    runs = [train(config) for config in (whole, broken)]
    result, again = (run.read_result() for run in runs)
    assert again.history == result.history
    assert again.seconds > 0
    table, table_again = ((run.path / "metrics.csv").read_text() for run in runs)
    assert table_again == table
    assert len(table.splitlines()) == 1 + len(result.history) == 1 + 40
    weights, weights_again = (load_file(run.weights) for run in runs)
    assert weights.keys() == weights_again.keys()
    assert all(value.equal(weights_again[name]) for name, value in weights.items())
    assert not list(broken.output.rglob("*.part"))


def test_a_data_parallel_training_ends_with_either_process(tmp_path, start):
    configs = [
        TrainConfig(**SETTINGS, method="erm", epochs=1000, devices=2, output=tmp_path / name)
        for name in ("first", "child")
    ]
    for process, config in [(_train(start, config), config) for config in configs]:
        child = config.output.name == "child"
        status, said = _stop(process, config, signal.SIGTERM, child=child)
        assert status == (2 if child else 143), said
        assert "Traceback" not in said
        assert "run the same command to go on" in said.strip().splitlines()[-1]
