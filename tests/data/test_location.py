from pathlib import Path

import pytest

from mixreg._errors import DataError
from mixreg.data import load
from mixreg.data.location import data_root, read_file


def test_argument_then_environment_then_default(no_data_around, monkeypatch):
    assert data_root(None) == Path("data")
    monkeypatch.setenv("MIXREG_DATA", "/some/where")
    assert data_root(None) == Path("/some/where")
    assert data_root("else/where") == Path("else/where")
    monkeypatch.setenv("MIXREG_DATA", "")
    assert data_root(None) == Path("data")


def test_a_home_directory_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert data_root("~/sets") == Path("/home/someone/sets")


def test_the_message_names_the_folder_in_effect(no_data_around, monkeypatch):
    with pytest.raises(DataError, match=rf"{no_data_around}/data"):
        load("cifar10")
    monkeypatch.setenv("MIXREG_DATA", str(no_data_around / "sets"))
    with pytest.raises(DataError, match=rf"{no_data_around}/sets"):
        load("cifar10")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"cannot read {tmp_path}: Is a directory"):
        read_file(tmp_path)
