"""The shipped recipes as settings."""

from importlib import resources
from typing import Any

import yaml

from mixreg._errors import check_name

_FOLDER = resources.files("mixreg.training") / "recipes"


def recipe(name: str) -> dict[str, Any]:
    """The settings of a shipped recipe.

    Args:
        name: file name of the recipe without ending, such as "cifar-lenet".

    Returns:
        Fields of `Recipe`, those that the recipe sets.

    Raises:
        ValueError: no recipe has that name.

    Example:
        >>> recipe("cifar-lenet")["learning_rate"]
        0.01
    """
    files = {file.name.removesuffix(".yaml"): file for file in _FOLDER.iterdir()}
    check_name("recipe", name, sorted(files))
    settings: dict[str, Any] = yaml.safe_load(files[name].read_text(encoding="utf-8"))
    return settings
