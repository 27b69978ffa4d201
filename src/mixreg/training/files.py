"""Files of settings: strict YAML, and the recipes that are shipped."""

import re
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from mixreg._errors import ConfigurationError, check_name
from mixreg.settings import LONGEST

_LARGEST = 2**20
"""Bytes of the largest file of settings."""

_RECIPES = resources.files("mixreg.training") / "recipes"


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
    files = {file.name.removesuffix(".yaml"): file for file in _RECIPES.iterdir()}
    check_name("recipe", name, sorted(files))
    return settings_of(files[name].read_text(encoding="utf-8"), name)


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in a YAML file, read strictly.

    A plain scalar is true, false, null, a decimal number or text. Anchors, repeated keys, keys
    without a value and nested mappings are refused.

    Args:
        file: the file.

    Returns:
        The values by name; the names are not checked.

    Raises:
        ConfigurationError: the file holds something else.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ConfigurationError(f"{file} is no file of settings: it is too large")
    try:
        return settings_of(data.decode(), str(file))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is no file of settings: {error}") from error


def settings_of(text: str, name: str) -> dict[str, Any]:
    """The settings in YAML text; see `read_settings`."""
    try:
        values = _StrictLoader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{name} is no file of settings: {reason}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigurationError(f"{name} is no file of settings: expected lines `name: value`")
    return values


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without what surprises: numbers are decimal, true and false are the only switches."""

    yaml_implicit_resolvers: typing.ClassVar[dict[str, Any]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"the alias *{self.peek_event().anchor} is not understood")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.SequenceNode) and len(node.value) > LONGEST:
            raise yaml.YAMLError(f"a list has more than {LONGEST} entries")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        before: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or isinstance(value, yaml.MappingNode):
                raise yaml.YAMLError("expected lines `name: value` with one value or a list")
            if key.value in before:
                raise yaml.YAMLError(f"{key.value} is there twice")
            before.add(key.value)
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if part.value == "" and getattr(part, "style", None) is None:
                    raise yaml.YAMLError(f"{key.value} has no value")
        values: dict[Any, Any] = super().construct_mapping(node, deep)
        return values


class _StrictDumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes the texts that this loader, or another, would read as something else."""


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    for _kind in (_StrictLoader, _StrictDumper):
        _kind.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first)
        )


def text_of(values: Mapping[str, Any]) -> str:
    """Settings as YAML that `settings_of` reads back as they were."""
    return str(yaml.dump(dict(values), Dumper=_StrictDumper, sort_keys=False))
