"""What the pictures draw, read from their artists, and what of an SVG may reach a page."""

import dataclasses

import numpy as np
import pytest

from mixreg.evaluation import mean_interval
from mixreg.report import Group, Picture
from mixreg.report.charts import (
    curves_figure,
    effects_figure,
    histogram_figure,
    logged,
    reliability_figure,
)
from mixreg.report.groups import Groups

ERM, MIXUP = Group("erm", None), Group("mixup", 1.0)


@pytest.fixture
def groups(two_methods):
    return Groups(two_methods, "erm")


def test_reliability_points_are_means_over_seeds(groups):
    axes = reliability_figure(groups.runs[MIXUP]).axes
    titles = [panel.get_title().split("\n")[0] for panel in axes]
    tempered = ["temperature", "rescaled+temperature"]
    assert titles == ["raw", "rescaled", "two-views", *tempered, *[""] * 5]
    curves = [run.evaluation.results["raw"].reliability for run in groups.runs[MIXUP]]
    filled = np.flatnonzero(np.array([c.counts for c in curves]).sum(0) >= 20)
    expected = [mean_interval([c.accuracy[k] for c in curves if c.counts[k]]).mean for k in filled]
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), expected)


def test_histograms_add_up_to_all_examples(groups):
    first, second = histogram_figure(groups.runs, "confidence").axes
    assert (first.get_title(), second.get_title()) == ("erm", "mixup (α = 1)")
    outlines = [patch for patch in first.patches if not patch.get_fill()]
    assert [np.sum(o.get_data().values) for o in outlines] == pytest.approx([100] * 3)
    results = [run.evaluation.results["raw"] for run in groups.runs[ERM]]
    accuracy = np.mean([result.metrics.accuracy for result in results])
    assert first.lines[0].get_xdata()[0] == pytest.approx(accuracy)


def test_curves_have_a_panel_for_each_logged_number(groups):
    assert logged(groups.runs) == ["train_nll", "accuracy"]
    axes = curves_figure(groups.runs).axes
    assert [panel.get_title() for panel in axes] == ["train NLL (nats)", "accuracy (%)"]
    for line in axes[1].lines:
        np.testing.assert_allclose(line.get_xydata(), [[1, 0], [2, 10], [3, 20], [4, 30]])


def test_values_that_are_not_finite_leave_a_gap(make_run):
    history = [{"epoch": 1.0, "loss": float("nan")}, {"epoch": 2.0, "loss": 3.0}, {"epoch": 3.0}]
    run = dataclasses.replace(make_run("erm", 0, raw={}), history=history)
    (line,) = curves_figure({ERM: [run]}).axes[0].lines
    assert line.get_xydata().tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize("reference", ["baseline", "raw"])
def test_effects_are_filled_where_the_interval_excludes_zero(groups, reference):
    effects = [groups.effect(*row, "nll", reference) for row in groups.rows]
    expected = [effect for effect in effects if effect is not None]
    figure = effects_figure(groups, groups.rows, reference)
    marks = [container.lines[0] for container in figure.axes[1].containers]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([e.mean for e in expected])
    filled = [mark.get_markerfacecolor() == mark.get_color() for mark in marks]
    assert filled == [effect.sign != 0 for effect in expected]
    assert True in filled


def inlined(body, root="", head='<?xml version="1.0"?>'):
    svg = f'{head}<svg xmlns:xlink="x"{root}>{body}</svg>'
    return Picture("p", "T", "", 'D "q"', svg).inline("k-")


def test_a_picture_on_a_page_has_its_own_ids_and_the_colours_of_the_page():
    body = '<style>*{x: y}</style><g id="a" style="fill: #1C2026"><path id="m" '
    body += 'clip-path="url(#b)"/><use xlink:href="#m" stroke="#ffffff"/><text>a &lt; b</text></g>'
    assert inlined(body, ' width="5pt"') == (
        '<svg role="img" aria-label=\'T. D "q"\' width="5pt"><g id="k-p-a" '
        'style="fill: var(--ink-1c2026)"><path id="k-p-m" clip-path="url(#k-p-b)"></path>'
        '<use xlink:href="#k-p-m" stroke="var(--ink-ffffff)"></use><text>a &lt; b</text></g></svg>'
    )
    comment = inlined("<!--><meta x='refresh'> --><text><![CDATA[<meta>]]></text>")
    assert "<meta" not in comment


REFUSED = r"""
<script>1</script>
<meta http-equiv='refresh' content='0; url=x'/>
<foreignObject/>
<svg/>
<image xlink:href='http://a/b'/>
<a xlink:href='x'/>
<style><g/></style>
<use xlink:href='http://a/b#c'/>
<path onclick='x'/>
<path class='frame'/>
<path style='position: fixed'/>
<path style='x'/>
<path style='fill: red; z-index: 9'/>
<path style='fill: url(http://a/b)'/>
<path style='fill: u\72l(x)'/>
<path fill='url(//a/b)'/>
<path transform='url(x)'/>
</svg><p>
&lol;
"""
CASES = [(body, "", "") for body in REFUSED.split("\n")[1:-1]]
CASES += [("&a;", "", '<!DOCTYPE svg [<!ENTITY a "b">]>'), ("</p>", "", "<p>")]
CASES += [("", " style='position: fixed; inset: 0'", "")]


@pytest.mark.parametrize(("body", "root", "head"), CASES)
def test_more_than_a_drawing_is_refused(body, root, head):
    with pytest.raises(ValueError, match=r"is no part of a drawing|it is no SVG"):
        inlined(body, root, head)
