"""Pictures of one thing at several values of a parameter: a slider on the page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from mixreg.report.style import Picture


class Frame(NamedTuple):
    """The picture at one value of the parameter, and the value as it is written."""

    value: str
    picture: Picture


@dataclass(frozen=True)
class PictureSequence:
    """Pictures that differ in one parameter, shown one at a time where the page's script runs.

    Without a script, and in print, all of them are shown.

    Args:
        name: name for links, unique on its page.
        title: heading.
        caption: what all of them show; each picture has its own caption besides.
        parameter: what differs, such as "α".
        frames: a picture for each value, in the order of the slider.
        start: place of the frame that is shown first.

    Raises:
        ValueError: no frames, two for one value, or a start that is none of them.

    Example:
        >>> from mixreg.report.style import Picture
        >>> small, large = (Picture(n, n, "", "", "<svg/>") for n in ("small", "large"))
        >>> frames = [Frame("0.2", small), Frame("2", large)]
        >>> PictureSequence("curves", "Curves", "Loss by epoch.", "α", frames).values
        ('0.2', '2')
    """

    name: str
    title: str
    caption: str
    parameter: str
    frames: Sequence[Frame]
    start: int = 0

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError(f"the sequence {self.name!r} needs at least one frame, got none")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"{self.name!r} has several frames for one value: {self.values}")
        if not 0 <= self.start < len(self.frames):
            raise ValueError(
                f"{self.name!r} has {len(self.frames)} frames and should start with frame "
                f"{self.start}, counted from 0"
            )

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the parameter."""
        return tuple(frame.value for frame in self.frames)

    def to_dict(self) -> dict[str, Any]:
        """The sequence as JSON-safe values.

        Returns:
            Values by name.
        """
        frames = [{"value": f.value, "picture": asdict(f.picture)} for f in self.frames]
        return vars(self) | {"frames": frames}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The sequence.
        """
        frames = [Frame(f["value"], Picture(**f["picture"])) for f in values["frames"]]
        return cls(**(values | {"frames": frames}))
