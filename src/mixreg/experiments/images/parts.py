"""What a figure shows of one setting."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mixreg.experiments.images.outcomes import Outcomes
from mixreg.experiments.images.runs import ALPHA
from mixreg.experiments.images.settings import ImageScale, Setting
from mixreg.report.claims import Claim
from mixreg.report.sequence import PictureSequence
from mixreg.report.study import StudyTable
from mixreg.report.style import Picture


@dataclass(frozen=True)
class Parts:
    """Pictures, tables and tested sentences of one setting.

    Args:
        pictures: the pictures.
        tables: the numbers.
        claims: what the paper says, tested.
        frames: pictures at several values of α.
    """

    pictures: Sequence[Picture]
    tables: Sequence[StudyTable]
    claims: Sequence[Claim]
    frames: Sequence[PictureSequence] = ()


class Show(Protocol):
    """Makes the parts of a figure."""

    def __call__(self, setting: Setting, outcomes: Outcomes, scale: ImageScale) -> Parts:
        """The parts of one setting from its finished runs."""


def one_alpha(
    picture: Callable[[Outcomes], Picture] | None,
    table: Callable[[Outcomes], StudyTable],
    claims: Callable[[Outcomes, str], Iterable[Claim]],
) -> Show:
    """A figure of one α, of at most a picture, a table and claims.

    Args:
        picture: draws the picture, None for none.
        table: makes the table.
        claims: tests what the paper says, in a setting that is named.

    Returns:
        What makes its parts.
    """

    def show(setting: Setting, outcomes: Outcomes, scale: ImageScale) -> Parts:
        del scale
        pictures = [] if picture is None else [picture(outcomes)]
        tested = claims(outcomes, f"{setting.label}, α = {ALPHA:g}")
        return Parts(pictures, [table(outcomes)], list(tested))

    return show
