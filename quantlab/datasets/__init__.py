"""Dataset specifications, one source a file."""

from quantlab.datasets.base import DatasetSpec, Images, ImageSet, Splits

__all__ = ["DatasetSpec", "ImageSet", "Images", "Splits"]
