"""Dataset specifications, one source a file; all give whole uint8 tensors."""

from quantlab.datasets.base import DatasetSpec, Images, Splits

__all__ = ["DatasetSpec", "Images", "Splits"]
