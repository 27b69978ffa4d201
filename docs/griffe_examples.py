"""Docstrings say "Example:", as the Google style allows; griffe knows only "Examples:"."""

import re
from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Read a section "Example:" as the doctest section that it is."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the section before the docstring is parsed."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
