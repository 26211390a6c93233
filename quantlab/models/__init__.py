"""Model specifications, one architecture per file."""

from quantlab.models.base import ModelSpec

__all__ = ["ModelSpec"]
