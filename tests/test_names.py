import pytest

from mixreg._errors import check_name, unknown_name


def test_the_nearest_name_is_suggested_whatever_its_case():
    message = str(unknown_name("model", "LENET", ["mlp", "lenet"]))
    assert message == "unknown model 'LENET'; did you mean 'lenet'? Known: mlp, lenet"


def test_nothing_is_suggested_where_nothing_is_near():
    assert str(unknown_name("model", "zzz", ["mlp"])) == "unknown model 'zzz'; known: mlp"


def test_long_lists_are_cut():
    message = str(unknown_name("model", "name99", [f"name{i}" for i in range(200)]))
    assert "did you mean 'name99'" in message
    assert message.endswith("name18, name19, …")


def test_check_name():
    check_name("split", "test", ["train", "test"])
    with pytest.raises(ValueError, match="unknown split 'tset'; did you mean 'test'"):
        check_name("split", "tset", ["train", "test"])
