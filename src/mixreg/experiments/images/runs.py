"""Which trainings a figure takes; the figures of one scale share them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from mixreg.experiments.images.settings import ImageScale, Setting, settings_of
from mixreg.training import TrainConfig

FigureName = Literal["fig2", "fig3", "fig4", "fig7", "ablation"]

ALPHA = 1.0
"""α of the figures that have one value of it."""

_METHODS: dict[FigureName, tuple[str, ...]] = {
    "fig2": ("erm", "mixup", "approximate"),
    "fig3": ("erm", "mixup", "modified"),
    "fig4": ("erm", "mixup", "mit-l"),
    "fig7": ("erm", "label-smoothing", "mixup", "approximate"),
    "ablation": ("mixup", "inputs-only", "labels-only", "independent", "gaussian", "erm"),
}
_COSTLY = frozenset({"approximate", "mit-l", "modified"})
_WATCHED = frozenset(_METHODS["fig3"])


def figure_runs(
    figure: FigureName, scale: ImageScale, folder: Path, data_root: Path | None
) -> list[TrainConfig]:
    """The runs of a figure, seed by seed.

    Args:
        figure: which figure.
        scale: how large.
        folder: where the runs lie, each in a directory of its own.
        data_root: folder of the data sets.

    Returns:
        One configuration for each setting, method, α and seed.
    """
    settings = settings_of(figure, scale)
    most = max(setting.seeds for setting in settings)
    return [
        _run(scale, setting, method, alpha, seed, folder, data_root)
        for seed in range(most)
        for setting in settings
        for method, alpha in _arms(figure, setting.alphas or scale.alphas)
        if seed < _seeds(figure, scale, setting, method)
    ]


def _arms(figure: FigureName, alphas: Sequence[float]) -> Iterator[tuple[str, float]]:
    for method in _METHODS[figure]:
        if figure == "fig4" and method == "mixup":
            yield from ((method, alpha) for alpha in alphas)
        else:
            yield method, ALPHA


def _seeds(figure: FigureName, scale: ImageScale, setting: Setting, method: str) -> int:
    if method == "mit-l" and setting != scale.sweep[0]:
        return 0
    if figure == "fig3" or method in _COSTLY:
        return min(scale.costly_seeds, setting.seeds)
    return setting.seeds


def _run(
    scale: ImageScale,
    setting: Setting,
    method: str,
    alpha: float,
    seed: int,
    folder: Path,
    data_root: Path | None,
) -> TrainConfig:
    is_watched = (
        setting == scale.single
        and method in _WATCHED
        and alpha == ALPHA
        and seed < scale.costly_seeds
    )
    return TrainConfig(
        **setting.recipe,
        data=setting.data,
        data_root=data_root,
        model=setting.model,
        method=method,
        alpha=alpha,
        seed=seed,
        progress=False,
        snapshots=list(scale.snapshots) if is_watched else [],
        output=folder / f"{setting.name}-{method}-alpha{alpha:g}-seed{seed}",
    )
