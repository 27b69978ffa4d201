import sys

import pytest

from mixreg._errors import ConfigurationError, MixregError, require


def test_an_installed_module_is_returned():
    assert require("json", extra="vision", purpose="a test").loads("[1]") == [1]


@pytest.mark.parametrize("error", [MixregError, ConfigurationError])
def test_a_missing_package_is_named_with_the_extra(error, monkeypatch):
    monkeypatch.setitem(sys.modules, "absent", None)
    message = r"model x needs the package absent, .*pip install 'mixreg\[vision\]'"
    with pytest.raises(error, match=message):
        require("absent.part", extra="vision", purpose="model x", error=error)
