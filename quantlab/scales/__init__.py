"""Scales: where the levels of a quantization set stand in a tensor, one rule per file."""

from quantlab.scales.base import Scale
from quantlab.scales.placement import Placement

__all__ = ["Placement", "Scale"]
