"""An experiment that is finished is not run again."""

from pathlib import Path

from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.experiments.two_moons.result import FORMAT, TwoMoonsResult
from mixreg.experiments.two_moons.settings import TwoMoonsSettings
from mixreg.report.replacing import check_replaceable


def find_finished(file: Path, settings: TwoMoonsSettings) -> TwoMoonsResult | None:
    """The stored result of an experiment.

    Args:
        file: where it would be.
        settings: of the experiment.

    Returns:
        The result, or None if there is none that can be read.

    Raises:
        CheckpointError: another version wrote the file.
        ConfigurationError: the file holds an experiment with other settings.
    """
    check_replaceable(file, FORMAT)
    try:
        result = TwoMoonsResult.load(file)
    except CheckpointError:
        return None
    here, there = settings.to_dict(), result.settings.to_dict()
    others = [
        f"{name}: {there[name]!r} there, {value!r} here"
        for name, value in here.items()
        if there[name] != value
    ]
    if others:
        raise ConfigurationError(
            f"{file} holds the experiment with other settings ({'; '.join(others)}); choose "
            "another --output, or delete it"
        )
    return result
