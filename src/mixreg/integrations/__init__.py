"""Mixup where users train: Lightning, torchmetrics and scikit-learn, each imported when used."""

from mixreg._lazy import attach

__getattr__, __all__ = attach(__name__, __file__)
