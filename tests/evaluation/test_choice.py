"""The choice of a correction by intervals alone."""

import pytest

from mixreg.evaluation import CORRECTIONS, COSTS, MeanInterval, choose


def chosen(width, **nll):
    nll = {name.replace("_", "-"): value for name, value in nll.items()}
    given = choose(nll, lambda a, b: MeanInterval(nll[a] - nll[b], width, 9), "test")
    assert given.effects == {n: (v - nll["raw"], width, 9) for n, v in nll.items() if n != "raw"}
    return given.correction, given.best


@pytest.mark.parametrize(
    ("width", "nll", "expected"),
    [
        (0.1, {}, ("raw", "raw")),
        (0.1, {"rescaled": 0.95, "temperature": 1.2}, ("raw", "raw")),
        (0.1, {"rescaled": 0.8, "temperature": 0.75}, ("rescaled", "temperature")),
        (0.01, {"rescaled": 0.8, "temperature": 0.75}, ("temperature", "temperature")),
        (0.1, {"two_views": 0.75, "temperature": 0.7}, ("two-views", "temperature")),
        (0.1, {"rescaled": 0.8, "scale_only": 0.79}, ("scale-only", "scale-only")),
        (
            0.1,
            {"rescaled": 0.8, "scale_only": 0.78, "two_views": 0.75},
            ("scale-only", "two-views"),
        ),
    ],
)
def test_costs_more_only_where_it_is_shown_to_be_better(width, nll, expected):
    assert chosen(width, raw=1.0, **nll) == expected


def test_without_intervals_nothing_is_chosen():
    nll = dict.fromkeys(CORRECTIONS, 0.5) | {"raw": 1.0}
    alone = choose(nll, lambda a, b: MeanInterval(nll[a] - nll[b], None, 1), "test")
    assert (alone.correction, alone.gap) == ("raw", None)
    unknown = choose(nll, lambda *_: None, "validation")
    assert (unknown.correction, unknown.effects) == ("raw", {})


def test_every_correction_has_its_cost():
    assert tuple(COSTS) == CORRECTIONS
    assert COSTS["raw"] < COSTS["two-views"] < COSTS["temperature"]
