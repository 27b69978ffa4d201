"""What an epoch costs, learnt from the finished runs of the same kind."""

from collections.abc import Iterable
from statistics import fmean

from mixreg._errors import CheckpointError
from mixreg.training import RunDirectory, TrainConfig

_NO_MATTER = {
    "alpha",
    "mixing_probability",
    "per",
    "smoothing",
    "dropout",
    "label_noise",
    "epochs",
    "learning_rate",
    "momentum",
    "nesterov",
    "weight_decay",
    "milestones",
    "decay",
    "seed",
}

Kind = tuple[tuple[str, str], ...]


def kind_of(run: TrainConfig) -> Kind:
    """What the time of an epoch depends on.

    Args:
        run: the run.

    Returns:
        Names and values of the settings that matter, such as data, model and method.
    """
    settings = run.identity() | {"accelerator": run.accelerator}
    return tuple((name, repr(settings[name])) for name in sorted(settings.keys() - _NO_MATTER))


class Costs:
    """Seconds an epoch takes, by kind of run.

    Args:
        runs: the runs, of which the finished ones are learnt from.
    """

    def __init__(self, runs: Iterable[TrainConfig]) -> None:
        self._seconds: dict[Kind, list[float]] = {}
        for run in runs:
            self.learn(run)

    def learn(self, run: TrainConfig) -> None:
        """Remember how long a run took, if it is finished and says so.

        Args:
            run: the run.
        """
        try:
            stored = RunDirectory(run.directory).read_result()
        except CheckpointError:
            return
        self._seconds.setdefault(kind_of(run), []).append(stored.seconds / run.epochs)

    def known(self, run: TrainConfig) -> int:
        """How many finished runs there are of a run's kind.

        Args:
            run: the run.

        Returns:
            Their number.
        """
        return len(self._seconds.get(kind_of(run), ()))

    def epoch(self, run: TrainConfig) -> float | None:
        """Seconds an epoch of a run takes.

        Args:
            run: the run.

        Returns:
            The mean of its kind; where there is none of its kind, of all kinds; None if there is
            nothing to learn from.
        """
        kind = self._seconds.get(kind_of(run))
        if kind:
            return fmean(kind)
        return fmean(map(fmean, self._seconds.values())) if self._seconds else None


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Args:
        seconds: the time.

    Returns:
        Text such as "41 s" or "2.5 h".

    Example:
        >>> [duration(s) for s in (0.2, 41.0, 600.0, 9000.0, 500_000.0)]
        ['<1 s', '41 s', '10 min', '2.5 h', '5.8 days']
    """
    if seconds < 90:
        return "<1 s" if seconds < 1 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
