"""Every example in every docstring of the installed package runs and gives what it shows."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import mixreg

MODULES = ["mixreg"] + [module.name for module in pkgutil.walk_packages(mixreg.__path__, "mixreg.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0


def test_examples_are_found():
    finder = doctest.DocTestFinder()
    found = [test for test in finder.find(importlib.import_module("mixreg.laws")) if test.examples]
    assert len(found) >= 6
