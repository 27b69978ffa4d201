"""What the pictures draw, read from their artists, and what of an SVG may reach a page."""

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
    figure = reliability_figure(groups.runs[MIXUP])
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes]
    assert titles == ["raw", "rescaled", "temperature", "rescaled+temperature", *[""] * 4]
    curves = [run.evaluation.results["raw"].reliability for run in groups.runs[MIXUP]]
    filled = np.flatnonzero(np.array([c.counts for c in curves]).sum(0) >= 20)
    expected = [mean_interval([c.accuracy[k] for c in curves if c.counts[k]]).mean for k in filled]
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), expected)


def test_histograms_add_up_to_all_examples(groups):
    figure = histogram_figure(groups.runs, "confidence")
    assert [axes.get_title() for axes in figure.axes] == ["erm", "mixup (α = 1)"]
    outlines = [p for p in figure.axes[0].patches if not p.get_fill()]
    assert [np.sum(o.get_data().values) for o in outlines] == pytest.approx([100] * 3)
    accuracy = mean_interval(
        [r.evaluation.results["raw"].metrics.accuracy for r in groups.runs[ERM]]
    )
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(accuracy.mean)


def test_curves_have_a_panel_for_each_logged_number(groups):
    assert logged(groups.runs) == ["train_nll", "accuracy"]
    figure = curves_figure(groups.runs)
    assert [axes.get_title() for axes in figure.axes] == ["train NLL (nats)", "accuracy (%)"]
    for line in figure.axes[1].lines:
        np.testing.assert_allclose(line.get_xydata(), [[1, 0], [2, 10], [3, 20], [4, 30]])


def test_values_that_are_not_finite_leave_a_gap(make_run):
    run = make_run("erm", 0, raw={})
    history = [{"epoch": 1.0, "loss": float("nan")}, {"epoch": 2.0, "loss": 3.0}, {"epoch": 3.0}]
    object.__setattr__(run, "history", history)
    (line,) = curves_figure({ERM: [run]}).axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([2.0], [3.0])


@pytest.mark.parametrize("reference", ["baseline", "raw"])
def test_effects_are_filled_where_the_interval_excludes_zero(groups, reference):
    rows = list(groups.rows)
    effects = [groups.effect(*row, "nll", reference) for row in rows]
    expected = [effect for effect in effects if effect is not None]
    figure = effects_figure(groups, rows, reference)
    marks = [container.lines[0] for container in figure.axes[1].containers]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([e.mean for e in expected])
    filled = [mark.get_markerfacecolor() == mark.get_color() for mark in marks]
    assert filled == [effect.sign != 0 for effect in expected]
    assert True in filled


def inlined(body, **root):
    attributes = "".join(f' {name}="{value}"' for name, value in root.items())
    svg = f'<?xml version="1.0"?><svg xmlns:xlink="x"{attributes}>{body}</svg>'
    return Picture("p", "T", "", 'D "q"', svg).inline("k-")


def test_a_picture_on_a_page_has_its_own_ids_and_the_colours_of_the_page():
    body = (
        '<style>*{x: y}</style><g id="a" style="fill: #1C2026"><path id="m" clip-path="url(#b)"/>'
    )
    body += '<use xlink:href="#m" stroke="#ffffff"/><text>a &lt; b</text></g>'
    assert inlined(body, width="5pt") == (
        '<svg role="img" aria-label=\'T. D "q"\' width="5pt"><g id="k-p-a" '
        'style="fill: var(--ink-1c2026)"><path id="k-p-m" clip-path="url(#k-p-b)"></path>'
        '<use xlink:href="#k-p-m" stroke="var(--ink-ffffff)"></use><text>a &lt; b</text></g></svg>'
    )


@pytest.mark.parametrize(
    "body",
    [
        "<script>1</script>",
        "<meta http-equiv='refresh' content='0; url=x'/>",
        "<foreignObject/>",
        "<svg/>",
        "<image xlink:href='http://a/b'/>",
        "<a xlink:href='x'/>",
        "<style><g/></style>",
        "<use xlink:href='http://a/b#c'/>",
        "<path onclick='x'/>",
        "<path class='frame'/>",
        "<path style='position: fixed'/>",
        "<path style='fill: url(http://a/b)'/>",
        "<path style='fill: u\\72l(x)'/>",
        "<path fill='url(//a/b)'/>",
        "<path transform='url(x)'/>",
        "</svg><p>",
        "&lol;",
    ],
)
def test_more_than_a_drawing_is_refused(body):
    with pytest.raises(ValueError, match=r"is no part of a drawing|it is no SVG"):
        inlined(body)


def test_what_only_a_browser_would_read_is_written_as_text_or_left_out():
    hidden = inlined("<!--><meta x='refresh'> --><text><![CDATA[<meta>]]></text>")
    assert "<meta" not in hidden
    with pytest.raises(ValueError, match="entity 'a' is no part"):
        Picture("p", "", "", "", '<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>').inline()
    with pytest.raises(ValueError, match="<p> is no part"):
        Picture("p", "", "", "", "<p/>").inline()
    for style in ("position: fixed; inset: 0", "x", "fill: red; z-index: 9"):
        with pytest.raises(ValueError, match="style='"):
            inlined("", style=style)
