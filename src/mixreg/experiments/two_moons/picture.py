"""Decision boundaries of one repetition: the data shift and the regularization of Figure 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mixreg.experiments.two_moons.designs import Features
from mixreg.experiments.two_moons.features import RandomFeatures, draw_features
from mixreg.experiments.two_moons.methods import Method, make_trainable
from mixreg.experiments.two_moons.problem import Points, Problem, draw_epoch, make_problem
from mixreg.experiments.two_moons.settings import TwoMoonsSettings
from mixreg.experiments.two_moons.training import train

SEED = 0
SCALE = 1.5
HORIZONTAL, VERTICAL = (-1.4, 2.4), (-0.9, 1.4)
ZOOM = (-0.5, 1.5), (-0.2, 0.7)
_COLUMNS, _ROWS = 96, 58
_SHOWN_MIXTURES = 400
_DIGITS = 3

METHODS: tuple[Method, ...] = ("erm", "mixup", "modified")

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Picture:
    """Data and functions in the plane.

    The paper does not say how its Figure 1 was made. Here labels are not flipped and σ is 1.5:
    with the σ = 10 of appendix B.3 the boundaries are lost among islands where there are no data.

    Args:
        horizontal: first coordinates of the grid.
        vertical: second coordinates of the grid.
        logits: f on the grid, one row for each second coordinate, of each method.
        points: the data each method is shown: training points, some of their mixtures, modified
            training points; rows of two coordinates and the label.
    """

    horizontal: tuple[float, ...]
    vertical: tuple[float, ...]
    logits: Mapping[Method, Rows]
    points: Mapping[Method, Rows]

    def disagreement(self, first: Method, second: Method) -> float:
        """Share of the area between the moons where two functions choose different classes.

        Args:
            first: a method.
            second: another one.

        Returns:
            Share of the window `ZOOM`, from 0 to 1.
        """
        (left, right), (low, high) = ZOOM
        x, y = np.array(self.horizontal), np.array(self.vertical)
        window = np.ix_((low <= y) & (y <= high), (left <= x) & (x <= right))
        signs = [np.array(self.logits[method])[window] > 0 for method in (first, second)]
        return float((signs[0] != signs[1]).mean())

    def to_dict(self) -> dict[str, Any]:
        """The picture as JSON-safe values, with the shares that tell shift and regularization.

        Returns:
            Values by name, read back by `from_dict`.
        """
        return {
            "seed": SEED,
            "feature_scale": SCALE,
            "zoom": [list(side) for side in ZOOM],
            "shift": self.disagreement("erm", "modified"),
            "regularization": self.disagreement("modified", "mixup"),
            "horizontal": list(self.horizontal),
            "vertical": list(self.vertical),
            "logits": {name: [list(row) for row in rows] for name, rows in self.logits.items()},
            "points": {name: [list(row) for row in rows] for name, rows in self.points.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` wrote.

        Args:
            values: values by name.

        Returns:
            The picture.
        """
        return cls(
            horizontal=tuple(values["horizontal"]),
            vertical=tuple(values["vertical"]),
            logits={name: _rows(rows) for name, rows in values["logits"].items()},
            points={name: _rows(rows) for name, rows in values["points"].items()},
        )


def make_picture(settings: TwoMoonsSettings) -> Picture:
    """Train the three functions of Figure 1 by full-batch steps with many draws each.

    Args:
        settings: α, M, the number of steps and of draws, step size and precision.

    Returns:
        The picture.
    """
    problem = make_problem([SEED], label_noise=0.0, dtype=settings.dtype)
    features = draw_features(
        [SEED], num_features=settings.num_features, scale=SCALE, dtype=settings.dtype
    )
    drawn = problem.repeated(settings.picture_draws)
    weights = {
        **_train(("erm", "modified"), problem, features, settings),
        **_train(("mixup",), drawn, features, settings),
    }
    horizontal = torch.linspace(*HORIZONTAL, _COLUMNS, dtype=settings.dtype)
    vertical = torch.linspace(*VERTICAL, _ROWS, dtype=settings.dtype)
    y, x = torch.meshgrid(vertical, horizontal, indexing="ij")
    grid = Features(features.values(torch.stack([x.flatten(), y.flatten()], 1).unsqueeze(0)))
    shown = {
        "erm": problem.train,
        "mixup": drawn.mixed(draw_epoch(drawn, settings.picture_steps, settings.law)),
        "modified": problem.modified(settings.law),
    }
    return Picture(
        horizontal=_rounded(horizontal),
        vertical=_rounded(vertical),
        logits={
            method: tuple(map(_rounded, grid.responses(weights[method]).view(_ROWS, _COLUMNS)))
            for method in METHODS
        },
        points={method: _listed(shown[method]) for method in METHODS},
    )


def _train(
    methods: tuple[Method, ...],
    problem: Problem,
    features: RandomFeatures,
    settings: TwoMoonsSettings,
) -> dict[Method, Tensor]:
    trainables = {
        method: make_trainable(method, problem, features, settings.law) for method in methods
    }
    return train(
        trainables,
        problem,
        settings.law,
        epochs=settings.picture_steps,
        batch_size=problem.size,
        learning_rate=settings.learning_rate,
    )


def _listed(points: Points) -> Rows:
    """Coordinates and label of the first points."""
    rows = torch.cat([points.inputs[0], points.targets[0].unsqueeze(1)], 1)[:_SHOWN_MIXTURES]
    return tuple(map(_rounded, rows))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, _DIGITS) for value in values.tolist())


def _rows(values: list[list[float]]) -> Rows:
    return tuple(map(tuple, values))
