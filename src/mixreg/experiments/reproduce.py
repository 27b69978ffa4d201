"""`mixreg reproduce`: a figure or table of the paper by its name, at a stated scale."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from mixreg.settings import REPRODUCIBLE, ReproduceOptions


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Run one experiment and write what it found; its text for the terminal, the file to see."""
    module = _module(options)
    text, path = (
        module.claims(options.directory) if options.name == "claims" else module.reproduce(options)
    )
    return str(text), Path(path)


def plan_reproduction(options: ReproduceOptions) -> str:
    """What an experiment would run, and what that would cost; nothing is written."""
    module = _module(options)
    if hasattr(module, "plan"):
        return str(module.plan(options))
    return f"{options.name} is one computation of a few minutes at most, with no runs to list"


def _module(options: ReproduceOptions) -> ModuleType:
    return import_module(f"mixreg.experiments.{REPRODUCIBLE[options.name]}")
