"""Data sets by name, in the model's own input space."""

from mixreg.data.augmentation import CropAndFlip, Normalisation
from mixreg.data.catalogue import DATASETS
from mixreg.data.dataset import Batches, Dataset, Split
from mixreg.data.image_folder import ImageFolderDataset
from mixreg.data.in_memory import InMemoryDataset, Samples
from mixreg.data.loading import load

__all__ = [
    "DATASETS",
    "Batches",
    "CropAndFlip",
    "Dataset",
    "ImageFolderDataset",
    "InMemoryDataset",
    "Normalisation",
    "Samples",
    "Split",
    "load",
]
