"""Data-parallel training on two CPU processes."""

import json
from pathlib import Path

import pytest

from mixreg.training.run import read_model

PROBE = Path(__file__).with_name("ddp_probe.py")


@pytest.fixture(scope="module")
def records(tmp_path_factory, start):
    output = tmp_path_factory.mktemp("ddp")
    done = start(PROBE, output)
    assert done.status() == 0, done.shown()
    (output / "shown").write_text(done.shown())
    ranks = [
        [json.loads(line) for line in (output / f"rank{rank}.jsonl").read_text().splitlines()]
        for rank in (0, 1)
    ]
    return output / "run", ranks


def test_the_run_has_one_history_one_table_and_no_warning(records):
    run, _ = records
    assert ".py:" not in (run.parent / "shown").read_text()
    history = json.loads((run / "result.json").read_text())["history"]
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert history[-1]["test_accuracy"] > 0.3
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + len(history)


def test_each_process_draws_its_own_weights_and_samples_anew_in_every_step(records):
    _, (first, second) = records
    assert len(first) == len(second) > 2
    for mine, other in zip(first, second, strict=True):
        assert mine["epoch"] == other["epoch"]
        assert mine["weight"] != other["weight"]
        assert mine["inputs"] != other["inputs"]
    for rank in (first, second):
        assert len({tuple(record["weight"]) for record in rank}) == len(rank)


def test_all_processes_use_the_same_means(records):
    run, (first, second) = records
    stats = read_model(run / "model.safetensors", remedy="").stats
    for name in ("x_mean", "y_mean", "count"):
        assert first[0][name] == second[0][name]
    assert first[0]["count"] == stats.count
