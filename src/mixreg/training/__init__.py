"""Training by Lightning, in run directories that survive being killed; imported when it is used."""

from mixreg._lazy import attach

__getattr__, __all__ = attach(__name__, __file__)
