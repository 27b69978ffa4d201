"""Figures 2, 3, 4 and 7, and the ablation: classifiers trained with Mixup and its rivals."""

from mixreg.experiments.images.figure import IMAGE_FIGURES, figure_trainings, image_figure
from mixreg.experiments.images.settings import SCALES, ImageScale, Setting, with_seeds

__all__ = [
    "IMAGE_FIGURES",
    "SCALES",
    "ImageScale",
    "Setting",
    "figure_trainings",
    "image_figure",
    "with_seeds",
]
