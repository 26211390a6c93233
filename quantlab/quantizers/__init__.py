"""Quantizers: proximal maps, one per file."""

from quantlab.quantizers.base import Quantizer

__all__ = ["Quantizer"]
