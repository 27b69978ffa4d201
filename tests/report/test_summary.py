"""Summaries: what is paired with what, and what is refused."""

import json

import pytest

from mixreg.evaluation import METRICS, mean_interval, paired_difference
from mixreg.report import Group, RunResult, summarize


@pytest.fixture
def runs(make_run):
    nll = {("erm", None): (2.0, 2.2, 2.1), ("mixup", 1.0): (1.5, 1.9, 1.4)}
    return [
        make_run(method, seed, alpha, raw={"nll": value}, rescaled={"nll": value - 0.1 * seed})
        for (method, alpha), values in nll.items()
        for seed, value in enumerate(values)
    ]


def test_rows_come_by_group_with_the_baseline_first(runs):
    found = summarize(runs[::-1], "erm")
    erm, mixup = Group("erm", None), Group("mixup", 1.0)
    assert [(row.group, row.correction) for row in found.rows] == [
        (erm, "raw"),
        (erm, "rescaled"),
        (mixup, "raw"),
        (mixup, "rescaled"),
    ]
    assert (found.baseline, found.groups) == (erm, (erm, mixup))
    assert (found.count, found.num_classes, found.remarks) == (100, 10, ())
    assert mixup.label == "mixup (α = 1)"


def test_means_and_differences_are_those_of_the_seeds(runs):
    found = summarize(runs, "erm")
    row = found.row(Group("mixup", 1.0), "rescaled")
    mixup, erm = {0: 1.5, 1: 1.8, 2: 1.2}, {0: 2.0, 1: 2.2, 2: 2.1}
    raw = {0: 1.5, 1: 1.9, 2: 1.4}
    assert row.values["nll"] == pytest.approx(mixup)
    assert row.means["nll"] == pytest.approx(mean_interval(list(mixup.values())))
    assert row.to_baseline["nll"] == pytest.approx(paired_difference(mixup, erm))
    assert row.to_raw["nll"] == pytest.approx(paired_difference(mixup, raw))
    assert tuple(row.to_raw) == METRICS


def test_raw_predictions_have_no_difference_to_themselves(runs):
    found = summarize(runs, "erm")
    baseline, other = found.rows[0], found.row(Group("mixup", 1.0), "raw")
    assert (baseline.to_baseline, baseline.to_raw, other.to_raw) == (None, None, None)
    assert other.to_baseline is not None
    assert found.rows[1].to_baseline == found.rows[1].to_raw
    assert found.row(Group("mixup", 1.0), "temperature") is None


def test_only_common_seeds_are_paired_and_it_is_said(make_run):
    runs = [make_run("erm", s, raw={"nll": 1.0}) for s in (0, 1, 2)]
    runs += [make_run("mixup", s, 1.0, raw={"nll": 0.5}) for s in (1, 2, 3, 4)]
    found = summarize(runs, "erm")
    row = found.rows[1]
    assert row.means["nll"].n == 4
    assert row.to_baseline["nll"] == (-0.5, 0.0, 2)
    (remark,) = found.remarks
    assert remark.startswith("mixup (α = 1) has the seeds [1, 2, 3, 4] and the baseline [0, 1, 2];")


def test_without_common_seeds_there_is_no_difference(make_run):
    runs = [make_run("erm", 0, raw={}), make_run("mixup", 1, 1.0, raw={})]
    assert summarize(runs, "erm").rows[1].to_baseline is None


def test_absent_corrections_and_bounds_are_remarked_on(make_run):
    runs = [make_run("erm", s, raw={}, absent=["temperature"]) for s in (0, 1)]
    runs += [
        make_run("mixup", s, 1.0, raw={}, temperature={}, remark="too few errors" if s else None)
        for s in (0, 1)
    ]
    found = summarize(runs, "erm")
    absent, bound = found.remarks
    assert absent == "erm, temperature: absent in 2 of 2 runs, since it needs held-out examples."
    assert bound.startswith("mixup (α = 1), temperature: in 1 of 2 runs too few errors;")
    assert found.row(Group("mixup", 1.0), "temperature").temperature == (1.5, 0.0, 2)


def test_json_round_trip_of_runs_and_json_of_the_comparison(two_methods):
    for run in two_methods:
        assert RunResult.from_dict(json.loads(json.dumps(run.to_dict(), allow_nan=False))) == run
    plain = json.loads(json.dumps(summarize(two_methods, "erm").to_dict(), allow_nan=False))
    assert plain["baseline"] == "erm"
    assert len(plain["rows"]) == 12
    assert set(plain["rows"][1]["means"]["nll"]) == {"mean", "half_width", "n"}


def test_refuses_no_runs():
    with pytest.raises(ValueError, match="at least one run"):
        summarize([], "erm")


def test_refuses_a_seed_twice(make_run):
    with pytest.raises(ValueError, match=r"erm has several runs with one seed: \[3, 3\]"):
        summarize([make_run("erm", 3, raw={}), make_run("erm", 3, raw={})], "erm")


def test_refuses_an_unknown_baseline(runs):
    with pytest.raises(ValueError, match="'dropout' has no runs; the methods run are: erm, mixup"):
        summarize(runs, "dropout")


def test_refuses_a_baseline_with_several_alphas(make_run):
    runs = [make_run("mixup", 0, a, raw={}) for a in (0.5, 1.0)]
    with pytest.raises(ValueError, match="'mixup' stands for 2 values of α"):
        summarize(runs, "mixup")


def test_refuses_other_test_sets(make_run, sample_run):
    with pytest.raises(ValueError, match=r"one test set, got .*\(100, 10\), \(300, 5\)"):
        summarize([make_run("erm", 0, raw={}), sample_run("mixup", 0, 1.0)], "erm")
