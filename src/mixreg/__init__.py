"""Mixup training, its rescaled prediction, and the regularization it induces.

The library implements Carratino, Cissé, Jenatton and Vert, "On Mixup Regularization". Its public
names are listed by subject in `__init__.pyi`.
"""

from mixreg._lazy import attach

__getattr__, __all__ = attach(__name__, __file__)
