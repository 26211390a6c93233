"""Quantizers: pure proximal maps, one a file."""

from quantlab.quantizers.base import Quantizer

__all__ = ["Quantizer"]
