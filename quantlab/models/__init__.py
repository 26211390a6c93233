"""Model specifications, one architecture a file."""

from quantlab.models.base import ModelSpec

__all__ = ["ModelSpec"]
