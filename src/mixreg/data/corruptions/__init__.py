"""The 19 corruptions of CIFAR-10-C and ImageNet-C at 5 severities: published files, or our own."""

from mixreg.data.corruptions.corrupted import (
    CORRUPTIONS,
    EXTRA_CORRUPTIONS,
    FAMILIES,
    SEVERITIES,
    ParameterSet,
    corrupted,
)
from mixreg.data.corruptions.sets import CorruptedSet, corrupted_sets

__all__ = [
    "CORRUPTIONS",
    "EXTRA_CORRUPTIONS",
    "FAMILIES",
    "SEVERITIES",
    "CorruptedSet",
    "ParameterSet",
    "corrupted",
    "corrupted_sets",
]
