"""What the pictures draw, read from their artists."""

import numpy as np
import pytest

from mixreg.evaluation import mean_interval
from mixreg.report import Group, summarize
from mixreg.report.curves import curves_figure, logged
from mixreg.report.effects import effects_figure
from mixreg.report.histograms import histogram_figure
from mixreg.report.reliability import reliability_figure

ERM, MIXUP = Group("erm", None), Group("mixup", 1.0)


@pytest.fixture
def groups(two_methods):
    return {group: [r for r in two_methods if r.group == group] for group in (ERM, MIXUP)}


def test_reliability_points_are_means_over_seeds(groups):
    figure = reliability_figure(groups[MIXUP])
    assert len(figure.axes) == 8
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[:4]] == [
        "raw",
        "rescaled",
        "temperature",
        "rescaled+temperature",
    ]
    curves = [run.evaluation.results["raw"].reliability for run in groups[MIXUP]]
    filled = np.flatnonzero(np.array([c.counts for c in curves]).sum(0) >= 20)
    expected = [mean_interval([c.accuracy[k] for c in curves if c.counts[k]]).mean for k in filled]
    _, line = figure.axes[0].lines[:2]
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_histograms_add_up_to_all_examples(groups):
    figure = histogram_figure(groups, "confidence")
    assert [axes.get_title() for axes in figure.axes] == ["erm", "mixup (α = 1)"]
    outlines = [p for p in figure.axes[0].patches if not p.get_fill()]
    assert len(outlines) == 3
    for outline in outlines:
        assert np.sum(outline.get_data().values) == pytest.approx(100)
    accuracy = mean_interval([r.evaluation.results["raw"].metrics.accuracy for r in groups[ERM]])
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(accuracy.mean)


def test_curves_have_a_panel_for_each_logged_number(groups):
    assert logged(groups) == ["train_nll", "accuracy"]
    figure = curves_figure(groups)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["train NLL (nats)", "accuracy (%)"]
    for line in figure.axes[1].lines:
        np.testing.assert_allclose(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_allclose(line.get_ydata(), [0, 10, 20, 30])


def test_values_that_are_not_finite_leave_a_gap(make_run):
    run = make_run("erm", 0, raw={})
    history = [{"epoch": 1.0, "loss": float("nan")}, {"epoch": 2.0, "loss": 3.0}, {"epoch": 3.0}]
    object.__setattr__(run, "history", history)
    (line,) = curves_figure({ERM: [run]}).axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([2.0], [3.0])


@pytest.mark.parametrize("reference", ["baseline", "raw"])
def test_effects_are_filled_where_the_interval_excludes_zero(two_methods, reference):
    rows = summarize(two_methods, "erm").rows
    figure = effects_figure(rows, reference)
    differences = [row.to_baseline if reference == "baseline" else row.to_raw for row in rows]
    expected = [d["nll"] for d in differences if d is not None]
    marks = [container.lines[0] for container in figure.axes[1].containers]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([d.mean for d in expected])
    filled = [mark.get_markerfacecolor() == mark.get_color() for mark in marks]
    assert filled == [d.sign != 0 for d in expected]
    assert True in filled
    assert False in filled or reference == "baseline"
