"""What a training recipe amounts to: the law of its inputs, that of its labels, its smoothing."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mixreg.laws import Constant, MixingLaw, law_from_dict, mixture
from mixreg.recipes.boxes import CutMix

UNMIXED = Constant(1.0)


@dataclass(frozen=True)
class PixelLaw:
    """A law that shrinks every pixel by an amount of its own: boxes, alone or in turn with mixup.

    Args:
        parts: pairs (probability, law), at least one law of boxes among them.

    Raises:
        ValueError: the probabilities do not sum to one, or the boxes are not of images of one size.

    Example:
        >>> from mixreg import Beta
        >>> law = PixelLaw(((0.5, Beta(0.8)), (0.5, CutMix(32, 32))))
        >>> law.shrinkage.shape
        torch.Size([32, 32])
    """

    parts: tuple[tuple[float, MixingLaw | CutMix], ...]

    def __post_init__(self) -> None:
        sizes = {(law.height, law.width) for _, law in self.parts if isinstance(law, CutMix)}
        if len(sizes) != 1:
            raise ValueError(f"need boxes in images of one size, got the sizes {sorted(sizes)}")
        if not math.isclose(math.fsum(p for p, _ in self.parts), 1, abs_tol=1e-9):
            raise ValueError(f"probabilities must sum to 1, got {[p for p, _ in self.parts]}")

    @property
    def shrinkage(self) -> Tensor:
        """1 − θ̄_p of every pixel, float64, shape (H, W)."""
        return torch.as_tensor(sum(p * law.shrinkage for p, law in self.parts))

    @property
    def gamma_squared(self) -> Tensor:
        """E(1 − θ_p)² of every pixel, float64, shape (H, W)."""
        return torch.as_tensor(sum(p * law.gamma_squared for p, law in self.parts))

    def to_dict(self) -> dict[str, Any]:
        """The law as JSON-safe values.

        Returns:
            Values by name.
        """
        return {"law": "pixels", "parts": [[p, law.to_dict()] for p, law in self.parts]}


@dataclass(frozen=True)
class Recipe:
    """What the mixing of a training amounts to in the theory.

    The owner of a mixed example, the one with the larger label weight, has its input shrunk by the
    input law towards x̄, and its label y to

        θ̄ (1 − s) y + (1 − θ̄) (1 − s) ȳ + s/K

    with θ̄ of the label law, label smoothing s and K classes.

    Args:
        input_law: law of the weights of inputs; a law of pixels for boxes.
        label_law: law of the weights of labels.
        label_smoothing: s, towards the uniform distribution.
        notes: what lies outside the theory, or was assumed.
        ended_as: what the last epochs were, where mixing was switched off before the end.

    Raises:
        ValueError: the smoothing is not in [0, 1).
    """

    input_law: MixingLaw | PixelLaw
    label_law: MixingLaw
    label_smoothing: float = 0.0
    notes: tuple[str, ...] = ()
    ended_as: "Recipe | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-safe values, read back by `recipe_from_dict`.

        Returns:
            Values by name, without notes.
        """
        return {
            "inputs": self.input_law.to_dict(),
            "labels": self.label_law.to_dict(),
            "smoothing": self.label_smoothing,
        }


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """Read back what `Recipe.to_dict` wrote.

    Args:
        values: the JSON-safe values.

    Returns:
        The recipe.

    Raises:
        ValueError: the values describe none.
    """
    match values:
        case {"inputs": {"law": "pixels", "parts": parts}, "labels": labels, "smoothing": s}:
            law: MixingLaw | PixelLaw = PixelLaw(tuple((p, _part(part)) for p, part in parts))
            return Recipe(law, law_from_dict(labels), s)
        case {"inputs": inputs, "labels": labels, "smoothing": s}:
            return Recipe(law_from_dict(inputs), law_from_dict(labels), s)
    raise ValueError(f"expected the values of a recipe as written by to_dict(), got {values}")


def scheduled(laws: Sequence[MixingLaw]) -> Recipe:
    """The recipe of a training whose law changed from epoch to epoch.

    The network is what its last epochs made it, so the law is that of the last epoch that mixed.
    Where the last epochs did not mix at all, nothing says which of the two it remembers: a warning
    is given, and `ended_as` is the other answer, to be compared with this one.

    Args:
        laws: the law of each epoch, at least one.

    Returns:
        The recipe.

    Raises:
        ValueError: there is no epoch.

    Example:
        >>> from mixreg import Beta
        >>> scheduled([Beta(1.0), Beta(0.4)]).label_law
        Beta(alpha=0.4)
    """
    if not laws:
        raise ValueError("a schedule needs the law of at least one epoch")
    mixing = [epoch for epoch, law in enumerate(laws, 1) if law.gamma_squared > 0]
    if not mixing or mixing[-1] == len(laws):
        return Recipe(laws[-1], laws[-1])
    last, law = mixing[-1], laws[mixing[-1] - 1]
    note = (
        f"mixing was switched off after epoch {last}: in the last {len(laws) - last} of "
        f"{len(laws)} epochs the network saw unmixed data"
    )
    warnings.warn(f"{note}; compare with the prediction by .ended_as", stacklevel=2)
    return Recipe(law, law, notes=(note,), ended_as=Recipe(UNMIXED, UNMIXED))


def _part(values: dict[str, Any]) -> MixingLaw | CutMix:
    if values.get("law") != "cutmix":
        return law_from_dict(values)
    arguments = {name: value for name, value in values.items() if name != "law"}
    if arguments.get("minmax") is not None:
        arguments["minmax"] = tuple(arguments["minmax"])
    return CutMix(**arguments)


def switch(
    parts: Sequence[tuple[float, MixingLaw | CutMix]],
    probability: float = 1.0,
    label_smoothing: float = 0.0,
    notes: Sequence[str] = (),
) -> Recipe:
    """The recipe that mixes with a probability, each time by one of several laws."""
    if not 0 <= probability <= 1:
        raise ValueError(f"the probability of mixing must lie in [0, 1], got {probability}")
    mixed = [(probability * p, law) for p, law in parts if probability * p > 0]
    every = [*mixed, *([(1 - probability, UNMIXED)] if probability < 1 else [])]
    labels = mixture([(p, law.label_law if isinstance(law, CutMix) else law) for p, law in every])
    plain = [(p, law) for p, law in every if isinstance(law, MixingLaw)]
    inputs = mixture(plain) if len(plain) == len(every) else PixelLaw(tuple(every))
    return Recipe(inputs, labels, label_smoothing, tuple(notes))
