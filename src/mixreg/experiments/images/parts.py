"""What a figure shows of one setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mixreg.experiments.images.outcomes import Outcomes
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
