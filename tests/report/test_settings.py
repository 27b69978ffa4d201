"""Settings shared by runs and those that differ."""

from mixreg.report.settings import run_settings, settings


def test_nested_values_become_dotted_names():
    found = settings([{"a": {"b": {"c": [1, None]}}, "d": "text", "e": True}])
    assert found.shared == [("a.b.c", "[1, null]"), ("d", "text"), ("e", "true")]
    assert (found.names, found.each) == ([], [[]])


def test_missing_values_differ():
    found = settings([{"a": 1, "b": 2}, {"a": 1}])
    assert found == ([("a", "1")], ["b"], [["2"], [""]])


def test_method_alpha_and_seed_are_always_there(two_methods):
    found = run_settings(two_methods)
    assert found.names == ["method", "alpha", "seed"]
    assert found.each[:2] == [["erm", "null", "0"], ["mixup", "1.0", "0"]]
    assert ("optimizer.momentum", "0.9") in found.shared
