"""Dataset specifications, one source per file."""

from quantlab.datasets.base import DatasetSpec, ImageSet, Splits
from quantlab.datasets.images.spec import ImageDatasetSpec
from quantlab.datasets.in_memory import Images, InMemoryDataset

__all__ = [
    "DatasetSpec",
    "ImageDatasetSpec",
    "ImageSet",
    "Images",
    "InMemoryDataset",
    "Splits",
]
